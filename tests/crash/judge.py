"""`Judge`: whether what the store holds, what a process promised and what reached the outside world agree.

After each death it looks at what was left: everything that the process had promised has to be there. What is recorded
there must not be done again by those who come after; at the end everything has to be over, as its flow says.

Lives here: the rules. Does not live here: where things are read (``places.py``, ``ledger.py``).
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from flow_core.model.records import (
    AttemptFailed,
    Compensated,
    ExecutionEnded,
    ExecutionStarted,
    Paused,
    Resumed,
    StepEnded,
)
from flow_core.model.status import Status
from tests.crash.flows import DOOMED, SHAPES, tokens

ATTEMPT, FALLBACK, COMPENSATION = range(3)
#: The kinds of violation that are counted.
KINDS = ("lost", "missing", "double", "rerun", "wrong")


@dataclass
class Tally:
    """What a suite has seen. ``repeated``: effects that happened again under the same key, which is allowed."""

    executions: int = 0
    steps: int = 0
    effects: int = 0
    repeated: int = 0
    violations: list[tuple[str, str]] = field(default_factory=list)

    def count(self, kind):
        return sum(found == kind for found, _ in self.violations)

    def add(self, other):
        for name in ("executions", "steps", "effects", "repeated"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.violations += other.violations


async def stored(store, known=()):
    """Execution -> its records, of all that are in a store but those in ``known``."""
    found, cursor = {}, None
    while True:
        page = await store.list(limit=1000, cursor=cursor)
        for info in page.items:
            if info.execution not in known:
                found[info.execution] = [*await store.load(info.execution)]
        if (cursor := page.cursor) is None:
            return found


class Judge:
    """See the module.

    Args:
        tally: where what is found goes.
        alone: no two executors share the store, so nothing but a death makes an attempt happen again.
    """

    def __init__(self, tally, *, alone=True):
        self.tally = tally
        self.alone = alone
        #: Execution -> records, of those that had ended when it looked.
        self.over = {}
        #: Execution -> step -> the outcome that must stay and must not be made again, as of the last look.
        self.outcomes = defaultdict(dict)
        #: (execution, step) that is undone, (execution, step, attempt) that is known to have failed.
        self.compensated, self.failed = set(), set()
        self.paused = set()
        self.effects = []

    def blame(self, kind, text):
        assert kind in KINDS
        self.tally.violations.append((kind, text))

    # --- after each death ---------------------------------------------------------------------------------------------

    def life_over(self, entries, lines, found):
        """A process is gone.

        Args:
            entries: what the ledger has got meanwhile.
            lines: what it said.
            found: what `stored` says, without those in ``self.over``.
        """
        self.see(entries)
        for id_ in self.over.keys() & found.keys():
            self.blame("wrong", f"{id_} is loaded again")
        self.promises(lines, found)
        self.remember(found)

    def see(self, entries):
        """Effects, against what had been recorded when the process began."""
        within = set()
        for entry in entries:
            id_ = entry["execution"]
            if entry["what"] == "paused":
                self.paused.add(id_)
            elif entry["what"] == "resume":
                self.paused.discard(id_)
            else:
                self.see_effect(entry, within)
                self.effects.append(entry)

    def see_effect(self, entry, within):
        id_, step, activity, attempt = (entry[name] for name in ("execution", "step", "activity", "attempt"))
        what = f"{id_} {step} attempt {attempt} activity {activity} in {entry['life']}"
        if activity == COMPENSATION:
            again = (id_, step) in self.compensated
        else:
            again = step in self.outcomes[id_] or (activity == ATTEMPT and (id_, step, attempt) in self.failed)
        if again or id_ in self.over:
            self.blame("rerun", f"{what}: its outcome was recorded before")
        if self.alone and (id_, step, activity, attempt) in within:
            self.blame("rerun", f"{what}: twice in one process")
        if id_ in self.paused and activity == ATTEMPT:
            self.blame("wrong", f"{what}: started while it was paused")
        within.add((id_, step, activity, attempt))

    def promises(self, lines, found):
        """What it said against what is there."""
        everything = self.over | found
        for line in lines:
            word, _, rest = line.partition(" ")
            if word not in ("started", "paused", "resumed", "ended"):
                continue
            id_, _, status = rest.partition(" ")
            records = everything.get(id_)
            if records is None:
                self.blame("missing", f"{line!r} was said, and there is no such execution")
                continue
            cls = {"started": ExecutionStarted, "paused": Paused, "resumed": Resumed, "ended": ExecutionEnded}[word]
            there = [record for record in records if isinstance(record, cls)]
            if not there or (word == "ended" and Status(there[0].status).name != status):
                self.blame("missing", f"{line!r} was said, and there is {there}")

    def remember(self, found):
        """What is recorded now."""
        for id_, records in found.items():
            self.once_each(id_, records)
            for record in records:
                if isinstance(record, StepEnded):
                    self.outcomes[id_].setdefault(record.step, record)
                elif isinstance(record, Compensated):
                    self.compensated.add((id_, record.step))
                elif isinstance(record, AttemptFailed):
                    self.failed.add((id_, record.step, record.attempt))
            last = next((r for r in reversed(records) if isinstance(r, Paused | Resumed)), None)
            (self.paused.add if isinstance(last, Paused) else self.paused.discard)(id_)
            if any(isinstance(record, ExecutionEnded) for record in records):
                self.over[id_] = records

    def once_each(self, id_, records):
        """One outcome a step and an execution, and the same as before."""
        outcomes = Counter(record.step for record in records if isinstance(record, StepEnded))
        undone = Counter(record.step for record in records if isinstance(record, Compensated))
        ends = sum(isinstance(record, ExecutionEnded) for record in records)
        for what, count in [*outcomes.items(), *undone.items(), ("its end", ends)]:
            if count > 1:
                self.blame("double", f"{id_} {what}: recorded {count} times")
        if ends and not isinstance(records[-1], ExecutionEnded):
            self.blame("wrong", f"{id_}: {records[-1]} after its end")
        now = {record.step: record for record in records if isinstance(record, StepEnded)}
        for step, record in self.outcomes[id_].items() if self.alone else ():
            if now.get(step) != record:
                self.blame("lost", f"{id_} {step}: {record} became {now.get(step)}")

    # --- at the end ---------------------------------------------------------------------------------------------------

    def final(self, entries, lines, found, wanted):
        """Everything has been done.

        Args:
            entries, lines: as in `life_over`, of those who finished it.
            found: everything in the store.
            wanted: id -> flow, of all that was asked for.
        """
        self.see(entries)
        for id_, records in self.over.items():
            if found.get(id_) != records:
                self.blame("lost", f"{id_} had ended, and has changed since")
        self.promises(lines, found)
        self.remember(found)
        for id_ in wanted.keys() - found.keys():
            self.blame("lost", f"{id_} of {wanted[id_]} is not there")
        outputs = {}
        for id_, records in found.items():
            outputs[id_] = self.as_expected(id_, records)
        self.children(found)
        self.outside_world(found, outputs)
        self.tally.executions += len(found)

    def as_expected(self, id_, records):
        """How one execution went against its flow; its steps' tokens."""
        start, end = records[0], records[-1]
        shape = SHAPES[start.flow]
        outcomes = {record.step: record for record in records if isinstance(record, StepEnded)}
        made = {step: tokens(record.output) for step, record in outcomes.items() if record.output is not None}
        self.tally.steps += len(outcomes)
        if not isinstance(end, ExecutionEnded):
            self.blame("lost", f"{id_} of {start.flow} has not ended: {records}")
            return made
        fails = any(spec.kind == DOOMED for spec in shape.values())
        if end.status != (Status.FAILURE if fails else Status.SUCCESS):
            self.blame("wrong", f"{id_} of {start.flow} ended {Status(end.status).name}: {end.error}")
        if outcomes.keys() != shape.keys():
            self.blame("lost", f"{id_} of {start.flow} has outcomes of {sorted(outcomes)} only")
        for step, record in outcomes.items():
            self.outcome_as_expected(id_, record, shape[step].kind)
        undone = {record.step for record in records if isinstance(record, Compensated) and record.error is None}
        if undone != {step for step, spec in shape.items() if spec.kind == "undone" and fails}:
            self.blame("wrong", f"{id_} of {start.flow} has compensated {undone}")
        return made

    def outcome_as_expected(self, id_, record, kind):
        failed = record.status == Status.FAILURE
        code = record.error.code if record.error is not None else None
        good = {
            DOOMED: failed and code != "interrupted",
            "once": record.status == Status.SUCCESS or code == "interrupted",
            "shaky": record.status == Status.SUCCESS and record.attempt == 3,
            "backed": record.status == Status.SUCCESS and record.recovered,
        }.get(kind, record.status == Status.SUCCESS and record.attempt == 1)
        if not good:
            self.blame("wrong", f"{id_} {record.step}, which is {kind}: {record}")

    def children(self, found):
        """A step that executes a flow does so once, however often it was begun."""
        nests = Counter(id_ for id_, rs in found.items() for s in SHAPES[rs[0].flow].values() if s.kind == "nest")
        have = Counter(records[0].parent for records in found.values() if records[0].parent is not None)
        for id_ in nests.keys() | have.keys():
            if nests[id_] != have[id_]:
                self.blame("double", f"{id_} has {have[id_]} children, not {nests[id_]}")

    # --- the outside world --------------------------------------------------------------------------------------------

    def outside_world(self, found, outputs):
        """Effects against records: nothing was done with an output that is not the recorded one."""
        keys, places = {}, Counter()
        for entry in self.effects:
            id_, step, activity = entry["execution"], entry["step"], entry["activity"]
            if id_ not in found:
                self.blame("lost", f"{id_} {step} took effect, and there is no such execution")
                continue
            spec = SHAPES[entry["flow"]][step]
            if keys.setdefault(entry["key"], (id_, step, activity)) != (id_, step, activity):
                self.blame("wrong", f"{entry['key']} is the key of {id_} {step} and of another")
            places[id_, step, activity, entry["attempt"]] += 1
            inputs = self.inputs_of(found[id_][0], outputs[id_], step, spec, activity)
            if set(entry["inputs"]) != inputs:
                self.blame("wrong", f"{id_} {step} got {entry['inputs']}, recorded is {inputs}: {entry}")
        if len(keys) != len({place[:3] for place in places}):
            self.blame("wrong", f"{len(keys)} keys for {len({place[:3] for place in places})} effects")
        for (id_, step, activity, _), count in places.items():
            if count > 1 and SHAPES[found[id_][0].flow][step].kind == "once" and activity == ATTEMPT:
                self.blame("rerun", f"{id_} {step}: an at-most-once step took effect {count} times")
        self.tally.effects += len(self.effects)
        self.tally.repeated += sum(count - 1 for count in places.values())

    @staticmethod
    def inputs_of(start, outputs, step, spec, activity):
        """The tokens that a step has to be given."""
        if activity == COMPENSATION:
            return outputs[step]
        if not spec.after:
            return tokens(start.request)
        return set().union(*(outputs.get(pre, set()) for pre in spec.after))


async def look(place, ledger, judge, lines, wanted=None, *, check=True):
    """Let the judge see what is at a place now; with ``wanted`` for the last time. ``check``: every page of it, too."""
    async with place.left() as store:
        for wrong in await store.check() if check else ():
            judge.blame("lost", f"{place.folder}: {wrong}")
        if wanted is None:
            judge.life_over(ledger.news(), lines, await stored(store, judge.over))
        else:
            judge.final(ledger.news(), lines, await stored(store), wanted)

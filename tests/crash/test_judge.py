"""The judge finds what is wrong: a story that went well, told falsely in one point."""

import asyncio

import pytest

from flow_core.model.records import AttemptFailed, Compensated, ExecutionEnded, Paused, StepEnded
from flow_core.model.status import Status
from tests.crash.flows import SHAPES
from tests.crash.judge import KINDS, Judge, Tally, stored
from tests.crash.ledger import Ledger
from tests.crash.lives import Life
from tests.crash.places import SqliteFile

WANTED = {flow: flow for flow in SHAPES if flow not in ("leaf", "gated")}


class Story:
    """What one undisturbed process did: entries of the ledger, lines, and records."""

    def __init__(self, entries, lines, found):
        self.entries, self.lines, self.found = [*entries], [*lines], {id_: [*records] for id_, records in found.items()}

    def judged(self, before=None):
        """Kinds of the violations. ``before``: what another process had left before this one began."""
        tally = Tally()
        judge = Judge(tally)
        if before is not None:
            judge.life_over([], [], before)
        judge.final(self.entries, self.lines, self.found, WANTED)
        return {kind for kind, _ in tally.violations}

    def effect(self, id_, step, activity=0):
        return next(
            e for e in self.entries if [e.get(n) for n in ("execution", "step", "activity")] == [id_, step, activity]
        )

    def change(self, id_, cls, step=None, **fields):
        """Change the first record of a kind; with nothing to change: take it out."""
        records = self.found[id_]
        at = next(n for n, r in enumerate(records) if isinstance(r, cls) and (step is None or r.step == step))
        old = records[at]
        records[at : at + 1] = [old._replace(**fields)] if fields else []
        return old


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    place = SqliteFile(tmp_path_factory.mktemp("story"))
    ledger = Ledger(place.folder / "ledger")

    async def read():
        async with place.left() as store:
            return await stored(store)

    with Life(place, "only") as life:
        life.begin()
        life.do("start", starts=[[id_, flow] for id_, flow in WANTED.items()])
        life.do("drain")
        life.do("stop")
        life.until("stopped")
        return ledger.news(), life.lines, asyncio.run(read())


@pytest.fixture
def story(lived):
    return Story(*lived)


def before(story, id_, *classes):
    """An execution as a process before this one had left it: its start and the records of some kinds."""
    first, *rest = story.found[id_]
    return {id_: [first, *(record for record in rest if isinstance(record, classes))]}


def test_a_true_story_has_nothing_wrong(story):
    assert story.judged() == set()


def lose_an_execution(story):
    del story.found["fan"]
    return {"lost", "missing"}


def lose_one_that_only_took_effect(story):
    del story.found["fan"]
    story.lines = [line for line in story.lines if "fan" not in line.split()]
    return {"lost"}


def lose_an_outcome(story):
    story.change("line", StepEnded, "second")
    return {"lost", "wrong"}  # and its successor got what is recorded nowhere


def lose_an_end(story):
    story.change("line", ExecutionEnded)
    return {"lost", "missing"}


def end_otherwise_than_told(story):
    story.lines = [line.replace("ended saga FAILURE", "ended saga SUCCESS") for line in story.lines]
    return {"missing"}


def end_wrongly(story):
    story.change("saga", ExecutionEnded, status=int(Status.ABORTED))
    return {"missing", "wrong"}


def pause_nothing(story):
    story.change("paused", Paused)
    return {"missing"}


def two_outcomes(story):
    story.found["line"].insert(-1, story.found["line"][1])
    return {"double"}


def two_ends(story):
    story.found["line"].append(story.found["line"][-1])
    return {"double"}


def two_children(story):
    parent = next(id_ for id_, records in story.found.items() if records[0].parent == "nested")
    story.found["another"] = [record._replace(execution="another") for record in story.found[parent]]
    return {"double"}


def other_output_than_passed_on(story):
    story.change("line", StepEnded, "first", output=b'{"step":"first","token":"0000"}')
    return {"wrong"}


def no_compensation(story):
    story.change("saga", Compensated, "charge")
    return {"wrong"}


def an_attempt_too_few(story):
    story.change("retried", StepEnded, "shaky", attempt=2)
    return {"wrong"}


def twice_in_one_process(story):
    story.entries.append(story.effect("line", "second"))
    return {"rerun"}


def at_most_once_twice(story):
    story.entries.append({**story.effect("careful", "once-1"), "life": "another"})
    return {"rerun"}


def another_key(story):
    story.entries.append({**story.effect("line", "second"), "attempt": 2, "key": "line/other"})
    return {"wrong"}


def the_key_of_another(story):
    story.effect("line", "second")["key"] = "line/first"
    return {"wrong"}


def started_while_paused(story):
    at = next(n for n, e in enumerate(story.entries) if e["what"] == "paused" and e["execution"] == "paused")
    tail = story.effect("paused", "tail")
    story.entries.remove(tail)
    story.entries.insert(at + 1, tail)
    return {"wrong"}


FALSE = (
    lose_an_execution, lose_one_that_only_took_effect, lose_an_outcome, lose_an_end, end_otherwise_than_told,
    end_wrongly, pause_nothing, two_outcomes, two_ends, two_children, other_output_than_passed_on, no_compensation,
    an_attempt_too_few, twice_in_one_process, at_most_once_twice, another_key, the_key_of_another,
    started_while_paused,
)  # fmt: skip


@pytest.mark.parametrize("tell", FALSE, ids=lambda tell: tell.__name__)
def test_a_false_story_is_found_out(story, tell):
    story.entries = [{**entry} for entry in story.entries]
    expected = tell(story)
    assert expected <= set(KINDS)
    assert story.judged() == expected


@pytest.mark.parametrize(
    ("id_", "recorded"), [("line", StepEnded), ("retried", AttemptFailed), ("saga", (StepEnded, Compensated))]
)
def test_what_was_recorded_and_is_done_again_is_found_out(story, id_, recorded):
    assert story.judged(before(story, id_, recorded)) == {"rerun"}


def test_what_was_recorded_and_is_gone_is_found_out(story):
    left = before(story, "line", StepEnded)
    story.entries = [entry for entry in story.entries if entry["execution"] != "line"]
    story.change("line", StepEnded, "third", output=b'{"step":"third","token":"0000"}')
    assert story.judged(left) == {"lost"}


def test_what_had_ended_and_is_gone_is_found_out(story):
    left = {"line": story.found.pop("line")}
    assert "lost" in story.judged(left)

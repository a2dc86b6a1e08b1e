"""Random flows on random days: whatever happens, the promises of an execution hold.

Lives here: flows, options and days drawn by Hypothesis, and an oracle that knows nothing of the machine's phases. Does
not live here: single promises with an example each (`test_failures.py`, `test_rollback.py`, ...).
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from flow_core.model.options import Retry
from flow_core.model.status import TERMINAL, Status
from flow_core.model.step import Fallback, Step
from tests.engine.script import Script, bindings_of, plan_of, work

PREDICATES = {"yes": lambda value: True, "no": lambda value: False}
FINISHED = {Status.SUCCESS, Status.FAILURE, Status.ABORTED, Status.STOPPED, Status.SKIPPED}


@st.composite
def flows(draw):
    """Up to eight steps; edges go from lower to higher numbers, then the steps are registered in any order."""
    steps = []
    for i in range(draw(st.integers(1, 8))):
        earlier = [f"s{j}" for j in range(i)]
        steps.append(Step(
            f"s{i}", work,
            after=draw(st.lists(st.sampled_from(earlier), max_size=3, unique=True)) if earlier else (),
            retry=draw(st.sampled_from([None, None, 1, Retry(2, initial=3, jitter="none")])),
            total_timeout=draw(st.sampled_from([None, None, 4.0, 50.0])),
            fallback=draw(st.sampled_from([None, None, work, Fallback(work, then="fail")])),
            compensation=draw(st.sampled_from([None, work])),
            allow_fail=draw(st.sampled_from([None, None, True])),
            when=draw(st.sampled_from([None, None, None, "yes", "no"])),
            join=draw(st.sampled_from(["all", "all", "any", "done"])),
            delivery=draw(st.sampled_from(["at_least_once", "at_least_once", "at_most_once"])),
        ))  # fmt: skip
    return plan_of(draw(st.permutations(steps)), bindings=bindings_of(**PREDICATES))


class Day(Script):
    """A script that does random things, and is watched by an oracle."""

    def __init__(self, data, plan):
        self.data = data
        self.asked_to_end = False
        self.ended = {}
        self.rollback = data.draw(st.booleans(), "rollback")
        super().__init__(
            plan, slots=data.draw(st.integers(1, 4), "slots"), rollback=self.rollback,
            timeout=data.draw(st.sampled_from([None, None, 5.0, 60.0]), "timeout"),
            retries=data.draw(st.sampled_from([None, 1]), "retries"),
        )  # fmt: skip

    def _start(self, index):
        step = self.plan.items[index]
        assert not self.machine.paused, "a step starts during a pause"
        assert not self.asked_to_end, "a step starts after the abort"
        before = [self.of(name) for name in step.after]
        allowed = [self.plan.items[self.plan.index(name)].allow_fail for name in step.after]
        if step.join == "all":
            fine = (s is Status.SUCCESS or (s is Status.FAILURE and a) for s, a in zip(before, allowed, strict=True))
            assert all(fine), f"{step.id} starts after {before}"
        elif step.join == "any":
            assert not before or Status.SUCCESS in before
        else:
            assert FINISHED.issuperset(before)
        super()._start(index)

    def check(self):
        super().check()
        for name, status in self.statuses.items():
            if Status[status] in TERMINAL:
                assert self.ended.setdefault(name, status) == status, f"{name} has two outcomes"

    def _perform(self, commands):
        seen = len(self.started)
        super()._perform(commands)
        assert not (self.machine.paused and len(self.started) > seen), "something starts during a pause"

    # --- one thing that happens -------------------------------------------------------------------------------------

    def actions(self):
        """What can happen now."""
        found = [lambda n=n: self.succeed(n) for n in self.attempts]
        found += [lambda n=n: self.fail(n) for n in self.attempts if n not in self.told]
        found += [lambda n=n: self.time_out(n) for n in self.told if n in self.attempts]
        found += [lambda n=n, w=w: self.finish(n, w, n) for n, w in self.activities]
        found += [lambda n=n, w=w: self.finish(n, w, OSError(n)) for n, w in self.activities]
        if self.timers:
            found.append(self.ring)
        if self.zombies:
            found.append(self.let_go)
        return found

    def requests(self):
        """What somebody may ask for now."""
        return [self.pause, self.resume, self.some_abort, self.some_abort, self.some_stop]

    def some_abort(self):
        ending = self.machine.phase.value in ("cancelling", "rolling back")
        if not ending:
            self.rollback = self.data.draw(st.booleans(), "rollback of the abort")
        self.asked_to_end = True
        self.abort(rollback=self.rollback)

    def some_stop(self):
        self.asked_to_end = True
        self.rollback = False
        self.stop()


def compensated(day):
    """The steps that a rollback undoes, in its order."""
    order = [day.plan.items[int(i)] for i in day.plan.graph.order()]
    return [s.id for s in reversed(order) if s.compensation is not None and day.of(s.id) is Status.SUCCESS]


@settings(max_examples=250)
@given(st.data(), flows())
def test_a_random_day(data, plan):
    day = Day(data, plan)
    for _ in range(data.draw(st.integers(0, 40), "events")):
        if day.end is not None:
            break
        actions = day.actions()
        if not actions or data.draw(st.integers(0, 9), "request") == 0:
            actions = day.requests()
        data.draw(st.sampled_from(actions), "event")()
    for _ in range(500):  # it always ends, when all that is under way does
        if day.end is not None:
            break
        if day.machine.paused:
            day.resume()
        day.actions()[0]() if day.actions() else None
    assert day.end is not None, f"it does not end: {day.statuses}"
    assert FINISHED.issuperset(map(day.of, day.statuses))
    look_back(day)


def look_back(day):
    """What must have been true of a day, whatever happened."""
    failed = [s.id for s in day.plan.items if day.of(s.id) is Status.FAILURE and not s.allow_fail]
    if day.status is Status.SUCCESS:
        assert not failed
        assert not day.undone()
        assert {Status.SUCCESS, Status.SKIPPED, Status.FAILURE}.issuperset(map(day.of, day.statuses))
    if day.status is Status.FAILURE and day.machine.timeout is None:
        assert failed
    if day.status in (Status.FAILURE, Status.ABORTED):
        assert day.undone() == (compensated(day) if day.rollback else [])
    if day.status is Status.STOPPED:  # a rollback may have been under way
        assert day.undone() == compensated(day)[: len(day.undone())]
    for step in day.plan.items:
        numbers = [what for name, what in day.started if name == step.id and isinstance(what, int)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert not numbers or day.of(step.id) is not Status.SKIPPED

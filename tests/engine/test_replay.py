"""A crash at any moment: what the records say is what goes on, see `engine/replay.py`.

Lives here: the state after a replay, compared with the one before the crash, on random days; and what an execution does
with the rest of its life. Does not live here: single scenarios (`test_replay_moments.py`).
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from flow_core.engine.machine import Phase
from flow_core.engine.timers import EXECUTION, RETRY, TOTAL
from flow_core.model.options import Retry
from flow_core.model.records import AttemptFailed, Compensated, ExecutionEnded, StepEnded, StepStarted
from flow_core.model.status import Status
from flow_core.model.step import Step
from tests.engine.recorder import Recorded
from tests.engine.script import bindings_of, plan_of, work
from tests.engine.test_random_days import PREDICATES, flows


class RecordedDay(Recorded):
    """A recorded script that does random things."""

    def happens(self, data):
        """One random thing happens."""
        found = [lambda n=n: self.succeed(n) for n in self.attempts]
        found += [lambda n=n: self.fail(n) for n in self.attempts if n not in self.told]
        found += [lambda n=n: self.time_out(n) for n in self.told if n in self.attempts]
        found += [lambda n=n, w=w: self.finish(n, w, n) for n, w in self.activities]
        found += [lambda n=n, w=w: self.finish(n, w, OSError(n)) for n, w in self.activities]
        if self.timers:
            found.append(self.ring)
        if self.zombies:
            found.append(self.let_go)
        found.append(lambda: self.advance(data.draw(st.sampled_from([0.5, 3.0]), "seconds")))
        if not found or data.draw(st.integers(0, 9), "request") == 0:
            rollback = data.draw(st.booleans(), "rollback")
            found = [self.pause, self.resume, self.resume, lambda: self.abort(rollback=rollback)]
        data.draw(st.sampled_from(found), "event")()


def day_of(data, plan):
    return RecordedDay(
        plan, slots=data.draw(st.integers(1, 4), "slots"), rollback=data.draw(st.booleans(), "rollback"),
        timeout=data.draw(st.sampled_from([None, None, 5.0, 60.0]), "timeout"),
        retries=data.draw(st.sampled_from([None, 1]), "retries"),
    )  # fmt: skip


# --- the state --------------------------------------------------------------------------------------------------------


def expected_statuses(day, step):
    """What a step may be after the crash: the same, but for an attempt under way, of which nothing is known."""
    now = day.of(step.id)
    if now is Status.ABORTED and day.machine.errors:  # in a failing execution, what was under way did not start
        return (now, Status.SKIPPED)
    if now is not Status.RUNNING or step.id in day.fallbacks():
        return (now,)
    if step.delivery == "at_most_once":
        return (now,)  # nobody knows what came of it: it fails when the execution goes on
    if day.machine.phase is Phase.FORWARD or step.join == "done":
        return (Status.PENDING,)
    return (Status.ABORTED if day.run.attempt(day.plan.index(step.id)) > 1 else Status.SKIPPED,)


def compare(day, other):
    """Whether a replay has found everything that was known before."""
    before, after = day.machine, other.machine
    before.execution_timers.now = day.now
    if before.phase is Phase.ROLLING_BACK:  # taken up when it is settled again
        assert after.phase in (Phase.FAILING, Phase.CANCELLING)
    else:
        assert after.phase is before.phase
    assert after.verdict[0] is before.verdict[0]
    assert (after.paused, after.reason) == (before.paused, before.reason)
    assert after.rollback == before.rollback
    assert set(after.errors) == set(before.errors)
    assert after.recovered == before.recovered
    assert after.compensated == before.compensated
    assert set(after.compensation_errors) == set(before.compensation_errors)
    for index, step in enumerate(day.plan.items):
        assert other.of(step.id) in expected_statuses(day, step), step.id
        assert other.run.attempt(index) == day.run.attempt(index), step.id
        assert other.run.output(index) == day.run.output(index), step.id
        compare_timers(day, other, step, index)
    if before.phase is Phase.ROLLING_BACK:
        return
    left = [machine.execution_timers.left(EXECUTION) for machine in (before, after)]
    assert close(*left), left


def compare_timers(day, other, step, index):
    waits = day.of(step.id) is Status.PENDING
    assert waits or other.of(step.id) is not Status.PENDING or not other.machine.execution_timers.left((RETRY, index))
    for kind in (RETRY, TOTAL):
        here, there = (one.machine.execution_timers.left((kind, index)) for one in (day, other))
        if waits:
            assert close(here or 0.0, there or 0.0), (step.id, kind, here, there)  # None: due, and waits for a slot
    if step.id in day.fallbacks():
        assert other.machine.execution_timers.left((TOTAL, index)) is None


def close(one, other):
    return one == other or (one is not None and other is not None and abs(one - other) < 1e-6)


@settings(max_examples=150)
@given(st.data(), flows())
def test_a_replay_finds_what_was_known(data, plan):
    day = day_of(data, plan)
    for _ in range(data.draw(st.integers(1, 25), "events")):
        if day.end is not None:
            break
        day.happens(data)
        if day.end is None:
            other = day.again(drive=False)
            compare(day, other)
            other.carry_on(other.replayed)  # which checks every invariant


@settings(max_examples=50)
@given(st.data(), flows())
def test_a_replay_of_a_replay_finds_it_too(data, plan):
    day = day_of(data, plan)
    for _ in range(data.draw(st.integers(1, 25), "events")):
        if day.end is not None:
            return
        day.happens(data)
        if day.end is None and data.draw(st.integers(0, 3), "crash") == 0:
            day = day.again(down=data.draw(st.sampled_from([0.0, 2.0, 1000.0]), "down"))
            day.__class__ = RecordedDay
            if day.end is None:
                compare(day, day.again(drive=False))


# --- the rest of its life ---------------------------------------------------------------------------------------------


def to_the_end(script, good):
    """Let everything that is under way end: attempts well, or as ``good`` says."""
    for _ in range(500):
        if script.end is not None:
            return
        if script.machine.paused:
            script.resume()
        elif script.attempts:
            step = next(iter(script.attempts))
            if step in script.told:
                script.time_out(step)
            else:
                script.succeed(step) if good(step, script.attempts[step]) else script.fail(step)
        elif script.activities:
            name, what = next(iter(script.activities))
            script.finish(name, what, name)
        elif script.zombies:
            script.let_go()
        elif script.timers:
            script.ring()
    raise AssertionError(f"it does not end: {script.statuses}")


@settings(max_examples=100)
@given(st.data(), flows())
def test_what_is_recorded_is_never_done_again(data, plan):
    day = day_of(data, plan)
    for _ in range(data.draw(st.integers(1, 30), "events")):
        if day.end is None:
            day.happens(data)
    for count in range(1, len(day.records) + 1):
        if isinstance(day.records[count - 1], ExecutionEnded):
            break
        known = day.records[:count]
        other = day.again(count, down=data.draw(st.sampled_from([0.0, 1.0, 1000.0]), "down"))
        to_the_end(other, lambda step, attempt: True)
        outcomes = {r.step: Status(r.status) for r in known if isinstance(r, StepEnded)}
        fell_back = {r.step for r in known if isinstance(r, AttemptFailed) and r.due_utc is None}
        for step, status in outcomes.items():
            assert other.of(step) is status
        again = {name for name, what in other.started if isinstance(what, int)}
        announced = {(r.step, r.attempt) for r in known if isinstance(r, StepStarted)}
        assert not again & (outcomes.keys() | fell_back)
        assert not announced & set(other.started), "an at-most-once attempt was made twice"
        for name in again:
            failed = [r.attempt for r in known if isinstance(r, AttemptFailed) and r.step == name]
            numbers = [what for one, what in other.started if one == name and isinstance(what, int)]
            assert numbers[0] == max(failed, default=0) + 1
        assert not {r.step for r in known if isinstance(r, Compensated)} & set(other.undone())
        compensated = [r.step for r in other.records if isinstance(r, Compensated)]
        assert len(compensated) == len(set(compensated))
        ended = [r.step for r in other.records if isinstance(r, StepEnded)]
        assert len(ended) == len(set(ended))
        look_back(other, compensated)


def look_back(script, compensated):
    failed = [s.id for s in script.plan.items if script.of(s.id) is Status.FAILURE and not s.allow_fail]
    if script.status is Status.SUCCESS:
        assert not failed
        assert not compensated
    elif script.machine.rollback:
        order = [script.plan.items[int(i)] for i in script.plan.graph.order()]
        succeeded = [s.id for s in reversed(order) if s.compensation and script.of(s.id) is Status.SUCCESS]
        assert compensated == succeeded
    else:
        assert not compensated or script.machine.phase is Phase.OVER


@st.composite
def plain_flows(draw):
    """Flows in which no timer decides anything, so that a crash may not change the end."""
    steps = []
    for i in range(draw(st.integers(1, 7))):
        earlier = [f"s{j}" for j in range(i)]
        steps.append(Step(
            f"s{i}", work,
            after=draw(st.lists(st.sampled_from(earlier), max_size=3, unique=True)) if earlier else (),
            retry=draw(st.sampled_from([None, 1, Retry(2, initial=3, jitter="none")])),
            fallback=draw(st.sampled_from([None, work])),
            compensation=draw(st.sampled_from([None, work])),
            when=draw(st.sampled_from([None, None, "yes", "no"])),
            join=draw(st.sampled_from(["all", "all", "any", "done"])),
        ))  # fmt: skip
    return plan_of(steps, bindings=bindings_of(**PREDICATES))


@settings(max_examples=60)
@given(plain_flows(), st.sets(st.tuples(st.integers(0, 6), st.integers(1, 3)), max_size=8), st.integers(1, 3))
def test_a_crash_changes_nothing(plan, bad, slots):
    """Attempts that go wrong do so in every life: the end is that of an execution which nothing interrupted."""

    def good(step, attempt):
        return (int(step[1:]), attempt) not in bad

    whole = Recorded(plan, slots=slots)
    to_the_end(whole, good)
    for count in range(1, len(whole.records)):
        other = whole.again(count)
        to_the_end(other, good)
        if Status.FAILURE not in (whole.status, other.status):
            assert other.statuses == whole.statuses
            assert [other.run.output(i) for i in range(len(plan))] == [whole.run.output(i) for i in range(len(plan))]
            assert other.machine.recovered == whole.machine.recovered
        assert other.status is whole.status
        kinds = [{r.step: r for r in one.records if isinstance(r, StepEnded)} for one in (whole, other)]
        for step in kinds[0].keys() & kinds[1].keys():  # others may have been under way when one failed
            assert kinds[0][step].status == kinds[1][step].status
            assert kinds[0][step].output == kinds[1][step].output

"""Compensations: which, in what order, with what, and what happens to them on the way."""

import pytest

from flow_core.engine.machine import Phase
from flow_core.errors import ExecutionAborted, ExecutionStopped, ExecutionTimeout, StepFailed
from flow_core.model.status import Status
from flow_core.model.step import Fallback, Step
from tests.engine.script import FALLBACK, UNDO, Script, bindings_of, work


def chain(*names, **options):
    """Steps one after another; the last one has no compensation."""
    steps = [
        Step(name, work, after=names[i - 1] if i else (), compensation=work, **options)
        for i, name in enumerate(names[:-1])
    ]
    return [*steps, Step(names[-1], work, after=names[-2])]


def failed_chain(**machine):
    """An execution that compensates c, then b, then a."""
    script = Script(chain("a", "b", "c", "bad"), **machine)
    script.succeed("a", "b", "c")
    script.fail("bad")
    return script


def test_compensations_run_one_at_a_time_in_reverse_order_with_their_outputs():
    script = failed_chain()
    for step in ("c", "b", "a"):
        assert script.activities == {(step, UNDO): step}
        assert script.end is None
        script.finish(step, UNDO)
    assert (script.status, script.undone()) == (Status.FAILURE, ["c", "b", "a"])


def test_only_what_succeeded_is_compensated():
    steps = [
        Step("done", work, compensation=work), Step("failed", work, compensation=work, allow_fail=True),
        Step("no", work, compensation=work, when="no"), Step("without", work),
        Step("recovered", work, compensation=work, fallback=work),
        Step("cleaned", work, compensation=work, fallback=Fallback(work, then="fail"), allow_fail=True),
        Step("bad", work, compensation=work, after=["done", "without", "recovered", "cleaned", "failed"]),
        Step("never", work, compensation=work, after="bad"),
    ]  # fmt: skip
    script = Script(steps, bindings=bindings_of(no=lambda value: False))
    script.succeed("done", "without")
    for step in ("failed", "recovered", "cleaned"):
        script.fail(step)
    script.finish("recovered", FALLBACK, 1)
    script.finish("cleaned", FALLBACK, 1)
    script.fail("bad")
    while script.end is None:
        script.finish(*next(iter(script.activities)))
    assert sorted(script.undone()) == ["done", "recovered"]


def test_steps_that_end_after_the_failure_are_compensated_too():
    script = Script([Step("slow", work, compensation=work), Step("bad", work)])
    script.fail("bad")
    assert script.activities == {}
    script.succeed("slow")
    assert script.activities == {("slow", UNDO): "slow"}


def test_clean_ups_run_before_compensations():
    steps = [
        Step("a", work, compensation=work),
        Step("bad", work, after="a"),
        Step("end", work, after="bad", join="done"),
    ]
    script = Script(steps)
    script.succeed("a")
    script.fail("bad")
    assert (set(script.attempts), script.activities) == ({"end"}, {})
    script.succeed("end")
    assert script.activities == {("a", UNDO): "a"}


def test_failures_of_compensations_are_recorded_and_hide_nothing():
    script = failed_chain()
    error = script.machine.verdict[1]
    script.finish("c", UNDO, ValueError("can't undo c"))
    script.finish("b", UNDO)
    script.finish("a", UNDO, KeyError("a"))
    assert script.error is error
    assert isinstance(error, StepFailed)
    assert {i: type(e) for i, e in script.machine.compensation_errors.items()} == {2: ValueError, 0: KeyError}
    assert script.undone() == ["c", "b", "a"], "one that fails does not stop the others"


def test_no_rollback_when_it_was_not_wanted():
    assert failed_chain(rollback=False).status is Status.FAILURE


@pytest.mark.parametrize("rollback", [True, False])
def test_an_abort_rolls_back_only_when_it_says_so(rollback):
    script = Script(chain("a", "b", "c"))
    script.succeed("a")
    script.abort(rollback=rollback)
    assert script.undone() == [], "the cancelled step has not ended"
    script.let_go()
    assert script.undone() == (["a"] if rollback else [])
    if rollback:
        script.finish("a", UNDO)
    assert script.status is Status.ABORTED
    assert isinstance(script.error, ExecutionAborted)


def test_an_abort_may_ask_for_a_rollback_that_execute_did_not():
    script = Script(chain("a", "b"), rollback=False)
    script.succeed("a")
    script.abort(rollback=True)
    script.let_go()
    script.finish("a", UNDO)
    assert script.status is Status.ABORTED


def test_a_timeout_rolls_back():
    script = Script(chain("a", "b"), timeout=10)
    script.succeed("a")
    script.advance(10)
    script.let_go()
    script.finish("a", UNDO)
    assert script.status is Status.FAILURE
    assert isinstance(script.error, ExecutionTimeout)


@pytest.mark.parametrize("machine", [{}, {"timeout": 100}], ids=["abort", "timeout"])
def test_the_time_of_grace_does_not_go_on_into_the_rollback(machine):
    script = Script(chain("a", "b"), **machine)
    script.succeed("a")
    if machine:
        script.advance(100)
    else:
        script.abort(rollback=True)
    script.let_go()
    script.advance(1000)
    assert script.activities == {("a", UNDO): "a"}
    assert script.timers == {}
    script.finish("a", UNDO)
    assert script.undone() == ["a"]


def test_no_timeout_cuts_a_rollback_short():
    script = failed_chain(timeout=10)
    script.advance(1000)
    assert script.machine.phase is Phase.ROLLING_BACK
    for step in ("c", "b", "a"):
        script.finish(step, UNDO)
    assert isinstance(script.error, StepFailed)


def test_compensations_after_an_abort_are_not_told_that_they_are_aborted():
    script = Script(chain("a", "b"))
    script.succeed("a")
    script.abort(rollback=True)
    assert script.run.intent == 2
    script.let_go()
    assert script.run.intent == 0


def test_a_pause_in_the_middle_of_a_rollback():
    script = failed_chain()
    script.pause()
    script.finish("c", UNDO)
    assert (script.activities, script.status) == ({}, Status.PAUSED)
    script.advance(1000)
    assert script.undone() == ["c"]
    script.resume()
    assert script.activities == {("b", UNDO): "b"}
    script.finish("b", UNDO)
    script.finish("a", UNDO)
    assert script.status is Status.FAILURE


def test_an_abort_during_a_rollback_changes_nothing():
    script = failed_chain()
    script.abort()
    assert script.activities == {("c", UNDO): "c"}
    for step in ("c", "b", "a"):
        script.finish(step, UNDO)
    assert script.status is Status.FAILURE
    assert isinstance(script.error, StepFailed)


def test_an_abort_of_a_paused_rollback_lets_it_go_on():
    script = failed_chain()
    script.pause()
    script.finish("c", UNDO)
    script.abort()
    assert script.activities == {("b", UNDO): "b"}, "who aborts waits for the end, not for somebody's resume"


@pytest.mark.parametrize("paused", [False, True])
def test_a_stop_ends_a_rollback(paused):
    script = failed_chain()
    if paused:
        script.pause()
        script.finish("c", UNDO)
    script.stop()
    script.let_go()
    assert (script.status, script.undone()) == (Status.STOPPED, ["c"])
    assert isinstance(script.error, ExecutionStopped)
    assert isinstance(script.error.__cause__, StepFailed)


def test_compensations_of_a_diamond_are_in_reverse_topological_order():
    steps = [
        Step("d", work, after=["b", "c"], compensation=work), Step("b", work, after="a", compensation=work),
        Step("c", work, after="a", compensation=work), Step("a", work, compensation=work), Step("bad", work, after="d"),
    ]  # fmt: skip
    script = Script(steps)
    script.succeed("a", "c", "b", "d")
    script.fail("bad")
    for _ in range(4):
        script.finish(*next(iter(script.activities)))
    assert script.undone()[0] == "d"
    assert script.undone()[-1] == "a"
    assert set(script.undone()) == {"a", "b", "c", "d"}

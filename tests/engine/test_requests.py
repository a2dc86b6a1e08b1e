"""Pause, resume, abort and stop, in every phase; and every pair of phase and event."""

import itertools

import pytest

from flow_core.core.task import Activity
from flow_core.engine import events as e
from flow_core.engine.machine import Phase
from flow_core.engine.timers import GRACE
from flow_core.errors import ExecutionAborted, ExecutionStopped, ExecutionTimeout, IllegalMove, StepFailed
from flow_core.model.options import Retry
from flow_core.model.status import MOVES, Status
from flow_core.model.step import Step
from tests.engine.script import FALLBACK, UNDO, Script, bindings_of, moves_seen, work

FIXED = Retry(3, initial=10, factor=1, jitter="none")

# --- pause ------------------------------------------------------------------------------------------------------------


def test_no_step_starts_during_a_pause_and_running_ones_are_recorded():
    script = Script([Step("a", work), Step("b", work, after="a")])
    script.pause()
    script.succeed("a")
    assert (script.statuses, script.status) == ({"a": "SUCCESS", "b": "PENDING"}, Status.PAUSED)
    script.resume()
    assert script.attempts == {"b": 1}
    script.succeed("b")
    assert script.status is Status.SUCCESS


def test_an_execution_whose_steps_all_ended_during_a_pause_ends_with_the_resume():
    script = Script([Step("a", work)])
    script.pause()
    script.succeed("a")
    assert script.status is Status.PAUSED
    script.resume()
    assert script.status is Status.SUCCESS


def test_timers_freeze_with_what_was_left_of_them():
    script = Script([Step("a", work, retry=FIXED, total_timeout=40)], timeout=100)
    script.fail("a")
    script.advance(4)
    script.pause()
    assert script.timers == {}
    assert script.machine.frozen == {("retry", 0): 6, ("total", 0): 36, ("execution", 0): 96}
    script.advance(10_000)
    script.resume()
    assert script.timers == {("retry", 0): 10_010, ("total", 0): 10_040, ("execution", 0): 10_100}
    script.advance(6)
    assert script.attempts == {"a": 2}


def test_a_retry_that_becomes_due_during_a_pause_waits_its_whole_delay_after_it():
    script = Script([Step("a", work, retry=FIXED)])
    script.pause()
    script.fail("a")
    assert (script.timers, script.machine.frozen) == ({}, {("retry", 0): 10})
    script.resume()
    script.advance(10)
    assert script.attempts == {"a": 2}


def test_a_frozen_total_timeout_forbids_a_retry_that_would_come_too_late():
    script = Script([Step("a", work, retry=FIXED, total_timeout=12)])
    script.advance(5)
    script.pause()
    script.fail("a")
    assert script.of("a") is Status.FAILURE


def test_an_attempt_told_to_stop_before_a_pause_is_not_retried():
    script = Script([Step("a", work, retry=Retry(3, initial=0, jitter="none"), total_timeout=5)])
    script.advance(5)
    script.pause()
    script.time_out("a")
    assert script.of("a") is Status.FAILURE
    script.resume()
    assert script.status is Status.FAILURE


def test_a_fallback_waits_for_the_resume():
    script = Script([Step("a", work, fallback=work)])
    script.pause()
    script.fail("a")
    assert script.activities == {}
    script.resume()
    assert script.activities == {("a", FALLBACK): b""}
    script.finish("a", FALLBACK, 1)
    assert script.status is Status.SUCCESS


def test_a_failure_during_a_pause_ends_the_execution_after_it():
    script = Script([Step("a", work), Step("b", work, after="a"), Step("end", work, after="a", join="done")])
    script.pause()
    script.fail("a")
    assert (script.status, script.statuses["b"], script.attempts) == (Status.PAUSED, "SKIPPED", {})
    script.resume()
    script.succeed("end")
    assert script.status is Status.FAILURE


def test_a_pause_before_the_first_step():
    script = Script([Step("a", work)], slots=0)
    script.pause()
    assert script.status is Status.PAUSED
    script.slots = 1
    script.resume()
    assert script.attempts == {"a": 1}


def test_pausing_twice_and_resuming_what_is_not_paused_does_nothing():
    script = Script([Step("a", work, retry=FIXED)])
    script.resume()
    script.fail("a")
    script.pause()
    script.advance(5)
    script.pause()
    script.resume()
    script.resume()
    assert script.timers == {("retry", 0): 15}


def test_only_what_is_under_way_can_be_paused():
    script = Script([Step("a", work)])
    script.run.move(Status.SUCCESS)
    with pytest.raises(IllegalMove, match="SUCCESS"):
        script.machine.handle(e.PauseAsked(), 0)


# --- abort and stop ---------------------------------------------------------------------------------------------------


def test_an_abort_ends_every_step_at_once():
    script = Script([
        Step("done", work), Step("runs", work), Step("waits", work, after="runs"), Step("again", work, retry=FIXED),
        Step("instead", work, fallback=work), Step("end", work, after="runs", join="done"),
    ])  # fmt: skip
    script.succeed("done")
    script.fail("again")
    script.fail("instead")
    script.abort(reason="aborted by a test")
    assert script.statuses.pop("done") == "SUCCESS"
    assert set(script.statuses.values()) == {"SUCCESS", "ABORTED"}
    assert sorted(script.zombies) == ["instead", "runs"]
    script.let_go()
    assert script.status is Status.ABORTED
    assert isinstance(script.error, ExecutionAborted)
    assert "aborted by a test" in str(script.error)


def test_coroutines_that_do_not_end_are_left_behind_after_the_time_of_grace():
    script = Script([Step("a", work)])
    script.abort()
    script.advance(GRACE - 0.01)
    assert script.end is None
    script.advance(0.01)
    assert (script.status, script.zombies) == (Status.ABORTED, [])


def test_late_outcomes_of_an_aborted_execution_change_nothing():
    script = Script([Step("a", work, fallback=work), Step("b", work, fallback=work)])
    script.fail("b")
    script.abort()
    for event in (
        e.AttemptRaised(0, OSError()), e.ActivityEnded(1, Activity.ACTIVITY_FALLBACK, ok=True, value=1),
        e.StepSucceeded(0), e.TimerRang(("retry", 0)), e.TimerRang(("execution", 0)),
    ):  # fmt: skip
        assert script.machine.handle(event, 0) == []
        script.check()
    assert script.statuses == {"a": "ABORTED", "b": "ABORTED"}
    assert list(script.machine.errors) == [1]


@pytest.mark.parametrize("request_", ["abort", "stop"])
def test_an_abort_or_a_stop_during_a_pause_does_not_wait_for_the_resume(request_):
    script = Script([Step("a", work, retry=FIXED), Step("b", work)])
    script.fail("a")
    script.pause()
    getattr(script, request_)()
    script.let_go()
    assert script.status is (Status.ABORTED if request_ == "abort" else Status.STOPPED)


def test_a_stop_leaves_steps_stopped():
    script = Script([Step("a", work, compensation=work), Step("b", work, after="a"), Step("c", work, after="b")])
    script.succeed("a")
    script.stop()
    script.let_go()
    assert script.statuses == {"a": "SUCCESS", "b": "STOPPED", "c": "STOPPED"}
    assert (script.status, script.undone()) == (Status.STOPPED, [])
    assert isinstance(script.error, ExecutionStopped)


def test_an_abort_of_a_failed_execution_keeps_the_failure_as_its_cause():
    script = Script([Step("a", work), Step("b", work)])
    script.fail("a")
    script.abort()
    script.let_go()
    assert script.status is Status.ABORTED
    assert isinstance(script.error.__cause__, StepFailed)


def test_a_second_abort_is_too_late():
    script = Script([Step("a", work, compensation=work), Step("b", work, after="a")])
    script.succeed("a")
    script.abort()
    script.abort(rollback=True)
    script.let_go()
    assert script.undone() == []


def test_a_pause_of_a_cancelled_execution_holds_back_its_end():
    script = Script([Step("a", work, compensation=work), Step("b", work, after="a")])
    script.succeed("a")
    script.abort(rollback=True)
    script.pause()
    script.let_go()
    assert (script.status, script.undone()) == (Status.PAUSED, [])
    script.resume()
    script.finish("a", UNDO)
    assert script.status is Status.ABORTED


def test_the_end_is_the_end():
    script = Script([Step("a", work)])
    script.succeed("a")
    for event in (
        e.AbortAsked(),
        e.StopAsked(),
        e.PauseAsked(),
        e.ResumeAsked(),
        e.Settled(),
        e.AttemptRaised(0, OSError()),
    ):
        assert script.machine.handle(event, 0) == []
    assert script.status is Status.SUCCESS


# --- every pair -------------------------------------------------------------------------------------------------------

STEPS = [
    Step("a", work, compensation=work), Step("b", work, after="a", fallback=work, compensation=work),
    Step("c", work, after="a", retry=FIXED, total_timeout=100), Step("d", work, after="b"), Step("e", work, after="a"),
    Step("bad", work), Step("end", work, after="d", join="done"), Step("no", work, when="no"),
]  # fmt: skip
A, B, C, E, BAD = 0, 1, 2, 4, 5


def reach(phase, paused):
    """An execution in a phase: b in its fallback, c between attempts, e and bad running, as far as the phase allows."""
    script = Script(STEPS, timeout=1000, bindings=bindings_of(no=lambda value: False))
    script.succeed("a")
    script.fail("b")
    if phase is not Phase.FAILING:
        script.fail("c")
    if phase in (Phase.FAILING, Phase.ROLLING_BACK):
        script.fail("bad")
    if phase is Phase.ROLLING_BACK:
        script.finish("b", FALLBACK, OSError("no fallback"))
        script.succeed("e", "end")
    if phase in (Phase.CANCELLING, Phase.OVER):
        script.abort(rollback=True)
    if phase is Phase.OVER:
        script.let_go()
        script.finish("a", UNDO)
    if paused:
        script.pause()
    assert (script.machine.phase, script.machine.paused) == (phase, paused)
    return script


#: What comes with each event: the event itself, or what the test does to have it come.
EVENTS = {
    "started": lambda s: s._feed(e.AttemptStarted(C)),
    "succeeded": lambda s: s.succeed("e") if "e" in s.attempts else s._feed(e.StepSucceeded(E)),
    "failed": lambda s: s.fail("e") if "e" in s.attempts else s._feed(e.AttemptRaised(E, OSError())),
    "fallback ended": lambda s: (
        s.finish("b", FALLBACK, 1) if s.activities.keys() == {("b", FALLBACK)}
        else s._feed(e.ActivityEnded(B, Activity.ACTIVITY_FALLBACK, ok=True, value=1))
    ),
    "timer rang": lambda s: s.ring() if s.timers else s._feed(e.TimerRang(("retry", C))),
    "execution timed out": lambda s: s.ring(("execution", 0)) if ("execution", 0) in s.timers else None,
    "pause": Script.pause,
    "resume": Script.resume,
    "abort": Script.abort,
    "abort with rollback": lambda s: s.abort(rollback=True),
    "stop": Script.stop,
    "settled": lambda s: s.let_go() if s.run.finished and not s.activities else None,
}  # fmt: skip


def expected(phase, paused, event):
    """Phase and pause after an event: the table in words."""
    if phase is Phase.OVER:
        return phase, False
    ends_now = event in ("abort", "abort with rollback", "stop", "execution timed out")
    if event == "execution timed out" and (paused or phase in (Phase.CANCELLING, Phase.ROLLING_BACK)):
        return phase, paused  # its timer is frozen, or was cancelled
    if ends_now:
        return (Phase.CANCELLING if event == "stop" or phase in (Phase.FORWARD, Phase.FAILING) else phase), False
    if event == "failed" and phase is Phase.FORWARD:
        return Phase.FAILING, paused
    if phase is Phase.CANCELLING and event in ("settled", "timer rang") and not paused:
        return Phase.ROLLING_BACK, False  # everything ended, or the time of grace is over
    return phase, {"pause": True, "resume": False}.get(event, paused)


def run_to_the_end(script):
    """Let everything that is still possible end well."""
    for _ in range(100):
        if script.end is not None:
            return
        if script.machine.paused:
            script.resume()
        elif script.attempts:
            script.succeed(next(iter(script.attempts)))
        elif script.activities:
            script.finish(*next(iter(script.activities)), "done")
        elif script.zombies:
            script.let_go()
        else:
            script.ring()
    raise AssertionError(f"it does not end: {script.statuses}")


PAIRS = [
    (phase, paused, event)
    for phase, paused, event in itertools.product(Phase, [False, True], EVENTS)
    if not (phase is Phase.OVER and paused)
]


@pytest.mark.parametrize(("phase", "paused", "event"), PAIRS)
def test_every_event_in_every_phase(phase, paused, event):
    script = reach(phase, paused)
    EVENTS[event](script)
    assert (script.machine.phase, script.machine.paused) == expected(phase, paused, event)
    run_to_the_end(script)
    stopped = event == "stop" and phase is not Phase.OVER
    asked = event.startswith("abort") and phase in (Phase.FORWARD, Phase.FAILING)
    timed_out = event == "execution timed out" and not paused
    assert script.status is (
        Status.STOPPED if stopped
        else Status.ABORTED if asked or phase in (Phase.CANCELLING, Phase.OVER)
        else Status.FAILURE if phase is not Phase.FORWARD or event == "failed" or timed_out
        else Status.SUCCESS
    )  # fmt: skip
    if timed_out and phase is Phase.FORWARD:
        assert isinstance(script.error, ExecutionTimeout)


def test_every_legal_move_of_a_step_was_taken():
    for phase, paused, event in PAIRS:
        script = reach(phase, paused)
        EVENTS[event](script)
        run_to_the_end(script)
    # A step is PENDING from birth, and a pause is its execution's.
    wanted = {(old, new) for old, row in MOVES.items() for new in row}
    wanted -= {(old, new) for old, new in wanted if Status.PAUSED in (old, new) or old is Status.UNKNOWN}
    assert moves_seen == wanted

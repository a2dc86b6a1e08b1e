"""Moments of a crash that have a name, one by one: what goes on afterwards, and when.

Does not live here: random ones (`test_replay.py`).
"""

import pytest

from flow_core.engine.machine import Phase
from flow_core.errors import Interrupted, RecordedError, StoreCorrupt
from flow_core.model.options import Retry
from flow_core.model.records import StepEnded
from flow_core.model.status import Status
from flow_core.model.step import Fallback, Step
from tests.engine.recorder import Recorded
from tests.engine.script import FALLBACK, UNDO, work

FIXED = Retry(3, initial=10, factor=1, jitter="none")


# --- timers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("down", "left"), [(0, 10), (3, 7), (10, 0), (500, 0)])
def test_a_retry_comes_when_it_was_due(down, left):
    script = Recorded([Step("a", work, retry=FIXED), Step("b", work, after="a")])
    script.fail("a")
    other = script.again(down=down)
    assert other.started == []
    if left:
        other.advance(left - 0.1)
        assert other.started == []
    other.advance(0.1)
    assert other.started == [("a", 2)]
    other.succeed("a", "b")
    assert other.status is Status.SUCCESS


def test_a_retry_that_became_ready_by_another_step_waits_too():
    script = Recorded([Step("a", work), Step("b", work, after="a", retry=FIXED), Step("c", work, after="a")])
    script.succeed("a")
    script.fail("b")
    other = script.again(down=4)
    assert other.started == [("c", 1)]
    other.advance(6)
    assert other.started == [("c", 1), ("b", 2)]


def test_time_stands_still_during_a_pause_also_when_nobody_is_there():
    script = Recorded([Step("a", work, retry=FIXED, total_timeout=100)], timeout=200)
    script.advance(5)
    script.fail("a")
    script.advance(4)
    script.pause()
    script.advance(1000)
    other = script.again(down=2000)
    assert other.paused
    assert not other.timers
    other.advance(50)
    other.resume()
    found = {kind: at - other.now for (kind, _), at in other.timers.items()}
    assert found == pytest.approx({"retry": 6, "total": 91, "execution": 191})
    third = other.again(down=1)
    found = {kind: at - third.now for (kind, _), at in third.timers.items()}
    assert found == pytest.approx({"retry": 5, "total": 90, "execution": 190})


def test_an_execution_whose_time_was_over_meanwhile_times_out():
    script = Recorded([Step("a", work, compensation=work), Step("b", work, after="a")], timeout=60)
    script.succeed("a")
    other = script.again(down=100)
    other.ring()
    other.let_go()
    assert other.undone() == ["a"]
    other.finish("a", UNDO)
    assert other.status is Status.FAILURE


def test_an_attempt_that_failed_during_a_pause_waits_its_whole_delay_after_it():
    script = Recorded([Step("a", work, retry=FIXED)])
    script.pause()
    script.resume()
    script.advance(1)
    script.pause()
    script.advance(3)
    script.fail("a")
    other = script.again(down=9)
    other.resume()
    assert other.timer("retry", "a") == pytest.approx(10)


def test_the_fallback_has_no_total_timeout_after_a_crash_either():
    script = Recorded([Step("a", work, retry=FIXED, total_timeout=15, fallback=work)])
    script.fail("a")
    script.advance(10)
    script.fail("a")
    assert (script.timers, script.activities) == ({}, {("a", FALLBACK): b""})
    other = script.again()
    assert (other.timers, other.activities) == ({}, {("a", FALLBACK): b""})


# --- steps that were under way ----------------------------------------------------------------------------------------


def test_attempts_without_an_outcome_are_made_again_under_their_number():
    script = Recorded([Step("a", work, retry=FIXED), Step("b", work)])
    script.fail("a")
    script.advance(10)
    assert script.started == [("a", 1), ("b", 1), ("a", 2)]
    other = script.again()
    other.advance(0)
    assert other.started == [("b", 1), ("a", 2)]


def test_an_at_most_once_step_is_not_made_again_but_fails():
    script = Recorded([Step("a", work, delivery="at_most_once", retry=FIXED), Step("b", work, after="a")])
    other = script.again()
    assert other.started == []
    assert isinstance(other.error.__cause__, Interrupted)
    assert other.statuses == {"a": "FAILURE", "b": "SKIPPED"}


def test_an_at_most_once_step_falls_back():
    script = Recorded([Step("a", work, delivery="at_most_once", fallback=work)])
    other = script.again()
    assert other.started == [("a", FALLBACK)]
    other.finish("a", FALLBACK, 7)
    assert other.status is Status.SUCCESS


def test_an_at_most_once_step_that_waits_for_its_retry_goes_on():
    """Its attempt failed, and that is known: another one follows."""
    script = Recorded([Step("a", work, delivery="at_most_once", retry=FIXED)])
    script.fail("a")
    other = script.again(down=10)
    other.advance(0)
    assert other.started == [("a", 2)]
    third = other.again()
    assert third.started == []
    assert isinstance(third.error.__cause__, Interrupted)


def test_an_at_most_once_step_under_way_in_a_failing_execution_fails_too():
    """To call it skipped would hide that it may have taken effect."""
    script = Recorded([Step("a", work), Step("b", work, delivery="at_most_once")])
    script.fail("a")
    other = script.again()
    assert other.statuses == {"a": "FAILURE", "b": "FAILURE"}
    assert isinstance(other.machine.errors[1], Interrupted)


def test_an_at_most_once_step_of_a_paused_execution_waits_for_the_resume_with_its_fallback():
    script = Recorded([Step("a", work, delivery="at_most_once", fallback=work)])
    script.pause()
    other = script.again()
    assert (other.started, other.status) == ([], Status.PAUSED)
    other.resume()
    assert other.started == [("a", FALLBACK)]


def test_a_clean_up_goes_on_in_a_failing_execution():
    script = Recorded([Step("a", work), Step("b", work), Step("z", work, after=["a", "b"], join="done")])
    script.fail("a")
    other = script.again()
    assert other.started == [("z", 1)]  # b, under way then, is not started again
    other.succeed("z")
    assert (other.status, other.statuses["b"]) == (Status.FAILURE, "SKIPPED")


# --- fallbacks and compensations --------------------------------------------------------------------------------------


def test_a_fallback_that_was_under_way_runs_again_and_its_step_does_not():
    script = Recorded([Step("a", work, fallback=Fallback(work))])
    script.fail("a")
    other = script.again()
    assert other.started == [("a", FALLBACK)]
    other.finish("a", FALLBACK, b"x")
    assert (other.status, other.machine.recovered, other.run.output(0)) == (Status.SUCCESS, {0}, b"x")
    assert isinstance(other.machine.errors[0], RecordedError)


def test_a_fallback_of_a_paused_execution_waits_for_the_resume():
    script = Recorded([Step("a", work, fallback=Fallback(work))])
    script.pause()
    script.fail("a")
    other = script.again()
    assert other.started == []
    other.resume()
    assert other.started == [("a", FALLBACK)]


def steps_to_undo():
    return [*(Step(name, work, compensation=work) for name in "abc"), Step("d", work, after=["a", "b", "c"])]


@pytest.mark.parametrize("how", ["failure", "abort"])
def test_a_rollback_goes_on_where_it_was(how):
    script = Recorded(steps_to_undo())
    script.succeed("a", "b", "c")
    script.fail("d") if how == "failure" else script.abort(rollback=True)
    script.let_go()
    order = ["c", "b", "a"]
    script.finish("c", UNDO, OSError("no"))
    other = script.again()
    assert other.undone() == order[1:2]
    assert set(other.machine.compensation_errors) == {2}
    other.finish("b", UNDO)
    third = other.again()
    third.finish("a", UNDO)
    assert third.undone() == ["a"]
    assert third.status is (Status.FAILURE if how == "failure" else Status.ABORTED)


def test_an_abort_without_rollback_stays_one():
    script = Recorded(steps_to_undo())
    script.succeed("a")
    script.abort()
    other = script.again()
    assert (other.status, other.undone()) == (Status.ABORTED, [])


def test_an_abort_ends_a_pause_for_good():
    """Else the execution that somebody aborted would wait for a resume after the crash."""
    script = Recorded(steps_to_undo())
    script.succeed("a", "b")
    script.pause()
    script.abort(rollback=True)
    other = script.again()
    assert other.undone() == ["b"]
    other.finish("b", UNDO)
    other.finish("a", UNDO)
    assert other.status is Status.ABORTED


def test_a_pause_amid_a_rollback_survives():
    script = Recorded(steps_to_undo())
    script.succeed("a", "b", "c")
    script.fail("d")
    script.finish("c", UNDO)
    script.pause()
    other = script.again()
    assert (other.started, other.status) == ([], Status.PAUSED)
    other.resume()
    assert other.undone() == ["b"]


def test_a_failure_before_an_abort_is_its_cause_after_the_crash_too():
    script = Recorded([Step("a", work), Step("b", work)])
    script.fail("a")
    script.abort()
    other = script.again()
    assert other.status is Status.ABORTED
    assert type(other.error).__name__ == "ExecutionAborted"
    assert type(other.error.__cause__).__name__ == "StepFailed"


# --- records that fit nothing -----------------------------------------------------------------------------------------


def test_a_record_of_a_step_that_the_plan_does_not_have_is_refused():
    script = Recorded([Step("a", work)])
    script.records.append(StepEnded("x", "zzz", 1, Status.SUCCESS, b""))
    with pytest.raises(StoreCorrupt, match="zzz"):
        script.again()


def test_no_records_are_refused():
    script = Recorded([Step("a", work)])
    script.records = script.records[:1] * 0 + [StepEnded("x", "a", 1, Status.SUCCESS, b"")]
    with pytest.raises(StoreCorrupt, match="without a start"):
        script.again()


def test_it_is_where_it_was():
    script = Recorded([Step("a", work), Step("b", work), Step("c", work, after=["a", "b"])])
    script.succeed("a")
    other = script.again()
    assert other.machine.phase is Phase.FORWARD
    assert other.statuses == {"a": "SUCCESS", "b": "RUNNING", "c": "PENDING"}

"""One step that fails, in all ways: retries, timeouts, fallbacks, allow_fail."""

import random
from asyncio import CancelledError

import pytest

from flow_core.errors import (
    AdapterError,
    ExecutionTimeout,
    InvalidStep,
    PayloadError,
    Permanent,
    StepFailed,
    StepTimeout,
)
from flow_core.model.operation import LocalOperation
from flow_core.model.options import OperationOptions, Retry
from flow_core.model.status import Status
from flow_core.model.step import Fallback, Step
from tests.engine.script import FALLBACK, Script, bindings_of, work

FIXED = Retry(3, initial=10, factor=1, jitter="none")


def attempts(step, **machine):
    """How many attempts a step gets when every one fails."""
    script = Script([step], **machine)
    while script.end is None:
        script.fail("s")
        script.advance(1000)
    return len(script.started)


def with_options(**options):
    return LocalOperation(work, options=OperationOptions(**options))


# --- retry ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_count_is_the_retries_after_the_first_attempt(retries):
    assert attempts(Step("s", work, retry=retries)) == 1 + retries


@pytest.mark.parametrize(
    ("step", "operation", "execution", "expected"),
    [(None, None, None, 1), (None, None, 4, 5), (None, 2, 4, 3), (1, 2, 4, 2), (0, 2, 4, 1), (None, 0, 4, 1)],
)
def test_the_most_specific_setting_wins_and_nothing_is_multiplied(step, operation, execution, expected):
    given = Step("s", with_options(retries=operation), retry=step)
    assert attempts(given, retries=execution) == expected


def test_a_retried_step_succeeds_and_its_execution_too():
    script = Script([Step("a", work, retry=FIXED), Step("b", work, after="a")])
    script.fail("a")
    assert script.of("a") is Status.PENDING
    script.advance(9.9)
    assert script.started == [("a", 1)]
    script.advance(0.1)
    assert script.started == [("a", 1), ("a", 2)]
    script.succeed("a", "b")
    assert (script.status, script.error) == (Status.SUCCESS, None)


def test_the_delays_grow_to_the_maximum():
    script = Script([Step("s", work, retry=Retry(5, initial=1, factor=3, max=10, jitter="none"))])
    waited = []
    for _ in range(5):
        script.fail("s")
        waited.append(script.timers["retry", 0] - script.now)
        script.ring()
    assert waited == [1, 3, 9, 10, 10]


def test_full_jitter_draws_from_the_whole_delay_and_a_seed_replays_it():
    def delays(seed):
        source = random.Random(seed)
        script = Script([Step("s", work, retry=Retry(20, initial=8, factor=1))])
        found = []
        for _ in range(20):
            script.random = source.random()
            script.fail("s")
            found.append(script.timers["retry", 0] - script.now)
            script.ring()
        return found

    assert delays(7) == delays(7) != delays(8)
    assert min(delays(7)) < 1
    assert 7 < max(delays(7)) <= 8


def test_an_error_that_says_when_to_come_back_is_obeyed():
    script = Script([Step("s", work, retry=FIXED)])
    script.fail("s", AdapterError("busy", retry_after=77.0))
    assert script.timers == {("retry", 0): 77.0}


@pytest.mark.parametrize(
    "error",
    [Permanent("no"), PayloadError("big"), CancelledError(), InvalidStep("unbound"), KeyboardInterrupt()],
    ids=type,
)
def test_what_trying_again_cannot_mend_is_not_retried(error):
    script = Script([Step("s", work, retry=FIXED)])
    script.fail("s", error)
    assert script.status is Status.FAILURE
    assert script.error.__cause__ is error


class Busy(ConnectionError):
    pass


@pytest.mark.parametrize(
    ("retry", "error", "again"),
    [
        (Retry(3, retry_on=OSError), Busy(), True),
        (Retry(3, retry_on="builtins.OSError"), Busy(), True),
        (Retry(3, retry_on=f"{__name__}.Busy"), Busy(), True),
        (Retry(3, retry_on=f"{__name__}.Busy"), ConnectionError(), False),
        (Retry(3, retry_on=(ValueError, OSError)), KeyError(), False),
        (Retry(3, give_up_on=ConnectionError), Busy(), False),
        (Retry(3, give_up_on="builtins.ConnectionError"), Busy(), False),
        (Retry(3, give_up_on=Busy), ConnectionError(), True),
        (Retry(3, retry_on=OSError, give_up_on=Busy), Busy(), False),
        (Retry(3), BaseException(), False),
        (Retry(3, retry_on=BaseException), BaseException(), True),
    ],
)
def test_errors_are_chosen_by_class_or_name_and_subclasses_count(retry, error, again):
    script = Script([Step("s", work, retry=retry)])
    script.fail("s", error)
    assert (script.end is None) is again


def test_the_error_tells_how_often_it_was_tried():
    script = Script([Step("s", work, retry=2)])
    for _ in range(3):
        last = script.fail("s")
        script.advance(100)
    assert isinstance(script.error, StepFailed)
    assert (script.error.step, script.error.flow, script.error.attempt) == ("s", "f", 3)
    assert script.error.__cause__ is last
    assert "after 3 attempts: OSError: s is down" in str(script.error)


def test_a_failed_predicate_is_a_failure_of_its_step():
    script = Script([Step("s", work, when="p")], bindings=bindings_of(p=lambda value: value["nothing"]), request={})
    assert isinstance(script.error.__cause__, KeyError)


# --- timeouts ---------------------------------------------------------------------------------------------------------


def test_the_total_timeout_spans_attempts_and_delays():
    script = Script([Step("s", work, retry=FIXED, total_timeout=25)])
    for attempt in (1, 2):  # at 0 and 10; a third at 20 would be in time, too
        assert script.started[-1] == ("s", attempt)
        script.fail("s")
        script.advance(10)
    script.fail("s")
    assert script.status is Status.FAILURE, "the fourth attempt, at 30, would come after the total timeout"
    assert len(script.started) == 3


def test_the_total_timeout_cuts_a_running_attempt_short_and_no_other_follows():
    script = Script([Step("s", work, retry=FIXED, total_timeout=25)])
    script.fail("s")
    script.advance(10)
    script.advance(14.9)
    assert script.told == []
    script.advance(0.1)
    assert script.told == ["s"]
    script.time_out("s")
    assert isinstance(script.error.__cause__, StepTimeout)
    assert len(script.started) == 2


def test_an_attempt_that_was_told_to_stop_may_still_succeed():
    script = Script([Step("s", work, total_timeout=5)])
    script.advance(5)
    script.succeed("s")
    assert script.status is Status.SUCCESS


def test_success_ends_the_total_timeout():
    script = Script([Step("a", work, total_timeout=5), Step("b", work, after="a")])
    script.succeed("a")
    assert script.timers == {}


def test_the_total_timeout_goes_on_while_a_retry_waits_for_a_slot():
    script = Script([Step("a", work, retry=FIXED, total_timeout=15), Step("b", work)], slots=1)
    script.fail("a")
    assert script.attempts == {"b": 1}
    script.advance(10)
    assert script.attempts == {"b": 1}, "the only slot is taken"
    script.advance(5)
    assert script.of("a") is Status.FAILURE
    script.succeed("b")
    assert script.started == [("a", 1), ("b", 1)]


def test_a_fallback_follows_a_total_timeout_between_attempts():
    step = Step("a", work, retry=Retry(3, initial=10, jitter="none"), total_timeout=15, fallback=work)
    script = Script([step, Step("b", work)], slots=1)
    script.fail("a")
    script.advance(15)
    assert ("a", FALLBACK) in script.activities
    script.finish("a", FALLBACK, "instead")
    script.succeed("b")
    assert script.status is Status.SUCCESS


@pytest.mark.parametrize(("total", "execution", "first"), [(5, 9, StepTimeout), (9, 5, ExecutionTimeout)])
def test_the_smallest_timeout_wins(total, execution, first):
    script = Script([Step("s", work, total_timeout=total)], timeout=execution)
    script.advance(5)
    if first is StepTimeout:
        script.time_out("s")
        assert isinstance(script.error.__cause__, StepTimeout)
    else:
        script.let_go()
        assert isinstance(script.error, ExecutionTimeout)
    assert script.now == 5


def test_the_execution_times_out_between_attempts():
    script = Script([Step("s", work, retry=FIXED)], timeout=12)
    script.fail("s")
    script.advance(10)
    script.fail("s")
    script.advance(2)
    assert (script.status, script.now) == (Status.FAILURE, 12)
    assert isinstance(script.error, ExecutionTimeout)
    assert script.of("s") is Status.ABORTED


def test_a_failure_stays_the_reason_when_time_runs_out_later():
    script = Script([Step("a", work), Step("b", work)], timeout=5)
    script.fail("a")
    script.advance(5)
    script.let_go()
    assert isinstance(script.error, StepFailed)
    assert script.of("b") is Status.ABORTED


def test_a_timeout_of_an_attempt_is_retried_like_any_failure():
    script = Script([Step("s", work, timeout=1, retry=FIXED)])
    script.fail("s", StepTimeout("too long"))
    script.advance(10)
    script.succeed("s")
    assert script.status is Status.SUCCESS


# --- fallback ---------------------------------------------------------------------------------------------------------


def test_a_fallback_gets_the_steps_own_input_after_the_last_attempt():
    script = Script([Step("a", work), Step("b", work, after="a", retry=1, fallback=work), Step("c", work, after="b")])
    script.succeed("a", value="input of b")
    script.fail("b")
    assert script.activities == {}
    script.advance(100)
    script.fail("b")
    assert script.activities == {("b", FALLBACK): "input of b"}
    assert script.of("b") is Status.RUNNING
    script.finish("b", FALLBACK, "instead")
    assert script.of("b") is Status.SUCCESS
    assert script.inputs["c"] == "instead"
    script.succeed("c")
    assert (script.status, script.machine.recovered) == (Status.SUCCESS, {1})


def test_a_fallback_that_only_cleans_up_leaves_the_failure():
    script = Script([Step("s", work, fallback=Fallback(work, then="fail"))])
    error = script.fail("s")
    script.finish("s", FALLBACK, "cleaned")
    assert (script.status, script.error.__cause__, script.machine.recovered) == (Status.FAILURE, error, set())


@pytest.mark.parametrize("then", ["continue", "fail"])
def test_a_fallback_that_fails_does_not_hide_the_first_error(then):
    script = Script([Step("s", work, fallback=Fallback(work, then=then))])
    error = script.fail("s")
    script.finish("s", FALLBACK, ValueError("worse"))
    assert script.error.__cause__ is error
    assert error.__notes__ == ["its fallback failed, too: ValueError: worse"]


def test_a_fallback_counts_no_attempts_and_outlives_the_total_timeout():
    script = Script([Step("s", work, retry=1, total_timeout=5, fallback=work)])
    script.advance(5)
    script.time_out("s")
    assert script.activities == {("s", FALLBACK): b""}
    script.advance(100)
    script.finish("s", FALLBACK, 1)
    assert (script.status, script.run.attempt(0)) == (Status.SUCCESS, 1)


def test_allow_fail_and_a_fallback_go_together():
    script = Script([Step("a", work, fallback=work, allow_fail=True), Step("b", work, after="a")])
    script.fail("a")
    script.finish("a", FALLBACK, ValueError())
    assert script.of("a") is Status.FAILURE
    script.succeed("b")
    assert script.status is Status.SUCCESS


# --- allow_fail -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["step", "operation"])
def test_a_failure_that_is_allowed_lets_successors_run(where):
    first = Step("a", work, allow_fail=True) if where == "step" else Step("a", with_options(allow_fail=True))
    script = Script([first, Step("b", work), Step("c", work, after=["a", "b"]), Step("d", work, after="a")])
    script.fail("a")
    script.succeed("b")
    assert script.inputs["c"] == {"b": "b"}, "what failed has no output"
    assert script.inputs["d"] is None
    script.succeed("c", "d")
    assert (script.status, script.of("a")) == (Status.SUCCESS, Status.FAILURE)


def test_the_step_forbids_what_its_operation_allows():
    script = Script([Step("a", with_options(allow_fail=True), allow_fail=False)])
    script.fail("a")
    assert script.status is Status.FAILURE

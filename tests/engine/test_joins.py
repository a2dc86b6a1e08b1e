"""Who starts when: order, joins, conditions, and what a failure does to those that have not started."""

import pytest

from flow_core.model.status import Status
from flow_core.model.step import ALL, Step
from tests.engine.script import Script, bindings_of, work


def test_a_step_starts_when_all_before_it_have_succeeded():
    script = Script([Step("c", work, after=["a", "b"]), Step("a", work), Step("b", work, before="d"), Step("d", work)])
    assert set(script.attempts) == {"a", "b"}
    script.succeed("b")
    assert set(script.attempts) == {"a", "d"}
    script.succeed("a", "d", "c")
    assert script.status is Status.SUCCESS


def test_all_means_every_step_that_does_not_say_it():
    script = Script([
        Step("last", work, after=ALL), Step("first", work, before=ALL), Step("b", work, after="a"), Step("a", work),
    ])  # fmt: skip
    order = []
    while script.end is None:
        order.append(next(iter(script.attempts)))
        script.succeed(order[-1])
    assert order == ["first", "a", "b", "last"]


def test_an_execution_without_steps_to_run_succeeds():
    no = bindings_of(no=lambda value: False)
    script = Script([Step("a", work, when="no"), Step("b", work, after="a")], bindings=no)
    assert script.statuses == {"a": "SKIPPED", "b": "SKIPPED"}
    assert script.status is Status.SUCCESS


def test_a_condition_is_asked_with_the_steps_input():
    asked = []

    def big(value):
        asked.append(value)
        return value > 10

    steps = [Step("a", work), Step("yes", work, after="a", when="big"), Step("no", work, when="big")]
    script = Script(steps, request=1, bindings=bindings_of(big=big))
    script.succeed("a", value=11)
    assert asked == [1, 11]
    assert set(script.attempts) == {"yes"}
    assert script.of("no") is Status.SKIPPED


@pytest.mark.parametrize(("join", "expected"), [("all", "SKIPPED"), ("any", "RUNNING"), ("done", "RUNNING")])
def test_a_skipped_predecessor_by_join(join, expected):
    steps = [Step("no", work, when="no"), Step("yes", work), Step("j", work, after=["no", "yes"], join=join)]
    script = Script(steps, bindings=bindings_of(no=lambda value: False))
    script.succeed("yes")
    assert script.statuses["j"] == expected


def test_skipping_goes_on_down_the_graph_but_not_past_a_done():
    steps = [
        Step("a", work, when="no"), Step("b", work, after="a"), Step("c", work, after="b"),
        Step("any", work, after=["b", "c"], join="any"), Step("done", work, after=["any"], join="done"),
        Step("after", work, after="done"),
    ]  # fmt: skip
    script = Script(steps, bindings=bindings_of(no=lambda value: False))
    assert [name for name, status in script.statuses.items() if status == "SKIPPED"] == ["a", "b", "c", "any"]
    script.succeed("done", "after")
    assert script.status is Status.SUCCESS


def test_any_starts_once_at_the_first_success():
    script = Script([Step("a", work), Step("b", work), Step("j", work, after=["a", "b"], join="any")])
    script.succeed("a")
    assert script.inputs["j"] == {"a": "a"}
    script.succeed("b")
    script.succeed("j")
    assert [name for name, _ in script.started].count("j") == 1


def test_any_does_not_start_at_a_failure_though_it_is_allowed():
    steps = [Step("a", work, allow_fail=True), Step("b", work), Step("j", work, after=["a", "b"], join="any")]
    script = Script(steps)
    script.fail("a")
    assert script.of("j") is Status.PENDING
    script.succeed("b")
    assert script.of("j") is Status.RUNNING


def test_any_is_skipped_when_nobody_succeeded():
    steps = [
        Step("a", work, allow_fail=True),
        Step("b", work, allow_fail=True),
        Step("j", work, after=["a", "b"], join="any"),
    ]
    script = Script(steps)
    script.fail("a")
    script.fail("b")
    assert (script.of("j"), script.status) == (Status.SKIPPED, Status.SUCCESS)


def test_a_retried_any_is_not_started_again_by_another_success():
    steps = [Step("a", work), Step("b", work), Step("j", work, after=["a", "b"], join="any", retry=1)]
    script = Script(steps)
    script.succeed("a")
    script.fail("j")
    script.succeed("b")
    assert script.started == [("a", 1), ("b", 1), ("j", 1)]
    script.advance(100)
    script.succeed("j")
    assert script.status is Status.SUCCESS


def test_a_failure_skips_what_has_not_started_and_records_what_runs():
    script = Script(
        [Step("bad", work), Step("slow", work), Step("next", work, after="slow"), Step("queued", work)], slots=2
    )
    script.fail("bad")
    assert script.statuses == {"bad": "FAILURE", "slow": "RUNNING", "next": "SKIPPED", "queued": "SKIPPED"}
    script.succeed("slow")
    assert (script.status, script.of("slow")) == (Status.FAILURE, Status.SUCCESS)


def test_a_second_failure_is_recorded_but_the_first_decides():
    script = Script([Step("a", work), Step("b", work, retry=3)])
    first, second = script.fail("a"), script.fail("b")
    assert script.error.__cause__ is first
    assert script.machine.errors == {0: first, 1: second}
    assert script.started == [("a", 1), ("b", 1)], "nothing is retried in an execution that has failed"


@pytest.mark.parametrize("waits_for", ["its time", "a slot"])
def test_a_failure_ends_retries_of_others(waits_for):
    script = Script([Step("a", work, retry=1), Step("b", work), Step("c", work)], slots=2)
    script.fail("a")
    if waits_for == "a slot":
        script.advance(100)
    script.fail("b")
    assert script.of("a") is Status.ABORTED
    script.succeed("c")
    assert (script.status, script.timers) == (Status.FAILURE, {})


def test_clean_ups_run_after_a_failure_and_are_retried():
    steps = [Step("a", work), Step("b", work, after="a"), Step("close", work, after="b", join="done", retry=2)]
    script = Script(steps)
    error = script.fail("a")
    assert script.statuses == {"a": "FAILURE", "b": "SKIPPED", "close": "RUNNING"}
    script.fail("close")
    script.advance(100)
    script.succeed("close")
    assert (script.status, script.error.__cause__) == (Status.FAILURE, error)


def test_a_clean_up_that_waits_for_its_retry_gets_it_after_a_failure():
    script = Script([Step("a", work), Step("b", work), Step("close", work, after="a", join="done", retry=1)])
    script.succeed("a")
    script.fail("close")
    script.fail("b")
    assert script.of("close") is Status.PENDING
    script.advance(100)
    script.succeed("close")
    assert (script.status, script.of("close")) == (Status.FAILURE, Status.SUCCESS)

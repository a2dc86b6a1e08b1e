"""What may be set, and that impossible values are refused by name."""

from dataclasses import FrozenInstanceError
from datetime import timedelta

import pytest

from flow_core.errors import InvalidId, InvalidOption, InvalidStep
from flow_core.model.ids import MAX_ID, check_count, check_id, seconds
from flow_core.model.operation import LocalOperation
from flow_core.model.options import ExecuteOptions, ExecutorOptions, OperationOptions, Retry, error_names
from flow_core.model.step import Fallback
from flow_core.operations import EmptyOperation

NOT_DURATIONS = [0, -1, -0.5, float("nan"), float("inf"), 10**400, True, "1", [1], timedelta(0), timedelta(seconds=-1)]


@pytest.mark.parametrize("value", NOT_DURATIONS)
@pytest.mark.parametrize(
    "make",
    [
        lambda value: OperationOptions(timeout=value),
        lambda value: ExecuteOptions(timeout=value),
        lambda value: ExecutorOptions(budget=value),
        lambda value: Retry(max=value),
        lambda value: seconds(value, "timeout"),
    ],
)
def test_durations_are_positive_and_finite_seconds(make, value):
    with pytest.raises(InvalidOption, match=r"timeout|budget|Retry.max"):
        make(value)


def test_durations_are_kept_as_float_seconds():
    assert seconds(3, "x") == 3.0
    assert type(seconds(3, "x")) is float
    assert OperationOptions(timeout=timedelta(minutes=1)).timeout == 60.0
    assert seconds(None, "x") is None


@pytest.mark.parametrize("zero", [0, 0.0, timedelta(0)])
def test_a_first_retry_may_come_at_once_and_a_drain_may_be_none(zero):
    assert Retry(initial=zero).initial == 0.0
    assert ExecutorOptions(drain=0).drain == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"retries": -1}, {"retries": None}, {"retries": True}, {"retries": 1.0}, {"initial": -1}, {"initial": None},
        {"initial": False}, {"max": None}, {"factor": 0.5}, {"factor": float("inf")}, {"factor": float("nan")},
        {"factor": 10**400}, {"factor": "2"}, {"factor": True}, {"jitter": "some"}, {"jitter": None},
        {"retry_on": 5}, {"retry_on": [5]}, {"retry_on": [int]}, {"retry_on": ""}, {"give_up_on": None},
    ],
    ids=str,
)  # fmt: skip
def test_an_impossible_retry_is_refused(wrong):
    with pytest.raises(InvalidOption):
        Retry(**wrong)


def test_a_retry_is_a_frozen_value():
    assert Retry(2) == Retry(2) != Retry(3)
    assert len({Retry(2), Retry(2)}) == 1
    with pytest.raises(FrozenInstanceError):
        Retry().retries = 5


def test_exceptions_are_kept_by_name():
    assert error_names(ValueError) == ("builtins.ValueError",)
    assert error_names([KeyError, "acme.Busy"]) == ("builtins.KeyError", "acme.Busy")
    assert Retry(retry_on=TimeoutError, give_up_on="acme.Gone").give_up_on == ("acme.Gone",)
    assert Retry(retry_on=()).retry_on == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"retries": -1},
        {"retries": "3"},
        {"allow_fail": 1},
        {"allow_fail": "no"},
        {"context": [("a", 1)]},
        {"context": None},
    ],
    ids=str,
)
def test_impossible_operation_options_are_refused(wrong):
    with pytest.raises(InvalidOption, match=next(iter(wrong))):
        OperationOptions(**wrong)


def test_operation_options_are_cut_off_from_the_dict_they_were_made_from():
    context = {"a": 1}
    options = OperationOptions(context=context)
    context["a"] = 2
    assert options.context == {"a": 1}
    with pytest.raises(TypeError):
        options.context["a"] = 3
    assert hash(options) == hash(OperationOptions())


@pytest.mark.parametrize(
    "wrong",
    [
        {"concurrency": 0},
        {"retries": -1},
        {"priority": -1},
        {"priority": 4},
        {"priority": 1.0},
        {"unresolved": "later"},
    ],
    ids=str,
)
def test_impossible_execute_options_are_refused(wrong):
    with pytest.raises(InvalidOption, match=next(iter(wrong))):
        ExecuteOptions(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"concurrency": 0}, {"workers": 0}, {"queue": 0}, {"keep": -1}, {"keep": 1.5}, {"drain": -1}], ids=str
)
def test_impossible_executor_options_are_refused(wrong):
    with pytest.raises(InvalidOption, match=next(iter(wrong))):
        ExecutorOptions(**wrong)


def test_a_fallback_wraps_a_callable():
    fallback = Fallback(lambda value: value)
    assert isinstance(fallback.operation, LocalOperation)
    assert fallback.then == "continue"


@pytest.mark.parametrize("wrong", [None, 7, EmptyOperation])
def test_a_fallback_is_an_operation(wrong):
    with pytest.raises(InvalidStep):
        Fallback(wrong)


def test_a_fallback_continues_or_fails():
    with pytest.raises(InvalidOption, match="then"):
        Fallback(EmptyOperation(), "stop")


@pytest.mark.parametrize("good", ["a", "A.b_c:d-9", "x" * MAX_ID])
def test_ids(good):
    assert check_id(good, "id") == good


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("", "empty"),
        ("x" * (MAX_ID + 1), "MAX_ID"),
        ("a b", "' '"),
        ("é", "é"),
        ("a\n", "letters"),
        (None, "NoneType"),
        (b"a", "bytes"),
    ],
)
def test_ids_that_are_none(bad, says):
    with pytest.raises(InvalidId, match=rf"step id.*(\n.*)?{says}"):
        check_id(bad, "step id")


def test_an_id_of_a_subclass_of_str_becomes_a_plain_one():
    assert type(check_id(type("Text", (str,), {})("a"), "id")) is str


@pytest.mark.parametrize("bad", [-1, True, 1.0, "1"])
def test_counts(bad):
    assert check_count(None, "n") is None
    assert check_count(0, "n") == 0
    with pytest.raises(InvalidOption, match="n must be"):
        check_count(bad, "n")

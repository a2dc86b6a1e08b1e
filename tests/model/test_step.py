"""`Step`: what it takes, what it refuses, and that it is a frozen value."""

from datetime import timedelta

import pytest

from flow_core.errors import InvalidId, InvalidOption, InvalidStep
from flow_core.model.operation import LocalOperation
from flow_core.model.options import Retry
from flow_core.model.step import ALL, REQUEST, Fallback, Step
from flow_core.operations import EmptyOperation

OP = EmptyOperation()


def work(value):
    return value


def test_a_plain_step_has_the_defaults():
    step = Step("a", OP)
    assert step.plain
    assert (step.retry, step.timeout, step.total_timeout, step.input, step.output) == (None,) * 5
    assert (step.after, step.before, step.join, step.manual) == ((), (), "all", False)
    assert step.delivery == "at_least_once"
    assert step.output_name == "a"
    assert Step("a", OP, output="b").output_name == "b"


@pytest.mark.parametrize(
    "change",
    [
        {"retry": 0}, {"timeout": 1}, {"total_timeout": 1}, {"fallback": OP}, {"compensation": OP},
        {"allow_fail": False}, {"when": "p"}, {"join": "any"}, {"manual": True}, {"delivery": "at_most_once"},
    ],
    ids=str,
)  # fmt: skip
def test_what_makes_a_step_not_plain(change):
    step = Step("a", OP, **change)
    assert not step.plain
    assert step != Step("a", OP)
    assert next(iter(change)) in repr(step)


@pytest.mark.parametrize("change", [{"input": "x"}, {"output": "x"}, {"after": "x"}, {"before": ALL}], ids=str)
def test_order_and_data_leave_a_step_plain(change):
    step = Step("a", OP, **change)
    assert step.plain
    assert step != Step("a", OP)


def test_callables_are_wrapped():
    step = Step("a", work, fallback=work, compensation=work)
    assert isinstance(step.operation, LocalOperation)
    assert step.operation.function is work
    assert step.fallback == Fallback(LocalOperation(work))
    assert step.compensation == LocalOperation(work)


def test_order_takes_ids_and_steps_once_each():
    other = Step("other", OP)
    assert Step("a", OP, after="x").after == ("x",)
    assert Step("a", OP, after=other).after == ("other",)
    assert Step("a", OP, before=(name for name in ["x", other, "x", ALL])).before == ("x", "other", ALL)


@pytest.mark.parametrize("order", [7, 1.5, True])
@pytest.mark.parametrize("side", ["after", "before"])
def test_an_order_of_other_types_is_refused(side, order):
    with pytest.raises(InvalidStep, match=f"{side} of step 'a'"):
        Step("a", OP, **{side: order})


@pytest.mark.parametrize("order", [["not an id"], [7], ["$request"], [None], ["x" * 256]])
def test_an_order_of_bad_ids_is_refused(order):
    with pytest.raises(InvalidId, match="after of step 'a'"):
        Step("a", OP, after=order)


@pytest.mark.parametrize("id", ["", None, 7, "a b", "x" * 256, ALL, REQUEST])
def test_bad_ids_are_refused(id):
    with pytest.raises(InvalidId):
        Step(id, OP)


@pytest.mark.parametrize("operation", [7, "work", EmptyOperation])
@pytest.mark.parametrize("place", ["operation", "fallback", "compensation"])
def test_what_is_no_operation_is_refused(place, operation):
    arguments = {"operation": OP} | {place: operation}
    with pytest.raises(InvalidStep, match=f"{place} of step 'a'"):
        Step("a", **arguments)


@pytest.mark.parametrize(
    "wrong",
    [
        {"retry": -1}, {"retry": "3"}, {"retry": True}, {"timeout": 0}, {"timeout": -1}, {"timeout": "1"},
        {"total_timeout": float("nan")}, {"allow_fail": 1}, {"allow_fail": "yes"}, {"join": "some"}, {"join": None},
        {"manual": None}, {"manual": 1}, {"delivery": "once"},
    ],
    ids=str,
)  # fmt: skip
def test_impossible_options_are_refused_by_name(wrong):
    with pytest.raises(InvalidOption, match=f"{next(iter(wrong))} of step 'a'"):
        Step("a", OP, **wrong)


@pytest.mark.parametrize(
    ("input", "error"),
    [
        ("", InvalidId), ("a b", InvalidId), (7, InvalidId), ({}, InvalidStep), ({7: "x"}, InvalidStep),
        ({"p": "a b"}, InvalidId), ({"p": None}, InvalidId), (["x"], InvalidId),
    ],
    ids=str,
)  # fmt: skip
def test_bad_inputs_are_refused(input, error):
    with pytest.raises(error, match="input of step 'a'"):
        Step("a", OP, input=input)


def test_inputs():
    assert Step("a", OP, input=REQUEST).input == REQUEST
    given = {"p": "x", "q": REQUEST}
    step = Step("a", OP, input=given)
    given["p"] = "changed"
    assert step.input == {"p": "x", "q": REQUEST}
    with pytest.raises(TypeError):
        step.input["p"] = "y"


@pytest.mark.parametrize("name", ["when", "output"])
def test_names_are_ids(name):
    with pytest.raises(InvalidId, match=f"{name} of step 'a'"):
        Step("a", OP, **{name: "a b"})


def test_durations_are_seconds():
    step = Step("a", OP, timeout=timedelta(minutes=1), total_timeout=90)
    assert (step.timeout, step.total_timeout) == (60.0, 90.0)


def test_a_step_is_frozen():
    step = Step("a", OP)
    with pytest.raises(AttributeError, match=r"step\.replace\(timeout="):
        step.timeout = 5
    with pytest.raises(AttributeError, match="frozen"):
        del step.timeout
    with pytest.raises(AttributeError):
        step.surprise = 1


def test_replace_makes_a_checked_copy():
    step = Step("a", OP, retry=Retry(2), fallback=Fallback(OP, "fail"), input={"p": "x"}, after=[ALL])
    assert step.replace() == step
    assert step.replace() is not step
    assert step.replace(id="b", retry=None) == Step(
        "b", OP, fallback=Fallback(OP, "fail"), input={"p": "x"}, after=[ALL]
    )
    with pytest.raises(InvalidOption):
        step.replace(timeout=-1)
    with pytest.raises(InvalidOption, match="surprise"):
        step.replace(surprise=1)


def test_equality_and_hash():
    assert Step("a", OP) == Step("a", EmptyOperation())
    assert len({Step("a", OP), Step("a", OP)}) == 1
    assert Step("a", OP) != "a"

"""Events and commands are records: positional or named, frozen, equal by class and fields."""

import pytest

from flow_core.engine import events as e


def test_fields_by_place_and_by_name():
    assert e.AttemptRaised(1, error := OSError()) == e.AttemptRaised(step=1, error=error, random=1.0)
    assert e.AttemptRaised(1, error).random == 1.0


def test_records_of_two_classes_differ():
    assert e.AttemptStarted(1) != e.StepSucceeded(1)
    assert e.GoOn() != e.CancelTasks() and e.GoOn() == e.GoOn()
    assert len({e.AttemptStarted(1), e.AttemptStarted(1), e.StepSucceeded(1)}) == 2


def test_they_match_by_place():
    match e.ActivityEnded(3, 1, False, OSError()):
        case e.ActivityEnded(step, activity, False, _):
            assert (step, activity) == (3, 1)
        case _:
            raise AssertionError


@pytest.mark.parametrize("make", [e.AttemptStarted, lambda: e.AttemptStarted(1, 2), lambda: e.AttemptStarted(1, step=1),
                                  lambda: e.AttemptStarted(index=1), lambda: e.AttemptStarted(1, other=2)])  # fmt: skip
def test_wrong_fields_are_refused(make):
    with pytest.raises(TypeError, match="AttemptStarted"):
        make()


def test_they_are_frozen_and_show_their_fields():
    record = e.TimerRang(("retry", 2))
    with pytest.raises(AttributeError, match="frozen"):
        record.timer = ("total", 1)
    assert repr(record) == "TimerRang(timer=('retry', 2))"

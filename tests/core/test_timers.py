"""Timers: order, cancellation by handle, stale handles."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_core.core.timers import Timers


def fired(timers, now):
    tokens = []
    while (token := timers.pop(now)) is not None:
        tokens.append(token)
        timers.check()
    return tokens


def test_fires_by_deadline_and_then_by_insertion():
    timers = Timers()
    for token, deadline in enumerate([3.0, 1.0, 2.0, 1.0, 2.0, 1.0]):
        timers.add(deadline, token)
    assert fired(timers, 2.0) == [1, 3, 5, 2, 4]
    assert (timers.next_deadline(), len(timers)) == (3.0, 1)
    assert timers.pop(2.999) is None
    assert timers.pop(3.0) == 0
    assert timers.next_deadline() == math.inf


def test_token_zero_and_the_largest_are_tokens():
    timers = Timers()
    timers.add(0, 0)
    timers.add(0.0, 2**64 - 1)
    assert fired(timers, 0.0) == [0, 2**64 - 1]


def test_cancel_is_idempotent_and_stale_handles_do_nothing():
    timers = Timers()
    handle = timers.add(1.0, 7)
    assert timers.cancel(handle) is True
    assert timers.cancel(handle) is False
    again = timers.add(1.0, 8)  # takes the same slot
    assert again != handle
    assert timers.cancel(handle) is False
    assert timers.pop(1.0) == 8
    assert timers.cancel(again) is False


@pytest.mark.parametrize("handle", [-1, 2**63, 2**70, 12345, 0])
def test_handles_that_never_were_do_nothing(handle):
    timers = Timers()
    timers.add(1.0, 1)
    assert timers.cancel(handle) is False
    assert len(timers) == 1


@pytest.mark.parametrize(
    ("deadline", "error"),
    [(math.nan, ValueError), (-0.5, ValueError), ("1", TypeError), (None, TypeError), (True, TypeError)],
)
def test_refuses_bad_deadlines(deadline, error):
    timers = Timers()
    with pytest.raises(error, match="deadline"):
        timers.add(deadline, 1)
    with pytest.raises(error, match="now"):
        timers.pop(deadline)
    assert len(timers) == 0


@pytest.mark.parametrize(
    ("token", "error"), [(-1, ValueError), (2**64, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_refuses_bad_tokens(token, error):
    with pytest.raises(error, match="token"):
        Timers().add(1.0, token)


@given(st.lists(st.tuples(st.sampled_from(["add", "cancel", "pop"]), st.integers(0, 20)), max_size=300))
def test_against_a_sorted_list(actions):
    timers, model, handles = Timers(), [], []
    for token, (action, value) in enumerate(actions):
        if action == "add":
            handles.append((timers.add(value, token), (value, token)))
            model.append((value, token))
        elif action == "cancel" and handles:
            handle, entry = handles[value % len(handles)]
            assert timers.cancel(handle) is (entry in model)
            if entry in model:
                model.remove(entry)
        elif action == "pop":
            due = min((entry for entry in model if entry[0] <= value), default=None)
            assert timers.pop(value) == (due and due[1])
            if due:
                model.remove(due)
        timers.check()
        assert len(timers) == len(model)
        assert timers.next_deadline() == min((entry[0] for entry in model), default=math.inf)

"""When to try again: pure numbers."""

from asyncio import CancelledError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_core.engine.retry import next_delay, resolve_retry
from flow_core.errors import AdapterError, MissingInput
from flow_core.model.options import Retry

PLAIN = Retry(5, initial=0.5, factor=2, max=3, jitter="none")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ((None, None), None),
        ((0, 3), Retry(0)),
        ((None, 3), Retry(3)),
        ((PLAIN, 3), PLAIN),
        ((), None),
        ((2, PLAIN), Retry(2)),
    ],
)
def test_the_first_setting_that_is_set(settings, expected):
    assert resolve_retry(*settings) == expected


@pytest.mark.parametrize(("attempt", "delay"), [(1, 0.5), (2, 1), (3, 2), (4, 3), (5, 3), (6, None), (7, None)])
def test_exponential_delays_up_to_the_maximum(attempt, delay):
    assert next_delay(PLAIN, attempt, OSError(), 0.7) == delay


def test_no_setting_no_retry():
    assert next_delay(None, 1, OSError(), 1) is None


@given(st.integers(1, 10**4), st.floats(0, 1), st.floats(1, 1e300), st.floats(0.001, 1e300), st.floats(0.001, 1e300))
def test_a_delay_is_never_more_than_the_maximum(attempt, random, factor, initial, most):
    delay = next_delay(Retry(10**5, initial=initial, factor=factor, max=most), attempt, OSError(), random)
    assert 0 <= delay <= most


@given(st.floats(0, 1))
def test_full_jitter_is_even(random):
    assert next_delay(Retry(3, initial=8), 1, OSError(), random) == 8 * random


@pytest.mark.parametrize(
    ("wanted", "delay"),
    [(9.0, 9.0), (0, 0.0), (60, 60.0), (-1, 0.5), (float("nan"), 0.5), (float("inf"), 0.5), ("soon", 0.5), (None, 0.5)],
)
def test_what_the_error_asks_for_when_it_makes_sense(wanted, delay):
    assert next_delay(PLAIN, 1, AdapterError("busy", retry_after=wanted), 1) == delay


def test_an_error_that_asks_to_be_retried_still_has_to_be_one_that_is():
    error = MissingInput("x")
    error.retry_after = 1
    assert next_delay(PLAIN, 1, error, 1) is None
    assert next_delay(PLAIN, 6, AdapterError("busy", retry_after=1), 1) is None


def test_a_cancellation_is_no_failure_to_retry_even_when_it_is_listed():
    assert next_delay(Retry(3, retry_on=BaseException), 1, CancelledError(), 1) is None

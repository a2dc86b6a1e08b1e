"""`Projection`: status, errors and transitions from records alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flow_core.model import records as r
from flow_core.model.projection import Projection
from flow_core.model.status import Status
from flow_core.model.transition import Transition

START = r.ExecutionStarted("x", "f", 1, b"", time_utc=100.0)
ERROR = r.ErrorRecord("error", "no", "OSError")


def told(*records: r.Record) -> list[tuple[str | None, str, float, int]]:
    found = Projection([START, *records]).transitions()
    return [(one.step, one.status.name, one.time.timestamp() - 100.0, one.attempt) for one in found]


def succeeded(step: str, started: float, ended: float, attempt: int = 1) -> r.StepEnded:
    return r.StepEnded("x", step, attempt, int(Status.SUCCESS), b"", started_utc=100 + started, time_utc=100 + ended)


def test_times_are_aware_and_utc():
    assert Projection([START]).transitions() == [
        Transition(None, Status.RUNNING, datetime(1970, 1, 1, 0, 1, 40, tzinfo=UTC))
    ]


def test_attempts_pauses_and_compensations_are_told_in_order_of_time():
    assert told(
        r.AttemptFailed("x", "a", 1, 110.0, ERROR, 101.0, 102.0),
        r.Paused("x", "", 103.0),
        r.Resumed("x", "", 104.0),
        succeeded("a", 10, 11, 2),
        r.StepEnded("x", "b", 1, int(Status.FAILURE), None, ERROR, started_utc=105.0, time_utc=112.0),
        r.Compensated("x", "a", ERROR, 113.0),
        r.ExecutionEnded("x", int(Status.FAILURE), ERROR, 114.0),
    ) == [
        (None, "RUNNING", 0, 1),
        ("a", "RUNNING", 1, 1), ("a", "FAILURE", 2, 1),
        (None, "PAUSED", 3, 1), (None, "RUNNING", 4, 1),
        ("b", "RUNNING", 5, 1),
        ("a", "RUNNING", 10, 2), ("a", "SUCCESS", 11, 2),
        ("b", "FAILURE", 12, 1),
        ("a.compensation", "FAILURE", 13, 1),
        (None, "FAILURE", 14, 1),
    ]  # fmt: skip


def test_a_recorded_start_is_told_until_the_end_of_the_attempt_says_it_better():
    start = r.StepStarted("x", "a", 1, 101.0)
    assert told(start) == [(None, "RUNNING", 0, 1), ("a", "RUNNING", 1, 1)]
    assert told(start, succeeded("a", 2, 3))[1:] == [("a", "RUNNING", 2, 1), ("a", "SUCCESS", 3, 1)]
    interrupted = r.StepEnded("x", "a", 1, int(Status.FAILURE), None, ERROR, time_utc=109.0)
    assert told(start, interrupted)[1:] == [("a", "RUNNING", 1, 1), ("a", "FAILURE", 9, 1)]


def test_a_step_that_was_skipped_never_ran():
    skipped = r.StepEnded("x", "a", 1, int(Status.SKIPPED), started_utc=101.0, time_utc=101.0)
    assert told(skipped)[1:] == [("a", "SKIPPED", 1, 1)]


def test_start_and_end_are_first_and_last_though_their_clock_was_read_at_another_moment():
    end = r.ExecutionEnded("x", int(Status.SUCCESS), None, 102.0)
    assert told(succeeded("a", -1, 3), end) == [
        (None, "RUNNING", -1, 1), ("a", "RUNNING", -1, 1), ("a", "SUCCESS", 3, 1), (None, "SUCCESS", 3, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("records", "status"),
    [
        ([], Status.RUNNING),
        ([r.Paused("x")], Status.PAUSED),
        ([r.Paused("x"), succeeded("a", 1, 2)], Status.PAUSED),
        ([r.Paused("x"), r.Resumed("x")], Status.RUNNING),
        ([r.Paused("x"), r.Ending("x", int(Status.ABORTED), False)], Status.PAUSED),
        ([r.Paused("x"), r.ExecutionEnded("x", int(Status.ABORTED))], Status.ABORTED),
    ],
)
def test_the_status_is_what_the_last_record_with_one_says(records, status):
    assert Projection([START, *records]).status is status


def test_the_last_error_of_each_step_is_told():
    other = r.ErrorRecord("error", "again", "OSError")
    said = Projection([
        START, r.AttemptFailed("x", "a", 1, None, ERROR), r.AttemptFailed("x", "a", 2, None, other),
        r.Compensated("x", "b", ERROR), r.Compensated("x", "c"),
    ])  # fmt: skip
    assert said.errors == {"a": other, "b.compensation": ERROR}

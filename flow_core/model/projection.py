"""`Projection`: status, outcomes, errors and transitions of an execution, computed from its records."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import reduce
from typing import Final

from flow_core.model.records import (
    AttemptFailed,
    Compensated,
    ErrorRecord,
    ExecutionEnded,
    Paused,
    Record,
    Resumed,
    StepEnded,
    StepStarted,
    status_after,
)
from flow_core.model.status import Status
from flow_core.model.transition import Transition

__all__ = ["Projection"]

#: A transition before its time becomes a datetime: step, status, UTC seconds, attempt.
Told = tuple[str | None, Status, float, int]
#: Looked up twice as fast as `Status` makes one of a number.
STATUSES: Final = {int(status): status for status in Status}


class Projection:
    """The state and history of one execution, as its records describe them.

        >>> said = Projection(records)
        >>> said.status, [(one.step, one.status) for one in said.transitions()]

    Args:
        records: in the order in which they were decided, the start first.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        #: Step id -> its outcome.
        self.outcomes = {record.step: record for record in records if type(record) is StepEnded}
        #: How it ended; None while it has not.
        self.end = next((record for record in records if type(record) is ExecutionEnded), None)

    @property
    def status(self) -> Status:
        """Status of the execution after the last record."""
        return reduce(lambda status, record: status_after(record) or status, self.records, Status.PENDING)

    @property
    def pause(self) -> Paused | None:
        """The pause that it is in; None when it is in none."""
        last = next((record for record in reversed(self.records) if isinstance(record, Paused | Resumed)), None)
        return last if isinstance(last, Paused) else None

    @property
    def errors(self) -> dict[str, ErrorRecord]:
        """Last error of each step that failed at least once, and of compensations as ``step.compensation``."""
        found: dict[str, ErrorRecord] = {}
        for record in self.records:
            if isinstance(record, AttemptFailed | StepEnded) and record.error is not None:
                found[record.step] = record.error
            elif isinstance(record, Compensated) and record.error is not None:
                found[f"{record.step}.compensation"] = record.error
        return found

    def transitions(self) -> list[Transition]:
        """What has happened so far, in order of time, the execution's own start first and its end last."""
        told = _told(self.records)
        told.sort(key=_time)
        # Steps in the batch of the start, or of the end, may be a little beside it: another reading of the clock.
        start = self.records[0].time_utc
        told.insert(0, (None, Status.RUNNING, min(start, told[0][2]) if told else start, 1))
        if self.end is not None:
            told.append((None, Status(self.end.status), max(self.end.time_utc, told[-1][2]), 1))
        utc = datetime.fromtimestamp
        return [Transition(step, status, utc(at, UTC), attempt) for step, status, at, attempt in told]


def _told(records: Sequence[Record]) -> list[Told]:
    """What each record tells, but for the execution's start and end."""
    told: list[Told] = []
    starts: dict[tuple[str, int], int] = {}  # attempts whose start is told -> where
    for record in records:
        if type(record) is StepEnded:
            if record.started_utc and record.status != Status.SKIPPED:
                _start(told, starts, record.step, record.attempt, record.started_utc)
            told.append((record.step, STATUSES[record.status], record.time_utc, record.attempt))
        elif type(record) is AttemptFailed:
            starts[record.step, record.attempt] = _start(told, starts, record.step, record.attempt, record.started_utc)
            told.append((record.step, Status.FAILURE, record.time_utc, record.attempt))
        elif type(record) is StepStarted:
            starts[record.step, record.attempt] = _start(told, starts, record.step, record.attempt, record.time_utc)
        elif type(record) is Compensated:
            status = Status.SUCCESS if record.error is None else Status.FAILURE
            told.append((f"{record.step}.compensation", status, record.time_utc, 1))
        elif type(record) is Paused or type(record) is Resumed:
            told.append((None, status_after(record) or Status.RUNNING, record.time_utc, 1))
    return told


def _start(told: list[Told], starts: dict[tuple[str, int], int], step: str, attempt: int, at: float) -> int:
    """Tell the start of an attempt, once: what was said of it last holds. Returns where it is told."""
    place = starts.get((step, attempt))
    if place is None:
        told.append((step, Status.RUNNING, at, attempt))
        return len(told) - 1
    told[place] = (step, Status.RUNNING, at, attempt)
    return place


def _time(told: Told) -> float:
    return told[2]

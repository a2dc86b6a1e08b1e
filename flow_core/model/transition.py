"""`Transition`: one thing that happened to an execution, as those who look at it are told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flow_core.model.status import Status

__all__ = ["Transition"]


@dataclass(frozen=True, slots=True)
class Transition:
    """A step, or the execution itself (``step`` is None then), has a new status.

        >>> for one in execution.history():
        ...     print(one.time.isoformat(), one.step, one.status.name)

    Attributes:
        step: id; that of a compensation is ``step.compensation``, and only its end is told.
        status: the new status.
        time: when, aware and in UTC; those of a batch of instant steps are one reading of the clock.
        attempt: number of the attempt, from 1.
    """

    step: str | None
    status: Status
    time: datetime
    attempt: int = 1

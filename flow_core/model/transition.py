"""What happened to an execution, as those who look at it are told."""

from __future__ import annotations

from dataclasses import dataclass

from flow_core.model.status import Status

__all__ = ["Transition"]


@dataclass(frozen=True, slots=True)
class Transition:
    """One move of one step, or of the execution itself (``step`` is None then).

    Attributes:
        step: id; that of a compensation is ``step.compensation``, and only its end is told.
        status: the new status.
        time: loop seconds (UTC seconds in a stored history); those of a batch of instant steps are one reading of the
            clock.
        attempt: number of the attempt, from 1.
    """

    step: str | None
    status: Status
    time: float
    attempt: int = 1

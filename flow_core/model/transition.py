"""`Transition`: one change of status in the history of an execution."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flow_core.model.status import Status

__all__ = ["Transition"]


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of status of a step, or of the execution itself (then ``step`` is None)::

        for one in execution.history():
            print(one.time.isoformat(), one.step, one.status.name)

    Attributes:
        step: id of the step. A compensation appears as ``step.compensation``, and only when it ends.
        status: the new status.
        time: time-aware, in UTC. Steps that end in one batch have the same time.
        attempt: number of the attempt, from 1.
    """

    step: str | None
    status: Status
    time: datetime
    attempt: int = 1

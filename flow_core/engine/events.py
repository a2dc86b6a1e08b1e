"""The events that go into an execution's machine, and the commands that come out.

Lives here: slotted records, nothing else. The theory is in ``engine/execution.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flow_core.status import Status

__all__ = [
    "AbortAsked",
    "ActivityEnded",
    "CancelStep",
    "CancelTasks",
    "CancelTimer",
    "Command",
    "DetachTasks",
    "Event",
    "Finish",
    "GoOn",
    "Note",
    "NoteAttempt",
    "NoteCompensation",
    "NoteEnding",
    "NotePause",
    "NoteStep",
    "PauseAsked",
    "ResumeAsked",
    "SetTimer",
    "Settled",
    "StartActivity",
    "StepFailed",
    "StepStarted",
    "StepSucceeded",
    "StopAsked",
    "Timer",
    "TimerRang",
]

#: A timer's name: ("retry", step), ("total", step), ("execution", 0) or ("grace", 0).
Timer = tuple[str, int]


# --- events: what happened -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step with a policy started an attempt."""

    step: int


@dataclass(frozen=True, slots=True)
class StepSucceeded:
    """A step with a policy succeeded; its run knows already."""

    step: int


@dataclass(frozen=True, slots=True)
class StepFailed:
    """An attempt raised; the step is RUNNING until the machine decides. ``random`` (0 to 1) is for the jitter."""

    step: int
    error: BaseException
    random: float = 1.0


@dataclass(frozen=True, slots=True)
class ActivityEnded:
    """A fallback or a compensation is over; ``value`` is its output or its error."""

    step: int
    activity: int
    ok: bool
    value: Any


@dataclass(frozen=True, slots=True)
class TimerRang:
    """A timer that was set is due."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class PauseAsked:
    """No new step may start; running ones finish. ``reason`` is for people."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class ResumeAsked:
    """Go on after a pause."""


@dataclass(frozen=True, slots=True)
class AbortAsked:
    """End it now; ``rollback`` runs the compensations of what succeeded."""

    rollback: bool = False
    reason: str = "aborted"


@dataclass(frozen=True, slots=True)
class StopAsked:
    """The executor stops; what has not finished becomes STOPPED."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Every step has ended and nothing is under way."""


Event = (
    StepStarted | StepSucceeded | StepFailed | ActivityEnded | TimerRang
    | PauseAsked | ResumeAsked | AbortAsked | StopAsked | Settled
)  # fmt: skip


# --- commands: what is to be done ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Ring after ``delay`` seconds."""

    timer: Timer
    delay: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Forget a timer."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class StartActivity:
    """Start the fallback or the compensation of a step."""

    step: int
    activity: int
    value: Any


@dataclass(frozen=True, slots=True)
class CancelStep:
    """Cancel the running attempt of a step because its time is over."""

    step: int


@dataclass(frozen=True, slots=True)
class CancelTasks:
    """Cancel all coroutines of the execution; tell its threads and go on without them."""


@dataclass(frozen=True, slots=True)
class DetachTasks:
    """Go on without the coroutines that did not end when they were cancelled."""


@dataclass(frozen=True, slots=True)
class GoOn:
    """Start what is ready."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The execution is over."""

    status: Status
    error: BaseException | None = None


# --- commands that say what has just been decided, for executions that are kept in a store. In front of the commands
# that follow from it; a floor 2 without a store passes over them.


@dataclass(frozen=True, slots=True)
class NoteAttempt:
    """Attempt number ``attempt`` failed; after ``delay`` seconds follows another. None: the fallback does."""

    step: int
    attempt: int
    delay: float | None
    error: BaseException


@dataclass(frozen=True, slots=True)
class NoteStep:
    """A step got its outcome by something else than a plain success: ``value`` is its output or its error."""

    step: int
    status: Status
    value: Any


@dataclass(frozen=True, slots=True)
class NotePause:
    """It is paused from here on, or (``paused=False``) goes on."""

    paused: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NoteEnding:
    """It was decided from outside how the execution ends."""

    status: Status
    rollback: bool
    error: BaseException


@dataclass(frozen=True, slots=True)
class NoteCompensation:
    """The compensation of a step has run, with this error or none."""

    step: int
    error: BaseException | None


Note = NoteAttempt | NoteStep | NotePause | NoteEnding | NoteCompensation
Command = (
    SetTimer | CancelTimer | StartActivity | CancelStep | CancelTasks | DetachTasks | GoOn | Finish | Note
)  # fmt: skip

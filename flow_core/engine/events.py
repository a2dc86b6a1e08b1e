"""The events that go into an execution's machine, and the commands that come out."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, NoReturn, dataclass_transform

from flow_core.model.records import Fact
from flow_core.model.status import Status

__all__ = [
    "AbortAsked", "ActivityEnded", "AttemptRaised", "AttemptStarted", "CancelStep", "CancelTasks", "CancelTimer",
    "Command", "DetachTasks", "Event", "Finish", "GoOn", "MachineMessage", "PauseAsked", "ResumeAsked", "SetTimer",
    "Settled", "StartActivity", "StepSucceeded", "StopAsked", "Timer", "TimerRang",
]  # fmt: skip

#: A timer's name: ("retry", step), ("total", step), ("execution", 0) or ("grace", 0).
Timer = tuple[str, int]


@dataclass_transform(frozen_default=True)
class MachineMessage:
    """A frozen record of the annotated fields of its class, which may have defaults; equal to one of its own class.

    Not a dataclass: `dataclasses` compiles several functions per class, which would add 5 ms to the package's import.
    """

    __match_args__: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        type.__setattr__(cls, "__match_args__", tuple(inspect.get_annotations(cls)))

    def __init__(self, *values: Any, **named: Any) -> None:
        fields = self.__match_args__
        given = self.__dict__
        given.update(zip(fields, values, strict=False))
        given.update(named)
        if len(values) > len(fields) or len(given) != len(values) + len(named):
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(fields)}, each given once")
        for name in named:
            if name not in fields:
                raise TypeError(f"{type(self).__name__} has no field {name}, but {', '.join(fields)}")
        if len(given) < len(fields):
            for name in fields:  # no generator: CPython 3.12 and 3.13 crash when there is no memory for one
                if name not in given and not hasattr(type(self), name):
                    raise TypeError(f"{type(self).__name__} needs the field {name}")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def _values(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in self.__match_args__])

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), self._values()))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__name__}({fields})"


# --- events: what happened -------------------------------------------------------------------------------------------


class AttemptStarted(MachineMessage):
    """A step with a policy started an attempt."""

    step: int


class StepSucceeded(MachineMessage):
    """A step with a policy succeeded; the run has already been updated."""

    step: int


class AttemptRaised(MachineMessage):
    """An attempt raised; the step is RUNNING until the machine decides. ``random`` (0 to 1) is for the jitter."""

    step: int
    error: BaseException
    random: float = 1.0


class ActivityEnded(MachineMessage):
    """A fallback or a compensation ended; ``value`` is its output or its error."""

    step: int
    activity: int
    ok: bool
    value: Any


class TimerRang(MachineMessage):
    """A timer rang."""

    timer: Timer


class PauseAsked(MachineMessage):
    """No new step may start; running ones finish. ``reason`` is for people."""

    reason: str = ""


class ResumeAsked(MachineMessage):
    """Continue after a pause."""


class AbortAsked(MachineMessage):
    """End it now; ``rollback`` runs the compensations of steps that succeeded."""

    rollback: bool = False
    reason: str = "aborted"


class StopAsked(MachineMessage):
    """The executor stops; the execution becomes STOPPED."""


class Settled(MachineMessage):
    """Every step has ended and nothing is running."""


Event = (
    AttemptStarted | StepSucceeded | AttemptRaised | ActivityEnded | TimerRang
    | PauseAsked | ResumeAsked | AbortAsked | StopAsked | Settled
)  # fmt: skip


# --- commands: what to do ------------------------------------------------------------------------------------


class SetTimer(MachineMessage):
    """Ring after ``delay`` seconds."""

    timer: Timer
    delay: float


class CancelTimer(MachineMessage):
    """Forget a timer."""

    timer: Timer


class StartActivity(MachineMessage):
    """Start the fallback or the compensation of a step."""

    step: int
    activity: int
    value: Any


class CancelStep(MachineMessage):
    """Cancel the running attempt of a step because it timed out."""

    step: int


class CancelTasks(MachineMessage):
    """Cancel all coroutines of the execution; signal its threads, but don't wait for them."""


class DetachTasks(MachineMessage):
    """Stop waiting for coroutines that did not end when they were cancelled."""


class GoOn(MachineMessage):
    """Start the steps that are ready."""


class Finish(MachineMessage):
    """The execution is over."""

    status: Status
    error: BaseException | None = None


Command = SetTimer | CancelTimer | StartActivity | CancelStep | CancelTasks | DetachTasks | GoOn | Finish | Fact

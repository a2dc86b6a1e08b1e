"""`Observed`: who is told what an executor does.

Lives here: the tracer's place, and what is called at the end. Does not live here: what they do with it
(``telemetry/``), counting (``core/``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from flow_core.errors import InvalidOption
from flow_core.model.records import Record

if TYPE_CHECKING:
    from flow_core.core.scheduler import Scheduler

__all__ = ["ExecutionTrace", "ExecutionTracer", "Observed"]

log = logging.getLogger("flow_core")


class ExecutionTrace(Protocol):
    """Hears of the steps of one execution, on the loop. A step is named by its index; nothing may be raised."""

    def enter(self, step: int, activity: int) -> None:
        """An attempt (0), the fallback (1) or the compensation (2) of a step begins, in the current context."""

    def failed(self, step: int, error: BaseException) -> None:
        """The current attempt of a step failed."""

    def activity_ended(self, step: int, activity: int, error: BaseException | None) -> None:
        """A fallback or a compensation is over."""

    def recall(self, records: Sequence[Record], ahead: float) -> None:
        """The execution goes on here; what was recorded of it before. ``ahead``: UTC minus loop seconds."""

    def ended(self) -> None:
        """The execution is over."""


class ExecutionTracer(Protocol):
    """Makes the trace of each execution that starts."""

    def begin(self, run: Any) -> ExecutionTrace:
        """An execution is being made; of it only ``plan`` and ``request`` are known yet. In its caller's context."""


class Observed:
    """That half of the `Executor` that others look at."""

    _scheduler: Scheduler | None
    _tracer: ExecutionTracer | None = None
    _at_stop: tuple[Callable[[], None], ...] = ()

    def trace(self, tracer: ExecutionTracer | None) -> None:
        """Tell ``tracer`` of each execution that starts from now on, and of its steps; None: nobody any more.

        Raises:
            InvalidOption: somebody is told already.
        """
        if tracer is not None and self._tracer is not None:
            raise InvalidOption("this executor is traced already", fix="stop the first tracing")
        self._tracer = tracer
        if self._scheduler is not None:
            self._scheduler.tracer = tracer

    def at_stop(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` when the executor has stopped. Returns what takes it back."""
        self._at_stop = (*self._at_stop, callback)

        def forget() -> None:
            self._at_stop = tuple(other for other in self._at_stop if other is not callback)

        return forget

    def _stopped(self) -> None:
        callbacks, self._at_stop = self._at_stop, ()
        for callback in callbacks:
            try:
                callback()
            except Exception:
                log.exception("what was to be done when the executor has stopped failed")

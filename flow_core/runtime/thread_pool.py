"""`WorkerPool`: runs sync callables on threads, each in its own context."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flow_core.core.scheduler import Scheduler
from flow_core.core.task import StepTask

__all__ = ["WorkerPool"]


class WorkerPool:
    """A `ThreadPoolExecutor`, made when it is first needed.

    Args:
        workers: maximum number of threads.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._threads: ThreadPoolExecutor | None = None

    def submit(
        self, scheduler: Scheduler, task: StepTask, function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> None:
        """Call ``function`` in a thread; the scheduler gets the outcome."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="flow-core")
        self._threads.submit(_call, scheduler, task, contextvars.copy_context(), function, arguments)

    def shutdown(self) -> None:
        """Accept no more calls; busy threads end when their call does."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None


def _call(
    scheduler: Scheduler, task: StepTask, context: contextvars.Context, function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:  # fmt: skip
    try:
        value, ok = context.run(function, *arguments), True
    except BaseException as error:
        value, ok = error, False
    try:
        scheduler.post_outcome(task, ok, value)
    except RuntimeError:
        pass  # the loop is closed: nothing waits for this outcome any more

"""Waiting for executions before an executor stops, and ending them before their loop closes.

`asyncio.run` ends by cancelling all tasks. Steps are not in ``asyncio.all_tasks()`` (registering one costs more than
running it), so a guard task is cancelled in their place, and ends their executions.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, CancelledError, Task
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from flow_core.core.stepper import Stepper
from flow_core.model.status import Status

if TYPE_CHECKING:
    from flow_core.runtime.execution import Execution

__all__ = ["all_at_rest", "post_guard"]


def _at_rest(run: Execution) -> bool:
    """Whether an execution has ended, or is paused with no step running."""
    stepper = Stepper(run)
    return run.over or (run.status is Status.PAUSED and not stepper.busy and stepper.held == stepper.holds == 0)


async def all_at_rest(known: Callable[[], list[Execution]]) -> None:
    """Wait until all executions are at rest, including children that start meanwhile."""
    while moving := [run for run in known() if not _at_rest(run)]:
        for run in moving:
            await _rest(run)


async def _rest(run: Execution) -> None:
    changed = run.listen()
    try:
        while not _at_rest(run):
            changed.clear()
            await changed.wait()
    finally:
        run.unlisten(changed)


def post_guard(loop: AbstractEventLoop, end: Callable[[], Awaitable[None]]) -> Task[None]:
    """Await ``end()`` when the loop cancels its tasks. Cancel the guard itself to dismiss it."""
    guard = loop.create_task(_watch(loop, end), name="flow-core guard")
    guard._log_destroy_pending = False  # type: ignore[attr-defined]  # a loop closed without it owes nobody a warning
    return guard


async def _watch(loop: AbstractEventLoop, end: Callable[[], Awaitable[None]]) -> None:
    try:
        await loop.create_future()
    except CancelledError:
        await end()
        raise

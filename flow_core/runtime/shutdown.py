"""The guard: one asyncio task that stands for all steps under way when the loop shuts down.

`asyncio.run` ends by cancelling every task there is. Steps are not in ``asyncio.all_tasks()`` (making each one known
costs more than running it), so this task is cancelled in their place and ends their executions before the loop closes.

Lives here: that task. Does not live here: ending executions (`Executor`).
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, CancelledError, Task
from collections.abc import Awaitable, Callable

__all__ = ["post_guard"]


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

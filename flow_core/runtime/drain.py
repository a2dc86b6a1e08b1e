"""Waiting until executions come to rest, before an executor stops.

Lives here: what rest is, and waiting for it. Does not live here: how long, and what becomes of those that do not rest
in time (`Executor.stop`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flow_core.core.stepper import Stepper
from flow_core.model.status import Status

if TYPE_CHECKING:
    from flow_core.runtime.execution import Execution

__all__ = ["all_at_rest", "at_rest"]


def at_rest(run: Execution) -> bool:
    """Whether nothing of an execution will happen by itself: it is over, or paused with nothing under way."""
    return run.over or (
        run.status is Status.PAUSED and not Stepper(run).busy and Stepper(run).held == Stepper(run).holds == 0
    )


async def all_at_rest(known: Callable[[], list[Execution]]) -> None:
    """Wait until all executions are at rest, those included that start meanwhile (children of others)."""
    while moving := [run for run in known() if not at_rest(run)]:
        for run in moving:
            await _rest(run)


async def _rest(run: Execution) -> None:
    changed = run.listen()
    try:
        while not at_rest(run):
            changed.clear()
            await changed.wait()
    finally:
        run.unlisten(changed)

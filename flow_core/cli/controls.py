"""``flow-core pause``, ``resume``, ``abort``, ``restart``: control an execution."""

from __future__ import annotations

from typing import Any

from cyclopts import App

from flow_core.cli.codes import OK
from flow_core.cli.common import COMMON, Common, Switch, complete, server
from flow_core.cli.executions import Flow, execution_of, finished
from flow_core.cli.output import emit

__all__ = ["register"]


def register(app: App) -> None:
    """Add the commands."""
    app.command(pause)
    app.command(resume)
    app.command(abort)
    app.command(restart)


def pause(id: str, /, *, flow: Flow = None, common: Common = COMMON) -> int:
    """Let no new step of an execution start; running ones finish.

    Args:
        id: of the execution.
    """
    return _told("pause", id, flow, common)


def resume(id: str, /, *, flow: Flow = None, common: Common = COMMON) -> int:
    """Let a paused execution go on.

    Args:
        id: of the execution.
    """
    return _told("resume", id, flow, common)


def abort(id: str, /, *, flow: Flow = None, rollback: Switch = False, common: Common = COMMON) -> int:
    """End an execution.

    Args:
        id: of the execution.
        rollback: undo what it did: run the compensations.
    """
    return _told("abort", id, flow, common, rollback=rollback)


def _told(verb: str, id: str, flow: str | None, common: Common, **options: Any) -> int:
    async def tell() -> str:
        async with server(common) as remote:
            await getattr(remote.executor, verb)(flow or "", id, **options)
            return (await remote.executor.status(flow or "", id)).name

    name = complete(tell())
    emit(common.json, {"id": id, "status": name}, lambda: print(name))
    return OK


def restart(
    id: str, /, *, flow: Flow = None, step: str | None = None, wait: Switch = False, common: Common = COMMON
) -> int:
    """Execute the request of an execution that is over again, as a new one; print its id.

    Args:
        id: of the execution.
        step: start here, with the recorded outputs of what comes before it.
        wait: wait for its end, and print its result. Exit code 1 when it does not succeed.
    """

    async def tell() -> dict[str, Any]:
        async with server(common) as remote:
            execution = await remote.executor.restart(flow or "", id, step)
            if wait:
                await execution.wait()
            return execution_of(execution)

    found = complete(tell())
    if wait:
        return finished(found, common.json)
    emit(common.json, {name: found[name] for name in ("id", "flow", "status")}, lambda: print(found["id"]))
    return OK

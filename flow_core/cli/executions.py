"""``flow-core exec``, ``ls``, ``status``, ``result``, ``history``, ``explain``: start executions and look into them."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from cyclopts import App, Parameter

from flow_core.cli.codes import FAILED, OK
from flow_core.cli.common import COMMON, Common, Switch, complete, error_of, read_json, server
from flow_core.cli.local import LocalStore
from flow_core.cli.output import clean, complain, emit, seconds, show_table, when
from flow_core.cli.settings import duration
from flow_core.errors import ExecutionError, FlowError, IllegalMove, InvalidOption, did_you_mean
from flow_core.model.status import Status
from flow_core.model.transition import Transition

__all__ = ["Flow", "execution_of", "finished", "register"]

#: Ids are unique over all flows: the flow is a check for those who want one.
Flow = Annotated[str | None, Parameter(help="the flow that it has to belong to")]
Where = Annotated[str | None, Parameter(help="look into this store instead of asking a server, and write nothing")]


def register(app: App) -> None:
    """Add the commands."""
    app.command(execute, name="exec")
    app.command(list_executions, name="ls")
    app.command(status)
    app.command(result)
    app.command(history)
    app.command(explain)


def execute(
    flow: str, /, *, data: Annotated[str | None, Parameter(name=["--data", "-d"], allow_leading_hyphen=True)] = None,
    wait: Switch = False, id: str | None = None, step: str | None = None, output: str | None = None,
    within: str | None = None, unresolved_wait: Switch = False, no_rollback: Switch = False, common: Common = COMMON,
) -> int:  # fmt: skip
    """Start an execution and print its id; with --wait, its result.

    Args:
        flow: its name.
        data: the request: JSON, @FILE, or - for stdin; nothing when left out.
        wait: wait for its end. Exit code 1 when it does not succeed.
        id: Execution id. Repeating a call with the same id returns the same execution.
        step: start here: this step and what comes after it.
        output: name of the output that is the result.
        within: Time limit for the execution: 30 (seconds), 5m, 12h.
        unresolved_wait: wait for steps that nobody has registered yet.
        no_rollback: do not compensate when it fails.
    """
    request = b"" if data is None else read_json(data, "--data")
    fields: dict[str, Any] = {
        "id": id, "step": step, "output": output, "rollback": not no_rollback, "async_": not wait,
        "timeout": None if within is None else duration(within, "--within"),
        "unresolved": "wait" if unresolved_wait else "fail",
    }  # fmt: skip
    found = complete(_executed(flow, request, fields, common))
    return finished(found, common.json) if wait else _began(found, common.json)


async def _executed(flow: str, request: Any, fields: dict[str, Any], common: Common) -> dict[str, Any]:
    async with server(common) as remote:
        try:
            execution = await remote.execute(flow, request, **fields)
        except ExecutionError as error:
            if error.execution is None:  # it has not begun
                raise
            execution = error.execution
        return execution_of(execution)


def execution_of(execution: Any) -> dict[str, Any]:
    """What is told of an execution."""
    error = execution.error
    return {
        "id": execution.id, "flow": execution.flow, "status": execution.status.name, "result": execution.response,
        "error": None if error is None else error_of(error),
    }  # fmt: skip


def _began(found: dict[str, Any], as_json: bool) -> int:
    emit(as_json, {name: found[name] for name in ("id", "flow", "status")}, lambda: print(found["id"]))
    return OK


def finished(found: dict[str, Any], as_json: bool) -> int:
    """Print the end of an execution; the exit code."""
    if as_json:
        emit(True, found, lambda: None)
    elif found["status"] == "SUCCESS":
        print_value(found["result"])
    else:
        error = found["error"] or {"message": "", "fix": None}
        print(f"execution {found['id']}: {found['status']}", file=sys.stderr)
        complain(FlowError(error["message"], fix=error["fix"]))
    return OK if found["status"] == "SUCCESS" else FAILED


def print_value(value: Any) -> None:
    """A result: bytes as they are, a value as JSON."""
    if isinstance(value, bytes):
        sys.stdout.flush()
        sys.stdout.buffer.write(value)
        sys.stdout.buffer.flush()
        if sys.stdout.isatty():
            print()
    elif value is not None:
        emit(True, value, lambda: None)


# --- looking ----------------------------------------------------------------------------------------------------------


def list_executions(
    flow: str | None = None, /, *, status: str | None = None, since: str | None = None, limit: int = 20,
    cursor: str | None = None, store: Where = None, common: Common = COMMON,
) -> int:  # fmt: skip
    """List executions, the newest first.

    Args:
        flow: only those of this flow.
        status: only those that are: running, success, failure, paused, aborted, stopped.
        since: only those that started within this time: 30m, 12h, 7d.
        limit: at most so many.
        cursor: go on after a list; it is printed below it.
    """
    wanted = None if status is None else _status_of(status)
    after = None
    if since is not None:
        import time

        after = time.time() - duration(since, "--since")
    if limit < 1:
        raise InvalidOption(f"--limit must be at least 1, not {limit}")
    items, following = complete(_listed(store, (flow, wanted, after, limit, cursor), common))
    found = [
        {
            "id": one.execution, "flow": one.flow, "revision": one.revision, "status": one.status.name,
            "parent": one.parent, "started": one.time_utc, "ended": one.ended_utc,
        }
        for one in items
    ]  # fmt: skip
    rows = [
        [one.execution, one.flow, one.status.name, when(one.time_utc), seconds(one.time_utc, one.ended_utc)]
        for one in items
    ]

    def show() -> None:
        show_table(("id", "flow", "status", "started (UTC)", "took"), rows, "no executions")
        if following:
            print(f"more: --cursor {clean(following)}")

    emit(common.json, {"executions": found, "cursor": following}, show)
    return OK


def _status_of(name: str) -> Status:
    known = {status.name.lower(): status for status in Status}
    if name.lower() not in known:
        raise InvalidOption(
            f"there is no status {name!r:.40}", fix=did_you_mean(name.lower(), known) or ", ".join(known)
        )
    return known[name.lower()]


async def _listed(url: str | None, asked: tuple[Any, ...], common: Common) -> tuple[Any, str | None]:
    flow, status, since, limit, cursor = asked
    if url is not None:
        async with LocalStore(url) as store:
            return await store.page(flow, status, since, limit, cursor)
    async with server(common) as remote:
        page = await remote.executor.list(flow, status, since=since, limit=limit, cursor=cursor)
        return page.items, page.cursor


def status(id: str, /, *, flow: Flow = None, store: Where = None, common: Common = COMMON) -> int:
    """Print the status of an execution.

    Args:
        id: of the execution.
    """

    async def ask() -> Status:
        if store is not None:
            async with LocalStore(store) as local:
                return await local.status(flow, id)
        async with server(common) as remote:
            return await remote.executor.status(flow or "", id)

    name = complete(ask()).name
    emit(common.json, {"id": id, "status": name}, lambda: print(name))
    return OK


def result(
    id: str, step: str | None = None, /, *, flow: Flow = None, wait: Switch = False, common: Common = COMMON
) -> int:
    """Print the result of an execution that is over, or the output of one step.

    Args:
        id: of the execution.
        step: the step whose output is wanted.
        wait: wait for its end.
    """

    async def ask() -> dict[str, Any] | bytes:
        async with server(common) as remote:
            if step is not None:
                return await remote.executor.result(flow or "", id, step)
            if not wait:
                now = await remote.executor.status(flow or "", id)
                if not now.terminal:
                    return {"id": id, "flow": flow, "status": now.name, "result": None, "error": None}
            return execution_of(await remote.executor.ended(flow or "", id))

    found = complete(ask())
    if isinstance(found, bytes):
        emit(common.json, {"id": id, "step": step, "result": found}, lambda: print_value(found))
        return OK
    if Status[found["status"]].terminal:
        return finished(found, common.json)
    raise IllegalMove(f"execution {id!r} is not over: it is {found['status']}", fix="wait for it: --wait")


def history(id: str, /, *, flow: Flow = None, store: Where = None, common: Common = COMMON) -> int:
    """Print what has happened to an execution so far.

    Args:
        id: of the execution.
    """

    async def ask() -> list[Transition]:
        if store is not None:
            async with LocalStore(store) as local:
                return await local.history(flow, id)
        async with server(common) as remote:
            return await remote.executor.history(flow or "", id)

    moves: list[dict[str, Any]] = [
        {"step": one.step, "status": one.status.name, "time": one.time.timestamp(), "attempt": one.attempt}
        for one in complete(ask())
    ]
    began = moves[0]["time"] if moves else 0.0
    rows = [[f"{move['time'] - began:.3f} s", move["step"], move["status"], move["attempt"]] for move in moves]
    emit(common.json, moves, lambda: show_table(("after", "step", "status", "attempt"), rows, "nothing yet"))
    return OK


def explain(id: str, /, *, flow: Flow = None, common: Common = COMMON) -> int:
    """Print what an execution waits for.

    Args:
        id: of the execution.
    """

    async def ask() -> Any:
        async with server(common) as remote:
            return await remote.executor.explain(flow or "", id)

    found = complete(ask())
    reasons = [
        {"step": one.step, "kind": one.kind, "text": one.text, "waits_for": list(one.waits_for), "seconds": one.seconds}
        for one in found.reasons
    ]

    def show() -> None:
        print(f"execution {clean(id)} is {found.status.name}")
        for reason in found.reasons:
            print(f"  {clean(reason.text)}")

    emit(common.json, {"id": id, "status": found.status.name, "reasons": reasons}, show)
    return OK

"""``flow-core flows``: list and show flows."""

from __future__ import annotations

from typing import Any

from cyclopts import App

from flow_core import Flow
from flow_core.cli.codes import OK, USAGE
from flow_core.cli.common import COMMON, Common, Switch, complete, server
from flow_core.cli.local import LocalStore
from flow_core.cli.output import complain, emit, show_table
from flow_core.errors import InvalidOption
from flow_core.proto import flow_pb2 as pb

__all__ = ["register"]


def register(app: App) -> None:
    """Add the commands."""
    group = App(name="flows", help="Which flows there are, and what is in them.")
    group.command(list_flows, name="ls")
    group.command(show)
    app.command(group)


def list_flows(*, store: str | None = None, common: Common = COMMON) -> int:
    """List the flows.

    Args:
        store: look into this store instead of asking a server, and write nothing.
    """
    found = complete(_stored_flows(store) if store else _flows(common))
    rows = [[flow["flow"], flow["revision"], flow["steps"]] for flow in found]
    emit(common.json, found, lambda: show_table(("flow", "revision", "steps"), rows, "no flows"))
    return OK


async def _flows(common: Common) -> list[dict[str, Any]]:
    async with server(common) as remote:
        reply = await remote.channel.call("ListFlows", pb.ListFlowsRequest())
        return [{"flow": line.flow, "revision": line.revision, "steps": line.steps} for line in reply.flows]


async def _stored_flows(url: str) -> list[dict[str, Any]]:
    async with LocalStore(url) as store:
        return await store.flows()


def show(flow: str, /, *, mermaid: Switch = False, dot: Switch = False, common: Common = COMMON) -> int:
    """Show the steps of a flow: whose they are, what they do, what they wait for.

    Args:
        flow: its name.
        mermaid: as a Mermaid flowchart.
        dot: as a Graphviz digraph.
    """
    if mermaid and dot:
        complain(InvalidOption("--mermaid and --dot exclude each other"), as_json=common.json)
        return USAGE
    if mermaid or dot:
        text = complete(_drawn(flow, "to_mermaid" if mermaid else "to_dot", common))
        emit(common.json, {"flow": flow, "mermaid" if mermaid else "dot": text}, lambda: print(text))
        return OK
    found = complete(_steps(flow, common))
    rows = [[one["step"], one["does"], ", ".join(one["after"]), one["owner"], _state(one)] for one in found["steps"]]
    missing = [
        [name, "-", "", "", f"nobody registered it; named by {', '.join(by)}"]
        for name, by in found["unresolved"].items()
    ]

    def tell() -> None:
        print(f"flow {flow}, revision {found['revision']}")
        show_table(("step", "does", "after", "owner", "state"), rows + missing, "no steps")

    emit(common.json, found, tell)
    return OK


def _state(step: dict[str, Any]) -> str:
    return "available" if step["available"] else "its owner is away"


async def _drawn(flow: str, how: str, common: Common) -> str:
    async with server(common) as remote:
        steps = await remote.lookup(flow)
    async with Flow() as local:  # the same drawing as everywhere
        await local.create_steps(flow, steps)
        text: str = getattr(local, how)(flow)
        return text


async def _steps(flow: str, common: Common) -> dict[str, Any]:
    async with server(common) as remote:
        steps, owners, away = await remote.lookup(flow), await remote.owners(flow), await remote.unavailable(flow)
        unresolved, revision = await remote.unresolved(flow), await remote.revision(flow)
    lines = [
        {
            "step": step.id, "does": str(step.operation), "type": step.operation.type, "after": list(step.after),
            "before": list(step.before), "owner": owners.get(step.id, ""), "available": step.id not in away,
        }
        for step in steps
    ]  # fmt: skip
    return {"flow": flow, "revision": revision, "steps": lines, "unresolved": unresolved}

"""Diagrams of a flow as text: Mermaid and Graphviz's dot.

Lives here: steps and statuses to text. Does not live here: drawing; nothing here touches a network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flow_core.status import Status
from flow_core.step import ALL, Step

__all__ = ["edges_of", "to_dot", "to_mermaid"]

_COLOURS = {
    Status.SUCCESS: "#9fd89f", Status.FAILURE: "#f2a4a4", Status.RUNNING: "#a4c8f2", Status.PENDING: "#eeeeee",
    Status.SKIPPED: "#dddddd", Status.ABORTED: "#f2d0a4", Status.STOPPED: "#f2d0a4", Status.PAUSED: "#f2eea4",
}  # fmt: skip


def edges_of(steps: Iterable[Step]) -> list[tuple[str, str]]:
    """(earlier, later) pairs of ids, in the order they were declared, each once. ALL is drawn as such."""
    edges = {}
    for step in steps:
        for before in step.after:
            edges["ALL" if before == ALL else before, step.id] = None
        for after in step.before:
            edges[step.id, "ALL" if after == ALL else after] = None
    return list(edges)


def to_mermaid(steps: Iterable[Step], statuses: Mapping[str, Status] | None = None) -> str:
    """A Mermaid flowchart. Steps are coloured by status when ``statuses`` gives one; missing ids are dashed."""
    steps = list(steps)
    names = _names(steps)
    lines = ["flowchart TD"]
    known = {step.id for step in steps}
    for name, node in names.items():
        lines.append(f'    {node}["{name}"]' if name in known else f'    {node}(["{name}?"])')
    lines += [f"    {names[one]} --> {names[other]}" for one, other in edges_of(steps)]
    for step in steps:
        if step.fallback is not None:
            lines.append(f'    {names[step.id]} -. fallback .-> {names[step.id]}f["{step.fallback.operation.name}"]')
    lines += [f"    style {names[n]} stroke-dasharray: 4" for n in names if n not in known]
    for name, status in (statuses or {}).items():
        if name in names:
            lines.append(f"    style {names[name]} fill:{_COLOURS[status]}")
    return "\n".join(lines)


def to_dot(steps: Iterable[Step], statuses: Mapping[str, Status] | None = None) -> str:
    """A Graphviz digraph, coloured as `to_mermaid`."""
    steps = list(steps)
    known = {step.id for step in steps}
    lines = ["digraph flow {", "    rankdir=TB; node [shape=box, style=filled, fillcolor=white];"]
    for name in _names(steps):
        status = (statuses or {}).get(name)
        extra = f' [fillcolor="{_COLOURS[status]}"]' if status is not None else ""
        lines.append(f'    "{name}"{extra};' if name in known else f'    "{name}" [style=dashed];')
    lines += [f'    "{one}" -> "{other}";' for one, other in edges_of(steps)]
    return "\n".join([*lines, "}"])


def _names(steps: list[Step]) -> dict[str, str]:
    """Id -> node name: ids hold characters that Mermaid gives meaning to."""
    names = {step.id: "" for step in steps}
    for one, other in edges_of(steps):
        names.setdefault(one, "")
        names.setdefault(other, "")
    return {name: f"n{i}" for i, name in enumerate(names)}

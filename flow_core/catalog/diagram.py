"""Diagrams of a flow as text: Mermaid and Graphviz's dot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flow_core.model.status import Status
from flow_core.model.step import ALL, Step

__all__ = ["edges_of", "to_dot", "to_mermaid"]

_COLOURS = {
    Status.SUCCESS: "#9fd89f", Status.FAILURE: "#f2a4a4", Status.RUNNING: "#a4c8f2", Status.PENDING: "#eeeeee",
    Status.SKIPPED: "#dddddd", Status.ABORTED: "#f2d0a4", Status.STOPPED: "#f2d0a4", Status.PAUSED: "#f2eea4",
}  # fmt: skip


def edges_of(steps: Iterable[Step]) -> list[tuple[str, str]]:
    """(earlier, later) pairs of ids, in the order they were declared, each once. `ALL` stays `ALL`."""
    edges: dict[tuple[str, str], None] = {}
    for step in steps:
        for before in step.after:
            edges[before, step.id] = None
        for after in step.before:
            edges[step.id, after] = None
    return list(edges)


def to_mermaid(steps: Iterable[Step], statuses: Mapping[str, Status] | None = None) -> str:
    """A Mermaid flowchart. Steps are coloured by status when ``statuses`` gives one; missing ids are dashed."""
    steps = list(steps)
    nodes = _nodes(steps)
    known = {step.id for step in steps}
    missing = [name for name in nodes if name not in known and name != ALL]
    lines = ["flowchart TD"]
    for name, node in nodes.items():
        shape = "{{ALL}}" if name == ALL else f'["{name}"]' if name in known else f'(["{name}?"])'
        lines.append(f"    {node}{shape}")
    lines += [f"    {nodes[one]} --> {nodes[other]}" for one, other in edges_of(steps)]
    for step in steps:
        if step.fallback is not None:
            label = step.fallback.operation.name.replace('"', "#quot;")
            lines.append(f'    {nodes[step.id]} -. fallback .-> {nodes[step.id]}f["{label}"]')
    lines += [f"    style {nodes[name]} stroke-dasharray: 4" for name in missing]
    for name, status in (statuses or {}).items():
        if name in nodes and status in _COLOURS:
            lines.append(f"    style {nodes[name]} fill:{_COLOURS[status]}")
    return "\n".join(lines)


def to_dot(steps: Iterable[Step], statuses: Mapping[str, Status] | None = None) -> str:
    """A Graphviz digraph, coloured as `to_mermaid`."""
    steps = list(steps)
    known = {step.id for step in steps}
    lines = ["digraph flow {", "    rankdir=TB; node [shape=box, style=filled, fillcolor=white];"]
    for name in _nodes(steps):
        colour = _COLOURS.get((statuses or {}).get(name, Status.UNKNOWN))
        if name == ALL:
            lines.append(f'    "{ALL}" [label="ALL", shape=hexagon];')
        elif name not in known:
            lines.append(f'    "{name}" [style=dashed];')
        else:
            lines.append(f'    "{name}"' + (f' [fillcolor="{colour}"];' if colour else ";"))
    lines += [f'    "{one}" -> "{other}";' for one, other in edges_of(steps)]
    return "\n".join([*lines, "}"])


def _nodes(steps: list[Step]) -> dict[str, str]:
    """Id -> name of its node: ids hold characters that Mermaid gives meaning to."""
    names = [step.id for step in steps]
    for edge in edges_of(steps):
        names += edge
    return {name: f"n{i}" for i, name in enumerate(dict.fromkeys(names))}

"""Draws the floors of the package from its files: as text, and as a table and a Mermaid graph for pages.

Lives here: what `scripts/floors` prints, and the marked places of pages that it fills. Does not live here: the rules
(``layers.py``).
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable

from tests import layers

Files = list[tuple[str, str]]


def _rooms(files: Iterable[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """(room, other room) -> how many files of the one import from the other."""
    found: Counter[tuple[str, str]] = Counter()
    for module, targets in layers.arrows(files).items():
        for other in {layers.room_of(target) for target in targets}:
            found[layers.room_of(module), other] += 1
    return Counter({(a, b): n for (a, b), n in found.items() if a != b and a and b})


def summary(files: Files) -> str:
    """Sizes of the house in one line: rooms, floors, arrows, circles, arrows that run up."""
    graph = layers.arrows(files)
    between = sum(len(targets) for targets in graph.values())
    upward = [complaint for path, text in files for complaint in layers.import_complaints(text, path)]
    return (
        f"{len(layers.FLOORS)} rooms on {len(layers.TABLE)} floors, {len(graph)} files, {between} arrows between files "
        f"and {len(_rooms(files))} between rooms, {len(upward)} upward, {len(layers.circles(graph))} circles"
    )


def as_text(files: Files) -> str:
    """The floors from the top down, with what each room imports from."""
    rooms = _rooms(files)
    lines = []
    for floor, (names, what) in reversed(list(enumerate(layers.TABLE))):
        lines.append(f"{floor}  {what}")
        for name in names:
            below = sorted((b for a, b in rooms if a == name), key=lambda room: (-layers.FLOORS[room], room))
            lines.append(f"     {name:<12} {'-> ' + ' '.join(below) if below else ''}".rstrip())
    return "\n".join([*lines, summary(files)])


def table(_: Files) -> str:
    """The floors as a Markdown table."""
    rows = ["| floor | rooms of `flow_core/` | what they are for |", "|---|---|---|"]
    for floor, (names, what) in reversed(list(enumerate(layers.TABLE))):
        rows.append(f"| {floor} | {' '.join(f'`{name}`' for name in names)} | {what} |")
    return "\n".join(rows)


def short(_: Files) -> str:
    """The floors in a few lines, from the top down."""
    floors = (" ".join(f"`{name}`" for name in names) for names, _ in reversed(layers.TABLE))
    return textwrap.fill(" > ".join(floors), 120, break_long_words=False)


def mermaid(files: Files) -> str:
    """Rooms as a Mermaid graph; an arrow that longer ones imply is left out."""
    rooms = _rooms(files)
    floor_of = layers.FLOORS
    below = {name: {b for a, b in rooms if a == name and floor_of[b] < floor_of[name]} for name in floor_of}

    def reach(name: str) -> set[str]:
        return below[name].union(*(reach(other) for other in below[name]))

    lines = ["```mermaid", "graph TD"]
    for floor, (names, _) in reversed(list(enumerate(layers.TABLE))):
        lines.append(f"  subgraph floor{floor}[floor {floor}]")
        lines.extend(f"    {name.strip('_')}" for name in names)
        lines.append("  end")
    for name in reversed(layers.FLOORS):
        implied = set().union(*(reach(other) for other in below[name]))
        lines.extend(f"  {name.strip('_')} --> {other}" for other in sorted(below[name] - implied))
    return "\n".join([*lines, "```"])


BLOCKS: dict[str, Callable[[Files], str]] = {"floors": table, "floors-short": short, "rooms": mermaid}


def filled(page: str, files: Files) -> str:
    """A page with what stands between ``<!-- floors -->`` and ``<!-- /floors -->``, and so on, brought up to date."""
    for name, draw in BLOCKS.items():
        pattern = re.compile(rf"(<!-- {name}:[^\n]*-->\n).*?(<!-- /{name} -->)", re.DOTALL)
        page = pattern.sub(lambda found, draw=draw: f"{found[1]}{draw(files)}\n{found[2]}", page)
    return page

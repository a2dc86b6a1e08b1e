"""What a command prints: one JSON document with ``--json``, else a table or lines.

Names, errors and results come from strangers: characters that a terminal would obey are shown as text instead.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any

from flow_core import FlowError

__all__ = ["clean", "complain", "emit", "seconds", "show_table", "when"]

COLOURS = {
    "SUCCESS": "green", "FAILURE": "red", "RUNNING": "yellow", "PAUSED": "magenta", "ABORTED": "magenta",
    "STOPPED": "magenta", "PENDING": "bright_black", "SKIPPED": "bright_black", "UNKNOWN": "bright_black",
}  # fmt: skip


def emit(as_json: bool, value: Any, show: Callable[[], None]) -> None:
    """Print ``value`` as one JSON document, or ``show`` it to people."""
    if as_json:
        print(json.dumps(value, default=_plain, ensure_ascii=False))
    else:
        show()


def _plain(value: Any) -> Any:
    """For JSON: a status by its name; bytes as text where they are text, else as base64."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    raise TypeError(f"{type(value).__name__} is no JSON")


def clean(text: object) -> str:
    """A text without the characters that move a terminal's cursor, colour it, or hide and reorder what is read."""
    return "".join(one if one.isprintable() or one in "\n\t" else ascii(one)[1:-1] for one in str(text))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """A table: with rich on a terminal; in columns, for ``cut`` and ``awk``, elsewhere. ``empty``: said instead."""
    cells = [["-" if cell is None else clean(cell).replace("\n", " ") for cell in row] for row in rows]
    if not cells:
        print(empty)
    elif sys.stdout.isatty() and find_spec("rich") is not None:
        _show_rich(columns, cells)
    else:
        widths = [max(len(row[place]) for row in [list(columns), *cells]) for place in range(len(columns))]
        for row in [list(columns), *cells]:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _show_rich(columns: Sequence[str], cells: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in cells:
        table.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    Console().print(table)


def when(utc: float | None) -> str | None:
    """A time, UTC seconds, for people."""
    return None if utc is None else datetime.fromtimestamp(utc, UTC).strftime("%Y-%m-%d %H:%M:%S")


def seconds(start: float, end: float | None) -> str | None:
    """How long something took."""
    return None if end is None else f"{max(0.0, end - start):.3f} s"


def complain(error: BaseException, *, as_json: bool = False) -> None:
    """Say on stderr what went wrong and what to do about it; with ``as_json``, as one JSON document."""
    if not as_json:
        print(f"flow_core: {clean(error)}", file=sys.stderr)
        return
    told = {"code": "usage", "message": str(error), "fix": None}
    if isinstance(error, FlowError):
        told = {"code": error.code, "message": error.message, "fix": error.fix, "step": error.step}
    print(json.dumps({"error": told}), file=sys.stderr)

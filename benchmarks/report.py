"""Tables for people: one per case, one of figures, one of targets. Markdown, or rich when it is there and asked for.

A ratio is "times flow-core's run time a step": 12.0x means twelve times as slow as flow-core.
"""

import sys
from collections.abc import Sequence
from typing import Any

from benchmarks import figures, peers
from benchmarks.targets import OURS, Verdict, executions_s, key

Table = tuple[str, Sequence[str], list[list[str]]]


def number(value: float | None, digits: int = 3) -> str:
    """Enough digits to compare, no more; a dash for nothing."""
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}" if value < 100 else f"{value:.0f}"


def title_of(row: dict[str, Any]) -> str:
    wanted = row["wanted"]
    if wanted["executions"]:
        everything = wanted["in_flight"] >= wanted["executions"]
        load = "all at once" if everything else f"{wanted['in_flight']} in flight"
        return f"{row['shape']}, {wanted['executions']:,} executions {load}, {row['variant']}"
    return f"{row['shape']}, {wanted['nodes']:,} steps, {row['variant']}"


def size_of(row: dict[str, Any]) -> str:
    size = row["executions"] or row["nodes"]
    return f"{size:,}" if size == (row["wanted"]["executions"] or row["wanted"]["nodes"]) else f"{size:,} (fewer)"


def case_tables(rows: list[dict[str, Any]]) -> list[Table]:
    """One table per case, in the order measured, peers as they came."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if "peer" in row:
            groups.setdefault(key(row), []).append(row)
    return [case_table(group) for group in groups.values()]


def case_table(group: list[dict[str, Any]]) -> Table:
    small = bool(group[0]["wanted"]["executions"])
    columns = ["peer", "size", "run us/step", "min", "build us/step", "bytes/step", "x flow-core", "checked"]
    if small:
        columns[5:6] = ["executions/s", "p50 ms", "p99 ms"]
    ours = next((row for row in group if (row["peer"], row["mode"]) == OURS and row["kind"] == "case"), None)
    lines = []
    for row in group:
        name = f"{peers.describe(row['peer']).label}: {row['mode']}"
        if row["kind"] == "failure":
            text = f"MISSING: {row['install']}" if row.get("missing") else f"FAILED: {row['error']}"
            lines.append([name, text, *[""] * (len(columns) - 2)])
            continue
        run = row["run_us"]["median"]
        ratio = number(run / ours["run_us"]["median"]) + "x" if ours else "-"
        middle = [number(row["bytes_step"])]
        if small:
            latency = row["latency_ms"] or {"p50": None, "p99": None}
            middle = [number(executions_s(row)), number(latency["p50"]), number(latency["p99"])]
        parts = [number(run), number(row["run_us"]["min"]), number(row["build_us"]["median"]), *middle, ratio]
        lines.append([name, size_of(row), *parts, row["checks"] if row["verified"] else "NO"])
    return title_of(group[0]), columns, lines


def figure_table(rows: list[dict[str, Any]]) -> Table:
    lines = []
    for row in rows:
        if "figure" not in row:
            continue
        if row["kind"] == "failure":
            lines.append([row["figure"], f"FAILED: {row['error']}", "", ""])
            continue
        spread = row.get("spread", {})
        for name, value in row["values"].items():
            unit = figures.unit_of(row["figure"], name)
            low, high = spread.get(name, (value, value))
            lines.append([f"{row['figure']}.{name}", number(value), unit, f"{number(low)} .. {number(high)}"])
    return "figures of flow-core", ["figure", "median", "unit", "over the rounds"], lines


def target_table(verdicts: list[Verdict]) -> Table:
    lines = [
        [v.target.metric, number(v.value), f"{v.target.direction} {v.target.limit:,g} {v.target.unit}", v.word,
         v.target.source]
        for v in verdicts
    ]  # fmt: skip
    return "targets", ["metric", "measured", "limit", "verdict", "promised as"], lines


def markdown(table: Table) -> str:
    """A table in aligned Markdown, so that it reads well in a terminal, too."""
    title, columns, lines = table
    cells = [list(columns), *([text.replace("|", "\\|") for text in line] for line in lines)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]

    def line_of(parts: Sequence[str]) -> str:
        return "| " + " | ".join(part.ljust(width) for part, width in zip(parts, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([f"### {title}", "", line_of(cells[0]), rule, *map(line_of, cells[1:]), ""])


def show(tables: list[Table], style: str = "auto") -> None:
    """Print to stdout. `auto` is rich on a terminal when installed, Markdown otherwise."""
    if style == "rich" or (style == "auto" and sys.stdout.isatty()):
        try:
            from rich.console import Console
            from rich.table import Table as Pretty
        except ImportError:
            if style == "rich":
                raise
        else:
            console = Console()
            for title, columns, lines in tables:
                pretty = Pretty(*columns, title=title)
                for line in lines:
                    pretty.add_row(*line)
                console.print(pretty)
            return
    for table in tables:
        print(markdown(table))

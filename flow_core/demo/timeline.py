"""Draws the transitions of an execution as a chart of bars, one line per step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from flow_core import Status
from flow_core.model.transition import Transition

__all__ = ["timeline"]

LEGEND = "█ the last attempt   ▒ attempts that failed, and the delay after each"


@dataclass(slots=True)
class StepTimes:
    """One step: when its attempts started, when and how it ended."""

    starts: dict[int, float] = field(default_factory=dict)
    ended: float | None = None
    status: Status = Status.RUNNING


def timeline(moves: Iterable[Transition], width: int = 48) -> str:
    """A line for each step that moved, in the order of their starts: its bar, seconds, status and attempts.

    Args:
        moves: of one execution. All that iterating over it gave show every attempt; `history` has the last one's start.
        width: characters of the time axis.
    """
    moves = sorted(moves, key=lambda move: move.time)
    if not moves:
        return "nothing happened"
    began, over = moves[0].time, moves[-1].time
    scale = width / (over - began) if over > began else 0.0
    rows = _rows(moves)
    longest = max((len(step) for step in rows), default=0)
    lines = [f"{'':{longest}}  0 s{f'{over - began:.2f} s':>{width - 3}}"]
    for step, row in rows.items():
        bar = _bar(row, began, over, scale, width)
        attempts = f", {max(row.starts)} attempts" if row.starts and max(row.starts) > 1 else ""
        lines.append(f"{step:{longest}}  {bar}  {row.status.name.lower()}{attempts}")
    return "\n".join([*lines, f"{'':{longest}}  {LEGEND}"])


def _rows(moves: Iterable[Transition]) -> dict[str, StepTimes]:
    rows: dict[str, StepTimes] = {}
    for move in moves:
        if move.step is None:
            continue
        row = rows.setdefault(move.step, StepTimes())
        if move.status is Status.RUNNING:
            row.starts.setdefault(move.attempt, move.time)
        else:
            row.ended, row.status = move.time, move.status
    return rows


def _bar(row: StepTimes, began: float, over: float, scale: float, width: int) -> str:
    """The axis with the step's time on it; at least one character, however short it ran."""
    if not row.starts:
        return " " * width
    first, last = min(row.starts.values()), max(row.starts.values())
    ended = over if row.ended is None else row.ended
    start = min(int((first - began) * scale), width - 1)
    turn = min(int((last - began) * scale), width - 1)
    end = max(min(round((ended - began) * scale), width), turn + 1)
    return f"{' ' * start}{'▒' * (turn - start)}{'█' * (end - turn)}".ljust(width)

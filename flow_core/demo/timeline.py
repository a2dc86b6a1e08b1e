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
    """One step: seconds at which its attempts started and it ended, and how."""

    starts: dict[int, float] = field(default_factory=dict)
    ended: float | None = None
    status: Status = Status.RUNNING


def timeline(transitions: Iterable[Transition], width: int = 48) -> str:
    """A line for each step that something happened to, in the order of their starts: its bar, status and attempts.

    Args:
        transitions: of one execution, every attempt among them.
        width: characters of the time axis.
    """
    found = sorted(transitions, key=lambda one: one.time)
    if not found:
        return "nothing happened"
    began, over = found[0].time.timestamp(), found[-1].time.timestamp()
    scale = width / (over - began) if over > began else 0.0
    rows = _rows(found)
    longest = max((len(step) for step in rows), default=0)
    lines = [f"{'':{longest}}  0 s{f'{over - began:.2f} s':>{width - 3}}"]
    for step, row in rows.items():
        bar = _bar(row, began, over, scale, width)
        attempts = f", {max(row.starts)} attempts" if row.starts and max(row.starts) > 1 else ""
        lines.append(f"{step:{longest}}  {bar}  {row.status.name.lower()}{attempts}")
    return "\n".join([*lines, f"{'':{longest}}  {LEGEND}"])


def _rows(transitions: Iterable[Transition]) -> dict[str, StepTimes]:
    rows: dict[str, StepTimes] = {}
    for one in transitions:
        if one.step is None:
            continue
        row, at = rows.setdefault(one.step, StepTimes()), one.time.timestamp()
        if one.status is Status.RUNNING:
            row.starts.setdefault(one.attempt, at)
        else:
            row.ended, row.status = at, one.status
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

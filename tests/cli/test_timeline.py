"""The chart of bars: positions, attempts, statuses."""

from __future__ import annotations

from datetime import UTC, datetime

from flow_core import Status
from flow_core.demo.timeline import timeline
from flow_core.model.transition import Transition


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def chart(*moves: Transition, width: int = 10) -> list[str]:
    return timeline(moves, width).splitlines()[:-1]


def test_bars_lie_where_their_times_are():
    lines = chart(
        Transition(None, Status.RUNNING, at(100.0)),
        Transition("a", Status.RUNNING, at(100.0)),
        Transition("a", Status.SUCCESS, at(104.0)),
        Transition("long", Status.RUNNING, at(104.0), 1),
        Transition("long", Status.RUNNING, at(107.0), 2),
        Transition("long", Status.FAILURE, at(110.0), 2),
        Transition("c", Status.SKIPPED, at(110.0)),
        Transition(None, Status.FAILURE, at(110.0)),
    )
    assert lines == [
        "      0 s10.00 s",
        "a     ████        success",
        "long      ▒▒▒███  failure, 2 attempts",
        "c                 skipped",
    ]


def test_an_instant_step_still_shows_and_one_that_runs_reaches_the_end():
    lines = chart(
        Transition("a", Status.RUNNING, at(0.0)), Transition("a", Status.SUCCESS, at(0.0)),
        Transition("b", Status.RUNNING, at(5.0)), Transition(None, Status.RUNNING, at(10.0)),
    )  # fmt: skip
    assert lines[1:] == ["a  █           success", "b       █████  running"]


def test_everything_at_once_and_nothing_at_all():
    assert (
        chart(Transition("a", Status.RUNNING, at(3.0)), Transition("a", Status.SUCCESS, at(3.0)))[1]
        == "a  █           success"
    )
    assert timeline([]) == "nothing happened"

"""The chart of bars: positions, attempts, statuses."""

from __future__ import annotations

from flow_core import Status
from flow_core.demo.timeline import timeline
from flow_core.model.transition import Transition


def chart(*moves: Transition, width: int = 10) -> list[str]:
    return timeline(moves, width).splitlines()[:-1]


def test_bars_lie_where_their_times_are():
    lines = chart(
        Transition(None, Status.RUNNING, 100.0),
        Transition("a", Status.RUNNING, 100.0),
        Transition("a", Status.SUCCESS, 104.0),
        Transition("long", Status.RUNNING, 104.0, 1),
        Transition("long", Status.RUNNING, 107.0, 2),
        Transition("long", Status.FAILURE, 110.0, 2),
        Transition("c", Status.SKIPPED, 110.0),
        Transition(None, Status.FAILURE, 110.0),
    )
    assert lines == [
        "      0 s10.00 s",
        "a     ████        success",
        "long      ▒▒▒███  failure, 2 attempts",
        "c                 skipped",
    ]


def test_an_instant_step_still_shows_and_one_that_runs_reaches_the_end():
    lines = chart(
        Transition("a", Status.RUNNING, 0.0), Transition("a", Status.SUCCESS, 0.0),
        Transition("b", Status.RUNNING, 5.0), Transition(None, Status.RUNNING, 10.0),
    )  # fmt: skip
    assert lines[1:] == ["a  █           success", "b       █████  running"]


def test_everything_at_once_and_nothing_at_all():
    assert (
        chart(Transition("a", Status.RUNNING, 3.0), Transition("a", Status.SUCCESS, 3.0))[1] == "a  █           success"
    )
    assert timeline([]) == "nothing happened"

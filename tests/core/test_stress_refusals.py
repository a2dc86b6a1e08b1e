"""Scheduler, Run and Plan: calls that make no sense are refused before they touch memory.

Lives here: foreign runs, numbers out of range. Does not live here: the same for graphs (``test_graph.py``).
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flow_core.core.graph import Graph
from flow_core.core.plan import Kind, Plan
from flow_core.core.run import Run
from flow_core.core.stepper import Stepper
from flow_core.errors import InternalError
from flow_core.model.status import Status
from flow_core.model.step import Step
from tests.aio import run as on_loop
from tests.core.kit import World, echo, line


async def pause(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


def test_runs_of_others_are_refused() -> None:
    async def main() -> None:
        world = World()
        run = Run(line(echo), 1)
        for call in (
            world.scheduler.launch,
            world.scheduler.go_on,
            lambda r: world.scheduler.finish(r, Status.SUCCESS),
        ):
            with pytest.raises(ValueError, match="not made by"):
                call(run)
        with pytest.raises(ValueError, match="not made by"):
            world.scheduler.start_activity(run, 0, 1, None)
        mine = world.scheduler.start(line(pause), 1)
        with pytest.raises(IndexError):
            world.scheduler.start_activity(mine, 1, 1, None)
        with pytest.raises(ValueError, match="no lane"):
            world.scheduler.start(line(echo), 1, lane=4)
        await world.finished(mine)
        assert (world.scheduler.running, world.scheduler.live) == (0, 0)

    on_loop(main())


def test_numbers_that_mean_nothing_are_refused() -> None:
    run = Run(line(echo), 1)
    with pytest.raises(ValueError, match="not 99"):
        Stepper(run).abandon(0, 99)
    with pytest.raises(ValueError, match="to 99"):
        Stepper(run).move(99)
    with pytest.raises(InternalError):
        Stepper(run).requeue(0)
    empty = Run.__new__(Run)
    Stepper(empty).check()
    Stepper(empty).abandon_all(Status.ABORTED)
    assert Stepper(empty).ready_steps == []
    plan = Plan(Graph(1, [], []), (Step("a", echo),))
    for told in ({"arity": 3}, {"source": 1}, {"source": -5}, {"join": 7}):
        with pytest.raises(ValueError, match="is none"):
            plan.configure(0, call=echo, kind=Kind.KIND_COROUTINE, **told)  # type: ignore[arg-type]

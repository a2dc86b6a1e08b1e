"""Scheduler: what is left in memory when executions are over, and what happens when there is none.

Lives here: references, live objects, allocations that fail one by one. Does not live here: cycles through outputs
(``test_run.py``).
"""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from typing import Any

import pytest

from flow_core.core.stepper import Stepper
from flow_core.core.task import StepTask
from flow_core.model.status import Status
from tests.aio import run as on_loop
from tests.core.kit import World, echo, line, turns


@pytest.mark.parametrize("suspends", [False, True])
def test_ten_thousand_executions_leave_nothing(suspends: bool) -> None:
    async def step(value: Any) -> Any:
        if suspends:
            await asyncio.sleep(0)
        return value

    async def main() -> None:
        world, request = World(), object()
        plan, dead = line(step, step, step), 0
        await world.run(plan, request)
        before = (
            sys.getrefcount(request),
            sys.getrefcount(plan),
            sys.getrefcount(step),
            sys.getrefcount(world.scheduler),
        )

        def died(_: Any) -> None:
            nonlocal dead
            dead += 1

        gc.collect()
        references, tasks = set(), sum(type(each) is StepTask for each in gc.get_objects())
        for _ in range(10_000):
            run = await world.run(plan, request)
            references.add(weakref.ref(run, died))
        del run
        await asyncio.sleep(0)  # we may have gone on in the callback that ended the last one
        gc.collect()
        assert dead == 10_000
        after = sys.getrefcount(request), sys.getrefcount(plan), sys.getrefcount(step), sys.getrefcount(world.scheduler)
        assert after == before
        assert sum(type(each) is StepTask for each in gc.get_objects()) <= tasks

    on_loop(main())


def test_no_memory_at_any_point_of_starting() -> None:
    testcapi = pytest.importorskip("_testcapi")

    async def main() -> None:
        world = World()
        plan = line(echo, echo)
        await world.run(plan, 1)
        refused = 0
        for n in range(50):
            run = None
            testcapi.set_nomemory(n, n + 1)
            try:
                run = world.scheduler.prepare(plan, 2)
            except MemoryError:
                refused += 1
            finally:
                testcapi.remove_mem_hooks()
            assert world.scheduler.live == (run is not None) and world.scheduler.runs_known() == ([run] if run else [])
            if run is not None:
                world.scheduler.launch(run)
                assert (await world.finished(run)).output(1) == 2
            del run
            await turns(2)
            assert len(world.table) <= 2 and (await world.run(plan, n)).output(1) == n
        assert refused >= 2

    on_loop(main())


def test_no_memory_at_any_point_of_starting_and_driving() -> None:
    testcapi = pytest.importorskip("_testcapi")

    async def pause(value: Any) -> Any:
        await asyncio.sleep(0)
        return value

    async def main() -> None:
        world = World()
        plan, outcomes = line(echo, pause, echo), set()
        await world.run(plan, 1)
        for n in range(120):
            world.failed.clear()
            run = None
            testcapi.set_nomemory(n, n + 1)
            try:
                run = world.scheduler.start(plan, 2)
            except MemoryError:
                outcomes.add("refused")
            finally:
                testcapi.remove_mem_hooks()
            if run is not None:
                await world.finished(run)
                outcomes.add(Stepper(run).status_number)
                assert [type(error) for _, error in world.failed] in ([], [MemoryError])
            del run
            await asyncio.sleep(0)  # we may have gone on in the callback that ended it
            assert world.scheduler.live == len(world.scheduler.runs_known()) == 0 and world.scheduler.running == 0
            assert (await world.run(plan, n)).output(2) == n
        assert outcomes >= {"refused", Status.SUCCESS}

    on_loop(main())

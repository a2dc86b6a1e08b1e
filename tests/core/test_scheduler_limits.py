"""Scheduler: what it holds back and what it ends: limits, lanes, deadlines, on a virtual clock.

Lives here: how many steps run at the same time, who is served first, steps that take too long. Does not live here:
everything else of the scheduler (``test_scheduler.py``), executors (``tests/runtime``).
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flow_core.core.plan import Flag, Kind
from flow_core.core.stepper import Stepper
from tests.aio import run_virtual
from tests.core.kit import World, echo, fan, line, timed, turns


class Gauge:
    """A step body that measures how many of its kind run at the same time."""

    def __init__(self) -> None:
        self.now = self.most = self.calls = 0

    async def __call__(self, _: Any) -> None:
        self.now += 1
        self.calls += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.01 * (self.calls % 3))
        self.now -= 1


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3, 7])
def test_the_limit_holds_over_all_executions(limit: int) -> None:
    async def main() -> None:
        world, gauge = World(limit=limit), Gauge()
        runs = [world.scheduler.start(fan(12, gauge), None) for _ in range(5)]
        runs.append(world.scheduler.start(line(*[gauge] * 5), None))
        for run in runs:
            await world.finished(run)
        assert gauge.most == limit and gauge.calls == 65 and world.scheduler.running == 0

    run_virtual(main())


def test_the_limit_of_an_execution_is_its_own() -> None:
    async def main() -> None:
        world, gauges = World(), [Gauge(), Gauge()]
        runs = [world.scheduler.start(fan(20, gauge), None, limit=2 + i) for i, gauge in enumerate(gauges)]
        for run in runs:
            await world.finished(run)
        assert [gauge.most for gauge in gauges] == [2, 3] and [gauge.calls for gauge in gauges] == [20, 20]

    run_virtual(main())


def test_steps_that_only_wait_for_executions_hold_no_slot() -> None:
    async def main() -> None:
        world, gate, gauge = World(limit=1), asyncio.Event(), Gauge()

        async def waits(_: Any) -> None:
            await gate.wait()

        waiting = world.scheduler.start(fan(5, waits, flags=Flag.FLAG_NO_SLOT), None)
        assert waiting.counts[1] == 5 and world.scheduler.running == 0
        await world.run(fan(3, gauge))
        gate.set()
        await world.finished(waiting)
        assert gauge.most == 1 and world.scheduler.running == 0

    run_virtual(main())


def test_lanes_are_served_in_order_and_none_starves() -> None:
    async def main() -> None:
        world, order = World(limit=1), []

        async def step(lane: Any) -> None:
            order.append(lane)
            await asyncio.sleep(0.001)

        runs = [world.scheduler.start(line(step), "first")]
        runs += [world.scheduler.start(line(step), lane, lane=lane) for lane in [3] * 3 + [0] * 40]
        for run in runs:
            await world.finished(run)
        assert order[0] == "first" and sorted(map(str, order)) == sorted(["first"] + ["3"] * 3 + ["0"] * 40)
        first_low = order.index(3)
        assert order[1] == 0 and 1 < first_low < 20, order

    run_virtual(main())


# --- deadlines --------------------------------------------------------------------------------------------------------


def test_a_deadline_cancels_the_step() -> None:
    ended = []

    async def step(_: Any) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(asyncio.get_running_loop().time())

    async def main() -> None:
        world = World()
        run = await world.run(line(step, echo, **timed(5)))
        assert [(v, type(error)) for v, error in world.failed] == [(0, TimeoutError)] and run.counts == (2, 0, 0, 1, 1)
        assert ended == [5.0] and world.loop.time() == 5.0 and len(world.scheduler.turns.timers) == 0

    run_virtual(main())


def test_a_step_in_time_leaves_no_timer() -> None:
    async def main() -> None:
        world = World()
        run = await world.run(fan(10, lambda _: asyncio.sleep(1, "in time"), kind=Kind.KIND_COROUTINE, **timed(5)))
        assert run.counts[2] == 10 and len(world.scheduler.turns.timers) == 0 and not world.failed

    run_virtual(main())


def test_a_step_that_swallows_its_cancellation_is_left_behind() -> None:
    async def main() -> None:
        world, gate = World(), asyncio.Event()

        async def stubborn(_: Any) -> str:
            while not gate.is_set():
                try:
                    await gate.wait()
                except asyncio.CancelledError:
                    continue
            return "late"

        run = await world.run(line(stubborn, **timed(5)))
        assert world.loop.time() == 6.0 and run.counts == (1, 0, 0, 1, 0) and type(world.failed[0][1]) is TimeoutError
        assert world.scheduler.counters.value("late_outcomes") == 0 and world.scheduler.running == 0
        gate.set()
        await turns()
        assert world.scheduler.counters.value("late_outcomes") == 1 and not Stepper(run).has_output(0)
        assert world.scheduler.running == 0

    run_virtual(main())


def test_a_step_that_spins_is_cancelled_too() -> None:
    async def spins(_: Any) -> None:
        while True:
            await asyncio.sleep(0)
            loop._virtual.now += 0.1  # type: ignore[attr-defined]

    async def main() -> None:
        nonlocal loop
        loop = asyncio.get_running_loop()
        world = World()
        await world.run(line(spins, **timed(1)))
        assert type(world.failed[0][1]) is TimeoutError

    loop: Any = None
    run_virtual(main())


def test_expire_ends_an_attempt_before_its_time() -> None:
    async def main() -> None:
        world, gate = World(), asyncio.Event()
        run = world.scheduler.start(line(lambda _: gate.wait(), kind=Kind.KIND_COROUTINE, **timed(50)), None)
        await turns()
        assert world.scheduler.expire(run, 0) and world.loop.time() == 0
        await world.finished(run)
        assert type(world.failed[0][1]) is TimeoutError and world.loop.time() < 1
        assert not world.scheduler.expire(run, 0) and len(world.scheduler.turns.timers) == 0

    run_virtual(main())

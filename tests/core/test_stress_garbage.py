"""Scheduler: what nobody refers to is collected, with all that was under way, and the collector may come any time.

Lives here: dropped schedulers, closed loops, interpreters that end, collections amid everything. Does not live here:
counts of references after plain ends (``test_scheduler_memory.py``).
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import uvloop

from flow_core.core.handler import Handler
from flow_core.core.run import Run
from flow_core.core.scheduler import Scheduler
from flow_core.core.status_table import StatusTable
from flow_core.core.task import StepTask
from tests.aio import run as on_loop
from tests.core.kit import World, echo, fan, line, timed, turns


@pytest.fixture(autouse=True)
def no_automatic_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left(*kinds: type) -> int:
    return sum(isinstance(each, kinds) for each in gc.get_objects())


async def stuck(value: Any) -> Any:
    await asyncio.get_running_loop().create_future()


def blocked(world: World) -> list[Any]:
    return [world.scheduler.start(fan(3, echo), each) for each in range(3)]


STATES = {
    "waiting for a future": lambda world: world.scheduler.start(fan(3, stuck), 1),
    "with deadlines": lambda world: world.scheduler.start(fan(3, stuck, **timed(3600.0)), 1),
    "in a turn's queue": lambda world: world.scheduler.start(fan(3, lambda value: asyncio.sleep(0)), 1),
    "in a thread": lambda world: world.scheduler.start(fan(3, lambda value: value), 1),
    "waiting for a slot": blocked,
    "never driven": lambda world: world.scheduler.prepare(line(echo), 1),
    "held by itself": lambda world: world.scheduler.start(line(stuck), [world]),
}


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("state", STATES)
def test_a_dropped_scheduler_is_collected_with_what_was_under_way(state: str, factory: Any) -> None:
    before, loop = left(Run, StepTask), factory()

    async def main() -> Any:
        world = World(limit=0 if state == "waiting for a slot" else 100)
        world.hold_threads = True
        STATES[state](world)  # type: ignore[no-untyped-call]
        if state != "in a turn's queue":
            await turns()
        assert world.scheduler.live >= 1
        return weakref.ref(world), [weakref.ref(run) for run in world.scheduler.runs_known()]

    world, runs = loop.run_until_complete(main())
    loop.close()
    del loop
    gc.collect()
    gc.collect()
    assert world() is None and [run() for run in runs] == [None] * len(runs) and runs
    assert left(Run, StepTask) <= before


def test_what_is_under_way_is_not_collected_while_the_loop_knows_it() -> None:
    async def main() -> None:
        done: list[Any] = []

        async def step(value: Any) -> Any:
            await asyncio.sleep(0.001)
            done.append(value)

        World().scheduler.start(fan(3, step, **timed(9.0)), 5)
        for _ in range(50):
            gc.collect()
            await asyncio.sleep(0.0005)
            if len(done) == 3:
                break
        assert done == [5, 5, 5]

    on_loop(main())


def test_a_collection_at_every_chance() -> None:
    async def step(value: Any) -> Any:
        await asyncio.sleep(0)
        return [value, asyncio.current_task()]

    async def main() -> None:
        world = World(limit=3)
        gc.enable()
        threshold = gc.get_threshold()
        gc.set_threshold(1, 1, 1)
        try:
            for plan in (line(step, echo, step), fan(5, step, **timed(3600.0)), fan(4, lambda value: [value])):
                for held in [world.scheduler.start(plan, [each]) for each in range(3)]:
                    await world.finished(held)
        finally:
            gc.set_threshold(*threshold)
        scheduler = world.scheduler
        assert (scheduler.running, scheduler.live, len(scheduler.turns.timers), len(scheduler.turns.queue)) == (
            0,
            0,
            0,
            0,
        )

    on_loop(main())


ENDS = {
    "loop left running": "loop.run_until_complete(begin())",
    "loop closed": "loop.run_until_complete(begin()); loop.close()",
    "everything in a cycle": "loop.run_until_complete(begin()); flow.myself = flow; del flow, loop",
    "run": "asyncio.run(begin())",
    "exit in a step": "loop.run_until_complete(end())",
}


@pytest.mark.parametrize("end", ENDS)
def test_the_interpreter_ends_while_executions_are_under_way(end: str) -> None:
    script = """
        import asyncio, sys, threading
        from flow_core import Flow, Step
        loop = asyncio.new_event_loop()
        flow = Flow()
        gate = threading.Event()

        async def stuck(value):
            await asyncio.sleep(3600)

        def thread(value):
            gate.wait(0.05)

        async def leave(value):
            await asyncio.sleep(0)
            sys.exit(0)

        async def begin():
            steps = [Step("a", stuck, timeout=3000), Step("b", thread), Step("c", stuck, after="b")]
            await flow.create_steps("f", steps)
            for each in range(3):
                await flow.execute("f", each, async_=True)
            await asyncio.sleep(0)

        async def end():
            await begin()
            await flow.create_step("g", Step("a", leave))
            await flow.execute("g", 1)

        {end}
    """
    script = textwrap.dedent(script).replace("{end}", ENDS[end])
    done = subprocess.run([sys.executable, "-X", "faulthandler", "-c", script], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    assert b"Fatal" not in done.stderr and b"Segmentation" not in done.stderr, done.stderr.decode()


def test_collection_in_the_middle_of_a_constructor():
    # Each allocation inside the constructors may collect, and so traverse what is not finished yet.
    def make():
        loop = asyncio.new_event_loop()
        try:
            for _ in range(50):
                Scheduler(loop, table=StatusTable(8), handler=Handler())
        finally:
            loop.close()

    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        make()
    finally:
        gc.set_threshold(*threshold)

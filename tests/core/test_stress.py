"""Storms: random flows, random requests, many at once, on a virtual clock; then everything is counted.

Lives here: storms through `Scheduler` and through `Flow`. Does not live here: single cases
(``test_stress_reentry.py``).
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import threading
import weakref
from typing import Any

import pytest

from flow_core import Execution, Executor, Flow, Step
from flow_core.core.stepper import Stepper
from flow_core.core.task import StepTask
from flow_core.engine.machine import Machine
from flow_core.errors import FlowError
from flow_core.model.options import Retry
from flow_core.model.status import Status
from tests.aio import run_virtual
from tests.core.kit import World, fan, line, plan_of, timed, turns

#: Of each kind; CI's debug build, whose invariants are checked at every move, weathers more.
STORMS = int(os.environ.get("FLOW_STORMS", "8"))


def counted(scheduler: Any) -> None:
    """Nothing is left of what was done."""
    waiting = (len(scheduler.turns.queue), len(scheduler.slots.blocked), len(scheduler.turns.timers))
    assert (scheduler.running, scheduler.live, waiting) == (0, 0, (0, 0, 0))


def restless(chance: random.Random) -> Any:
    """A step that waits, fails or cancels itself by chance."""

    async def step(value: Any) -> Any:
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(chance.choice([0, 0, 0.5, 3]))
        if chance.random() < 0.1:
            raise ValueError(value)
        if chance.random() < 0.1:
            asyncio.current_task().cancel()  # type: ignore[union-attr]
        return value

    return step


@pytest.mark.parametrize("seed", range(STORMS))
def test_a_storm_through_the_scheduler(seed: int) -> None:
    chance = random.Random(seed)

    step = restless(chance)
    names = "abcdefgh"

    async def main() -> None:
        world = World(limit=chance.choice([1, 2, 5, 100]), budget=chance.choice([0.0, 0.001, 1.0]))
        after = {name: chance.sample(names[:k], chance.randrange(min(k, 3) + 1)) for k, name in enumerate(names)}
        plans = [line(step, step), fan(6, step, **timed(1.0)), plan_of(dict.fromkeys(names, step), after)]
        runs, tasks = list[Any](), list[Any]()
        for _ in range(60):
            runs.append(world.scheduler.start(chance.choice(plans), object(), limit=chance.randrange(4)))
            victim = chance.choice(runs)
            what = chance.randrange(6)
            if what == 0 and not victim.over:
                Stepper(victim).abandon_all(Status.ABORTED)
                world.scheduler.cancel_tasks(victim)
                world.scheduler.go_on(victim)
            elif what == 1 and not victim.over:
                Stepper(victim).abandon_all(Status.STOPPED)
                world.scheduler.finish(victim, Status.STOPPED)
            elif what == 2:
                world.scheduler.expire(victim, 0)
            elif what == 3:
                tasks = world.scheduler.cancel_tasks(victim)
                while tasks:
                    if chance.random() < 0.5 and world.scheduler.detach(tasks[-1]) and not victim.over:
                        Stepper(victim).abandon(tasks[-1].index, Status.ABORTED)
                    tasks.pop()
                world.scheduler.go_on(victim)
            await turns(chance.randrange(3))
            Stepper(victim).check()
        for run in runs:
            await world.finished(run)
        await asyncio.sleep(100)
        counted(world.scheduler)
        dead = [weakref.ref(run) for run in runs]
        del run, runs, victim, tasks
        world.failed.clear()
        gc.collect()
        assert [ref() for ref in dead] == [None] * 60 and len(world.table) == 0

    run_virtual(main())


def flow_steps(chance: random.Random, flow: Flow, handles: list[Execution], waiting: bool) -> list[Step]:  # noqa: C901
    """A random flow whose steps fail, wait, time out, nest, work in threads, and ask for the end of executions."""

    async def coroutine(value: Any) -> Any:
        if chance.random() < 0.5:
            await asyncio.sleep(chance.choice([0, 0.1, 2.0]))
        if handles and waiting and chance.random() < 0.1:
            victim = chance.choice(handles)  # perhaps its own
            await ask(chance, victim)
        if chance.random() < 0.2:
            raise ValueError("step")
        return b"1"

    def thread(value: Any) -> Any:
        if chance.random() < 0.2:
            raise OSError("thread")
        return b"2"

    async def nested(ctx: Any, value: Any) -> Any:
        return await flow.call("leaf", b"3")

    async def undo(value: Any) -> Any:
        await asyncio.sleep(chance.choice([0, 0, 1.0]))
        if chance.random() < 0.2:
            raise ValueError("undo")

    steps: list[Step] = []
    for k in range(chance.randrange(1, 7)):
        more: dict[str, Any] = {"after": [each.id for each in chance.sample(steps, chance.randrange(min(k, 2) + 1))]}
        more["join"] = chance.choice(["all", "all", "any", "done"]) if more["after"] else "all"
        if chance.random() < 0.4:
            more["retry"] = Retry(2, initial=0.5)
        if chance.random() < 0.3:
            more["timeout"] = 1.0
        if chance.random() < 0.2:
            more["total_timeout"] = 2.0
        if chance.random() < 0.3:
            more["fallback"] = coroutine
        if chance.random() < 0.3:
            more["compensation"] = undo
        if chance.random() < 0.2:
            more["allow_fail"] = True
        steps.append(
            Step(f"s{k}", chance.choice([coroutine, coroutine, thread, nested if waiting else coroutine]), **more)
        )
    return steps


async def ask(chance: random.Random, victim: Execution) -> None:
    """A random request; one that is too late is refused."""
    what = chance.randrange(4)
    try:
        if what == 0:
            await victim.abort(rollback=chance.random() < 0.5)
        elif what == 1:
            await victim.pause()
        elif what == 2:
            await victim.resume()
        else:
            victim.history()
    except FlowError:
        pass


@pytest.mark.parametrize("seed", range(STORMS))
def test_a_storm_through_the_flow(seed: int) -> None:  # noqa: C901 - a storm
    chance = random.Random(seed)

    async def main() -> None:
        handles: list[Execution] = []
        slots = chance.choice([1, 3, 1000])
        flow = Flow(executor=Executor(concurrency=slots, keep=3))
        await flow.create_step("leaf", Step("x", lambda value: value))
        for k in range(3):
            await flow.create_steps(f"f{k}", flow_steps(chance, flow, handles, slots > 3))
        askers = set()
        for _ in range(30):
            timeout = chance.choice([None, None, 5.0])
            handles.append(await flow.execute(f"f{chance.randrange(3)}", b"0", async_=True, timeout=timeout))
            askers.add(asyncio.create_task(ask(chance, chance.choice(handles))))
            await turns(chance.randrange(3))
        for handle in handles:
            if handle.status is Status.PAUSED:
                await handle.resume()
        scheduler = flow.executor.scheduler
        for _ in range(20_000):
            if not scheduler.live:
                break
            for run in scheduler.runs_known():
                if not run.over and run.status is Status.PAUSED:
                    await run.resume()
            await asyncio.to_thread(int)  # the clock must not run ahead of busy threads
            await asyncio.sleep(1)
        await asyncio.gather(*askers, return_exceptions=True)
        for handle in handles:
            Stepper(handle).check()
        await asyncio.sleep(100)
        counted(scheduler)
        await flow.stop()

    before = sum(isinstance(each, Execution | StepTask | Machine) for each in gc.get_objects())
    run_virtual(main(), threads=True)
    for thread in threading.enumerate():  # their last frames hold on to what they worked for
        if thread.name.startswith("flow-core"):
            thread.join(10)
    gc.collect()
    assert sum(isinstance(each, Execution | StepTask | Machine) for each in gc.get_objects()) <= before

"""Steps that misbehave, and unusual shapes of steps: what they do to themselves, and to nobody else.

Lives here: impossible yields, every kind of exception, callables that give other awaitables, nesting, crowds. Does not
live here: well-behaved use of asyncio (``test_asyncio_world.py``).
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.core.kit import Main, World, fan, in_a_step, line

# --- misbehaviour -----------------------------------------------------------------------------------------------------


class Yields:
    """An awaitable that yields whatever it is given."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __await__(self) -> Any:
        return (yield self.thing)


class Broken:
    """It has the flag of a future, and nothing else of it."""

    _asyncio_future_blocking = True


@pytest.mark.parametrize(
    "thing", [5, "text", object(), (x for x in ()), Broken()], ids=lambda thing: type(thing).__name__
)
@pytest.mark.parametrize("later", [False, True])
def test_yielding_garbage_is_an_error_in_the_step(run: Main, thing: Any, later: bool) -> None:
    async def step(_: Any) -> str:
        if later:
            await asyncio.sleep(0)
        with pytest.raises((RuntimeError, AttributeError)):
            await Yields(thing)
        return "went on"

    assert in_a_step(run, step) == "went on"


def test_yielding_a_future_without_awaiting_it(run: Main) -> None:
    async def main() -> None:
        async def step(_: Any) -> None:
            await Yields(asyncio.get_running_loop().create_future())

        with pytest.raises(RuntimeError, match="yield was used instead of yield from"):
            await World().result(step)

    run(main())


def test_awaiting_itself_and_other_loops(run: Main) -> None:
    other = asyncio.new_event_loop()

    async def step(_: Any) -> None:
        with pytest.raises(RuntimeError, match="cannot await on itself"):
            await asyncio.current_task()
        with pytest.raises(RuntimeError, match="different loop"):
            await other.create_future()

    try:
        in_a_step(run, step)
    finally:
        other.close()


@pytest.mark.parametrize(
    "error", [KeyError("x"), GeneratorExit(), RuntimeError("y"), BaseExceptionGroup("z", [KeyError()])], ids=repr
)
@pytest.mark.parametrize("later", [False, True])
def test_what_a_step_raises_ends_it(run: Main, error: BaseException, later: bool) -> None:
    async def step(_: Any) -> None:
        if later:
            await asyncio.sleep(0)
        raise error

    async def main() -> None:
        world = World()
        ended = await world.run(line(step, step))
        assert world.failed == [(0, error)] and ended.counts == (2, 0, 0, 1, 1)
        assert world.scheduler.live == world.scheduler.running == 0

    run(main())


def test_stop_iteration_is_no_result(run: Main) -> None:
    async def step(_: Any) -> None:
        raise StopIteration(3)

    with pytest.raises(RuntimeError, match="StopIteration"):
        in_a_step(run, step)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("later", [False, True])
def test_interrupts_reach_the_loop_and_the_record(run: Main, error: type[BaseException], later: bool) -> None:
    worlds = []

    async def step(_: Any) -> None:
        if later:
            await asyncio.sleep(0)
        raise error("now")

    async def main() -> None:
        worlds.append(World())
        started = worlds[0].scheduler.start(line(step, step), None)
        await worlds[0].finished(started)

    with pytest.raises(error):
        run(main())
    ((index, raised),) = worlds[0].failed
    assert index == 0 and type(raised) is error
    assert worlds[0].scheduler.live == worlds[0].scheduler.running == 0


# --- shapes of callables ----------------------------------------------------------------------------------------------


def test_callables_that_give_other_awaitables(run: Main) -> None:
    class Answer:
        def __await__(self) -> Any:
            yield from asyncio.sleep(0).__await__()
            return "awaitable"

    async def main() -> None:
        world, loop = World(), asyncio.get_running_loop()

        def future(_: Any) -> Any:
            made = loop.create_future()
            loop.call_soon(made.set_result, "future")
            return made

        def task(_: Any) -> Any:
            return loop.create_task(asyncio.sleep(0, "task"))

        for function, wanted in ((future, "future"), (task, "task"), (lambda _: Answer(), "awaitable")):
            plan = line(function, kind=1)
            assert (await world.run(plan)).output(0) == wanted
        ended = await world.run(line(lambda _: 5, kind=1))
        assert ended.counts[3] == 1 and "not an awaitable" in str(world.failed[-1][1])

    run(main())


def test_steps_start_executions_a_hundred_deep(run: Main) -> None:
    async def main() -> None:
        world = World()

        async def step(depth: int) -> int:
            if depth == 0:
                return 0
            task = asyncio.current_task()
            inner = world.scheduler.start(plan, depth - 1)
            assert asyncio.current_task() is task
            await world.finished(inner)
            assert asyncio.current_task() is task
            return 1 + inner.output(0)

        plan = line(step)
        assert (await world.run(plan, 150)).output(0) == 150

    run(main())


def test_a_step_that_waits_while_a_thousand_others_run(run: Main) -> None:
    async def main() -> None:
        world, gate, seen = World(), asyncio.Event(), []

        async def waits(_: Any) -> str:
            task = asyncio.current_task()
            await gate.wait()
            assert asyncio.current_task() is task
            return "waited"

        async def other(_: Any) -> None:
            seen.append(asyncio.current_task().get_name())
            await asyncio.sleep(0)

        waiting = world.scheduler.start(line(waits), None)
        await world.run(fan(1000, other))
        gate.set()
        assert (await world.finished(waiting)).output(0) == "waited"
        assert len(set(seen)) == 1000

    run(main())


def test_steps_are_not_among_all_tasks(run: Main) -> None:
    async def main() -> None:
        world, gate = World(), asyncio.Event()

        async def step(_: Any) -> None:
            await gate.wait()

        started = world.scheduler.start(line(step), None)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        gate.set()
        await world.finished(started)

    run(main())

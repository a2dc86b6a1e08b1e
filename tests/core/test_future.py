"""EndFuture: whoever waits for the end of an execution goes on in the callback that ends it."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest

from flow_core.core.future import EndFuture
from flow_core.core.stepper import Stepper
from flow_core.model.status import Status
from tests.aio import run, run_virtual
from tests.core.kit import World, echo, fan, line, turns


class Door:
    """A step body that waits for a future."""

    def __init__(self) -> None:
        self.future = asyncio.get_running_loop().create_future()
        self.context: contextvars.Context | None = None

    async def __call__(self, value: Any) -> Any:
        task: Any = asyncio.current_task()
        self.context = task.get_context()
        return await self.future


async def waiting(world: World, body: Any) -> tuple[Any, EndFuture]:
    started = world.scheduler.start(line(body, echo), 1)
    waiter = world.scheduler.waiter(started)
    assert waiter is not None
    return started, waiter


def test_a_caller_goes_on_in_the_callback_that_ends_its_execution() -> None:
    async def main() -> None:
        world, loop, order = World(), asyncio.get_running_loop(), []
        door = Door()
        _, waiter = await waiting(world, door)

        async def caller() -> None:
            await waiter
            assert asyncio.current_task() is task
            order.append("caller")

        task = loop.create_task(caller())
        await turns()
        door.future.set_result(2)  # its callback is scheduled now
        loop.call_soon(order.append, "next callback")
        await task
        await turns()
        assert order == ["caller", "next callback"]

    run_virtual(main())


def test_what_ends_in_a_task_is_told_in_the_next_turn() -> None:
    async def main() -> None:
        world, order = World(), []
        execution, waiter = await waiting(world, Door())
        task = asyncio.ensure_future(_note(waiter, order, "caller"))
        await turns()
        Stepper(execution).abandon_all(Status.STOPPED)
        world.scheduler.finish(execution, Status.STOPPED)
        order.append("who ended it")  # a task is current: another one can't go on inside of it
        await task
        assert order == ["who ended it", "caller"]

    run_virtual(main())


async def _note(waiter: Any, order: list[str], text: str) -> None:
    await waiter
    order.append(text)


def test_a_caller_may_start_and_await_others_where_it_goes_on() -> None:
    async def main() -> None:
        world, depth = World(), 2_000

        async def pause(value: int) -> int:
            await asyncio.sleep(0)
            return value + 1

        async def caller() -> int:
            value = 0
            for _ in range(depth):
                value = (await world.run(line(pause, pause), value)).output(1)
            return value

        assert await asyncio.gather(*(caller() for _ in range(3))) == [2 * depth] * 3

    run(main())


def test_one_that_raises_keeps_nobody_from_hearing() -> None:
    async def main() -> None:
        world, loop, heard, told = World(), asyncio.get_running_loop(), [], []
        loop.set_exception_handler(lambda _, context: told.append(context))
        door = Door()
        _, waiter = await waiting(world, door)
        waiter.add_done_callback(lambda _: 1 / 0)
        waiter.add_done_callback(heard.append)
        door.future.set_result(None)
        await turns()
        assert heard == [waiter] and waiter.done() and waiter.result() is None
        assert [type(context["exception"]) for context in told] == [ZeroDivisionError]

    run_virtual(main())


def test_what_must_end_the_loop_ends_it_when_the_others_have_heard() -> None:
    loop, heard = asyncio.new_event_loop(), []

    async def main() -> None:
        world, door = World(), Door()
        _, waiter = await waiting(world, door)

        def interrupt(_: Any) -> None:
            raise KeyboardInterrupt

        waiter.add_done_callback(interrupt)
        waiter.add_done_callback(heard.append)
        door.future.set_result(None)
        await asyncio.sleep(30)

    task = loop.create_task(main())
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(task)
    assert len(heard) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def test_a_callback_whose_context_is_entered_already_waits_for_the_next_turn() -> None:
    async def main() -> None:
        world, door, order = World(), Door(), []
        _, waiter = await waiting(world, door)
        waiter.add_done_callback(lambda _: order.append("in the step's own context"), context=door.context)
        waiter.add_done_callback(lambda _: order.append("in another"))
        door.future.set_result(None)
        await turns()
        assert order == ["in another", "in the step's own context"]

    run_virtual(main())


def test_a_wait_that_is_cancelled_leaves_the_execution_alone() -> None:
    async def main() -> None:
        world, door = World(), Door()
        execution, waiter = await waiting(world, door)
        task = asyncio.ensure_future(_note(waiter, [], "never"))
        await turns()
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task
        assert waiter.cancelled() and not waiter.cancel() and not execution.over
        door.future.set_result(7)
        assert (await world.finished(execution)).output(1) == 7

    run_virtual(main())


def test_it_is_a_future_to_asyncio() -> None:
    async def main() -> None:
        world, door = World(), Door()
        _, waiter = await waiting(world, door)
        assert asyncio.isfuture(waiter) and waiter.get_loop() is asyncio.get_running_loop()
        waits = [asyncio.shield(waiter), asyncio.wait_for(waiter, 5), asyncio.wait([waiter])]  # type: ignore[list-item]
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        await turns()
        door.future.set_result(1)
        results = await asyncio.gather(*tasks)
        assert results[:2] == [None, None] and results[2] == ({waiter}, set())
        assert waiter.cancel() is False and await waiter is None

    run_virtual(main())


def test_no_turn_is_scheduled_for_what_the_budget_has_room_for() -> None:
    async def main() -> None:
        world = World()

        async def pause(value: Any) -> Any:
            await asyncio.get_running_loop().create_task(asyncio.sleep(0))
            return value

        await world.run(fan(3, pause))
        before = world.scheduler.turns.count
        for _ in range(100):
            await world.run(line(pause, echo), 1)
        assert world.scheduler.turns.count - before <= 1

    run_virtual(main())

"""The world of asyncio as a step sees it: as inside any task, on the stdlib's loop and on uvloop.

Lives here: what code of a step may do with its task and with the synchronization primitives. Does
not live here: the semantics of tasks one by one (``test_asyncio_semantics.py``), context variables
(``test_step_context.py``), limits and deadlines (``test_scheduler.py``).
"""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import pytest

from flow_core.core.task import StepTask
from tests.core.kit import Main, World, fan, in_a_step, line, turns

# --- the task ---------------------------------------------------------------------------------------------------------


def test_current_task_is_a_task_like_object(run: Main) -> None:
    async def step(_: Any) -> Any:
        task = asyncio.current_task()
        assert isinstance(task, StepTask) and asyncio.isfuture(task)
        assert task.get_name() == "kit/s0" and not task.done() and task.get_loop() is asyncio.get_running_loop()
        assert task.get_coro().cr_code.co_name == "step"
        assert "kit/s0" in repr(task)
        return "done"

    assert in_a_step(run, step) == "done"


def test_every_step_that_suspends_has_a_task_of_its_own_and_keeps_it(run: Main) -> None:
    tasks = []

    async def step(_: Any) -> None:
        before = asyncio.current_task()
        tasks.append(before)
        await asyncio.sleep(0)
        assert asyncio.current_task() is before
        await asyncio.sleep(0.001)
        assert asyncio.current_task() is before

    async def main() -> None:
        caller = asyncio.current_task()
        run = await World().run(fan(10, step))
        assert run.counts[2] == 10 and asyncio.current_task() is caller

    run(main())
    assert len(set(map(id, tasks))) == 10
    assert all(task.done() and task.result() is None for task in tasks)


def test_a_step_keeps_its_task_and_others_await_it(run: Main) -> None:
    kept: dict[str, Any] = {}

    async def instant(_: Any) -> str:
        kept["instant"] = asyncio.current_task()
        return "one"

    async def slow(_: Any) -> str:
        kept["slow"] = asyncio.current_task()
        await asyncio.sleep(0)
        return "two"

    async def failing(_: Any) -> None:
        kept["failing"] = asyncio.current_task()
        raise KeyError("three")

    async def main() -> None:
        world = World()
        for step in (instant, slow, failing):
            await world.run(line(step))
        assert await kept["instant"] == "one"
        assert await kept["slow"] == "two"
        with pytest.raises(KeyError, match="three"):
            await kept["failing"]
        assert kept["instant"] is not kept["slow"] and kept["slow"].get_name() == "kit/s0"

    run(main())


def test_a_task_awaited_before_it_ended(run: Main) -> None:
    async def main() -> None:
        world, box, gate = World(), [], asyncio.Event()

        async def step(_: Any) -> str:
            box.append(asyncio.current_task())
            await gate.wait()
            return "late"

        started = world.scheduler.start(line(step), None)
        waiting = asyncio.ensure_future(asyncio.wait_for(box[0], 10))
        await turns()
        gate.set()
        assert await waiting == "late"
        await world.finished(started)

    run(main())


@pytest.mark.parametrize("suspends", [False, True])
def test_done_callbacks_and_weak_references(run: Main, suspends: bool) -> None:
    called, dead = [], []

    async def step(_: Any) -> int:
        task = asyncio.current_task()
        task.add_done_callback(lambda t: called.append(t.result()))
        weakref.finalize(task, dead.append, 1)
        if suspends:
            await asyncio.sleep(0)
        return 7

    async def main() -> None:
        await World().run(line(step, step))
        await turns()
        gc.collect()

    run(main())
    assert called == [7, 7] and dead == [1, 1]


def test_a_callback_removed_is_not_called(run: Main) -> None:
    called: list[Any] = []

    async def step(_: Any) -> int:
        task = asyncio.current_task()
        task.add_done_callback(called.append)
        assert task.remove_done_callback(called.append) == 1
        return 1

    assert in_a_step(run, step) == 1 and not called


def test_name_of_one_step_is_not_the_next_ones(run: Main) -> None:
    names = []

    async def step(_: Any) -> None:
        names.append(asyncio.current_task().get_name())

    async def renamed(_: Any) -> None:
        asyncio.current_task().set_name("mine")

    async def main() -> None:
        await World().run(line(step, renamed, step, step))

    run(main())
    assert names == ["kit/s0", "kit/s2", "kit/s3"]


# --- asyncio ----------------------------------------------------------------------------------------------------------


def test_timeout_wait_for_and_gather(run: Main) -> None:
    async def step(_: Any) -> list[int]:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.001)
        assert asyncio.current_task().cancelling() == 0
        async with asyncio.timeout(60):
            return await asyncio.gather(*(asyncio.sleep(0, i) for i in range(5)))

    assert in_a_step(run, step) == [0, 1, 2, 3, 4]


def test_task_group(run: Main) -> None:
    async def child(value: int) -> int:
        await asyncio.sleep(0)
        return value

    async def broken() -> None:
        raise LookupError

    async def breaks() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(broken())
            await asyncio.Event().wait()

    async def step(_: Any) -> int:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(child(i)) for i in range(4)]
        with pytest.raises(ExceptionGroup) as caught:
            await breaks()
        assert caught.group_contains(LookupError)
        return sum(task.result() for task in tasks)

    assert in_a_step(run, step) == 6


def test_threads_shield_and_the_loop(run: Main) -> None:
    async def step(_: Any) -> str:
        assert await asyncio.to_thread(threading.get_ident) != threading.get_ident()
        inner = asyncio.ensure_future(asyncio.sleep(0, "kept"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(asyncio.Event().wait()), 0.001)
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, str, 5) == "5"
        return await asyncio.shield(inner)

    assert in_a_step(run, step) == "kept"


def test_locks_queues_and_events_between_steps(run: Main) -> None:
    async def main() -> None:
        world, lock, queue, full = World(), asyncio.Lock(), asyncio.Queue[int](2), asyncio.Event()
        inside, most = 0, 0

        async def producer(_: Any) -> None:
            nonlocal inside, most
            for i in range(20):
                async with lock:
                    inside += 1
                    most = max(most, inside)
                    await asyncio.sleep(0)
                    inside -= 1
                await queue.put(i)
            full.set()

        async def consumer(_: Any) -> int:
            got = sum([await queue.get() for _ in range(20)])
            await full.wait()
            return got

        runs = [world.scheduler.start(line(step), None) for step in (producer, consumer, producer, consumer)]
        for each in runs:
            await world.finished(each)
        assert sum(each.output(0) or 0 for each in runs) == 2 * sum(range(20)) and most == 1

    run(main())


def test_async_generators(run: Main) -> None:
    closed = []

    async def numbers() -> Any:
        try:
            for i in range(10):
                await asyncio.sleep(0)
                yield i
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    async def step(_: Any) -> int:
        found, generator = 0, numbers()
        async for number in generator:
            found += number
            if number == 4:
                break
        await generator.aclose()
        return found + sum([number async for number in numbers()])

    assert in_a_step(run, step) == 10 + 45 and closed == [True, True]


# --- cancellation -----------------------------------------------------------------------------------------------------


def test_cancelled_from_outside(run: Main) -> None:
    seen = []

    async def step(_: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            seen.append(error.args)
            await asyncio.sleep(0)  # a cancelled step may still clean up
            seen.append("cleaned")
            raise

    async def main() -> None:
        world = World()
        started = world.scheduler.start(line(step), None)
        (task,) = world.scheduler.cancel_tasks(started)
        await world.finished(started)
        assert task.cancelled() and [type(error) for _, error in world.failed] == [asyncio.CancelledError]
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert seen == [(), "cleaned"]


@pytest.mark.parametrize("suspends_before", [False, True])
@pytest.mark.parametrize("suspends_after", [False, True])
def test_cancels_itself(run: Main, suspends_before: bool, suspends_after: bool) -> None:
    after = []

    async def step(_: Any) -> None:
        if suspends_before:
            await asyncio.sleep(0)
        assert asyncio.current_task().cancel("enough")
        after.append("still here")
        if suspends_after:
            await asyncio.sleep(0)
            after.append("not here")

    with pytest.raises(asyncio.CancelledError, match="enough"):
        in_a_step(run, step)
    assert after == ["still here"]


def test_cancellation_taken_back(run: Main) -> None:
    async def step(_: Any) -> int:
        task = asyncio.current_task()
        task.cancel()
        assert task.cancelling() == 1
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            assert task.uncancel() == 0
        await asyncio.sleep(0)
        return task.cancelling()

    assert in_a_step(run, step) == 0


def test_a_swallowed_cancellation_is_a_success(run: Main) -> None:
    async def step(_: Any) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "fine"
        return "never"

    async def main() -> None:
        world = World()
        started = world.scheduler.start(line(step), None)
        world.scheduler.cancel_tasks(started)
        assert (await world.finished(started)).output(0) == "fine"

    run(main())

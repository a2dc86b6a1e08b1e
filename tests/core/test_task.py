"""StepTask on its own, made from Python as loops with a task factory make it.

Lives here: what CPython's tests do not say: running next to ordinary tasks, names, who holds what. Does not live here:
those tests (``test_asyncio_semantics.py``), tasks inside a flow (``test_asyncio_world.py``).
"""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Coroutine
from contextvars import ContextVar, copy_context
from types import GenericAlias
from typing import Any

import pytest

from flow_core.core.task import StepTask
from tests.core.kit import Main, turns

number: ContextVar[int] = ContextVar("number", default=0)


async def value_of(value: Any, rounds: int = 1) -> Any:
    for _ in range(rounds):
        await asyncio.sleep(0)
    return value


async def raises(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


def test_as_a_task_factory_of_every_loop(run: Main) -> None:
    def factory(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **more: Any) -> Any:
        return StepTask(coro, loop=loop, **more)

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        task = asyncio.create_task(value_of(3), name="three")
        assert isinstance(task, StepTask) and task in asyncio.all_tasks()
        assert await task == 3 and task not in asyncio.all_tasks()
        assert await asyncio.gather(*map(value_of, range(5))) == list(range(5))
        async with asyncio.TaskGroup() as group:
            inner = group.create_task(value_of("inner", 5))
        assert inner.result() == "inner"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.001)
        done, pending = await asyncio.wait(
            [asyncio.create_task(value_of(1)), asyncio.create_task(value_of(2, 50))],
            return_when=asyncio.FIRST_COMPLETED,
        )
        assert len(done) == len(pending) == 1
        assert await pending.pop() == 2

    run(main())


def test_outcomes_and_their_readers(run: Main) -> None:
    async def main() -> None:
        good, bad, gone = StepTask(value_of(1)), StepTask(raises(KeyError("x"))), StepTask(value_of(2, 100))
        for task in (good, bad, gone):
            for reader in (task.result, task.exception):
                with pytest.raises(asyncio.InvalidStateError):
                    reader()
        await turns(1)
        gone.cancel("enough")
        await turns()
        assert all(task.done() for task in (good, bad, gone))
        assert good.result() == 1 and good.exception() is None and not good.cancelled()
        assert repr(bad.exception()) == "KeyError('x')" and gone.cancelled()
        for reader in (gone.result, gone.exception):
            with pytest.raises(asyncio.CancelledError, match="enough"):
                reader()
        assert not gone.cancel() and not good.cancel()

    run(main())


def test_raising_the_same_error_again_does_not_make_its_traceback_longer() -> None:
    def length(error: BaseException) -> int:
        frame, count = error.__traceback__, 0
        while frame is not None:
            frame, count = frame.tb_next, count + 1
        return count

    async def main() -> set[int]:
        task, lengths = StepTask(raises(KeyError("x"))), set()
        for _ in range(5):
            try:
                await task
            except KeyError as error:
                lengths.add(length(error))
        return lengths

    assert len(asyncio.run(main())) == 1


def test_a_returned_exception_is_a_result(run: Main) -> None:
    async def main() -> None:
        error = KeyError("returned")
        assert await StepTask(value_of(error)) is error

    run(main())


def test_the_error_of_a_future_is_thrown_into_an_awaitable_of_any_make(run: Main) -> None:
    class Careless:
        """Yields a future and never asks it for its result: the task must throw the error."""

        def __init__(self, future: asyncio.Future[None]) -> None:
            self.future = future

        def __await__(self) -> Any:
            self.future._asyncio_future_blocking = True
            yield self.future

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def body() -> None:
            future = loop.create_future()
            loop.call_soon(future.set_exception, LookupError("theirs"))
            await Careless(future)

        with pytest.raises(LookupError, match="theirs"):
            await StepTask(body())

    run(main())


def test_context_given_and_copied(run: Main) -> None:
    async def body() -> int:
        number.set(number.get() + 1)
        await asyncio.sleep(0)
        return number.get()

    async def main() -> None:
        number.set(10)
        given = copy_context()
        assert await StepTask(body()) == 11 and number.get() == 10
        task = StepTask(body(), context=given)
        assert await task == 11 and given[number] == 11 and task.get_context() is given

    run(main())


def test_eager_start_runs_before_the_constructor_returns(run: Main) -> None:
    async def main() -> None:
        caller, seen = asyncio.current_task(), []

        async def body(rounds: int) -> str:
            seen.append(asyncio.current_task())
            return await value_of("eager", rounds)

        instant = StepTask(body(0), eager_start=True)
        assert instant.done() and instant.result() == "eager" and asyncio.current_task() is caller
        assert seen == [instant] and instant not in asyncio.all_tasks()
        waits = StepTask(body(1), eager_start=True)
        assert not waits.done() and waits in asyncio.all_tasks() and await waits == "eager"

    run(main())


def test_names_and_aliases() -> None:
    async def main() -> None:
        first, named = StepTask(value_of(1)), StepTask(value_of(1), name="named")
        assert first.get_name().startswith("Task-") and named.get_name() == "named"
        named.set_name(5)
        assert named.get_name() == "5" and "name='5'" in repr(named)
        await asyncio.gather(first, named)
        assert isinstance(StepTask[int], GenericAlias)
        for setter in (first.set_result, first.set_exception):
            with pytest.raises(RuntimeError, match="does not support"):
                setter(None)  # type: ignore[arg-type]

    asyncio.run(main())


@pytest.mark.parametrize("thing", [5, None, value_of, [1]])
def test_only_coroutines(thing: Any) -> None:
    with pytest.raises(TypeError, match="a coroutine was expected"):
        StepTask(thing)


def test_an_error_nobody_asked_for_is_told(run: Main) -> None:
    told: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        task = StepTask(raises(KeyError("lonely")))
        await turns()
        assert task.done()
        del task
        gc.collect()

    run(main())
    assert [context["message"] for context in told] == ["StepTask exception was never retrieved"]
    assert repr(told[0]["exception"]) == "KeyError('lonely')"


def test_a_finished_task_dies_at_once() -> None:
    async def main() -> None:
        task = StepTask(value_of([]))
        dead = weakref.ref(task)
        await task
        await turns(2)
        del task
        gc.collect()
        assert dead() is None

    asyncio.run(main())

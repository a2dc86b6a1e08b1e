"""Ids that callers give: the same one is the same execution, whoever asks for it."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from flow_core import Executor, Flow, Status, Step
from flow_core.errors import ExecutionConflict, InvalidId, StepFailed
from tests.aio import run_virtual
from tests.runtime.kit import Gate, echo, turns


async def boom(value: Any) -> Any:
    raise OSError("boom")


def test_the_same_id_is_the_same_execution() -> None:
    async def main() -> None:
        async with Flow() as flow:
            gate = Gate()
            await flow.create_step("f", Step("a", gate))
            first = await flow.execute("f", {"n": 1}, id="order-1", async_=True)
            again = await flow.execute("f", {"n": 1}, id="order-1", async_=True)
            assert again is first and first.id == "order-1"
            gate.open()
            assert (await flow.execute("f", {"n": 1}, id="order-1")) is first  # waits for the one that runs
            assert (await flow.execute("f", {"n": 1}, id="order-1")).response == {"n": 1}  # and is over: still that one
            assert gate.started == [{"n": 1}]

    run_virtual(main())


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await turns()


def test_cancelling_one_of_the_callers_of_an_id_leaves_it_to_the_others() -> None:
    async def main() -> None:
        async with Flow() as flow:
            gate = Gate()
            await flow.create_step("f", Step("a", gate))
            first, second, third = [asyncio.ensure_future(flow.execute("f", 1, id="order-1")) for _ in range(3)]
            await turns()
            await cancelled(first)
            await cancelled(third)
            assert await flow.executor.status("f", "order-1") is Status.RUNNING
            gate.open()
            assert (await second).status is Status.SUCCESS

    run_virtual(main())


def test_cancelling_all_callers_of_an_id_aborts_it() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("f", Step("a", Gate()))
            tasks = [asyncio.ensure_future(flow.execute("f", 1, id="order-1")) for _ in range(3)]
            await turns()
            for task in tasks:
                assert await flow.executor.status("f", "order-1") is Status.RUNNING
                await cancelled(task)
            assert await flow.executor.status("f", "order-1") is Status.ABORTED

    run_virtual(main())


def test_a_caller_that_joins_an_execution_in_the_background_leaves_it_alone() -> None:
    async def main() -> None:
        async with Flow() as flow:
            gate = Gate()
            await flow.create_step("f", Step("a", gate))
            handle = await flow.execute("f", 1, id="order-1", async_=True)
            for _ in range(2):
                task = asyncio.ensure_future(flow.execute("f", 1, id="order-1"))
                await turns()
                await cancelled(task)
            gate.open()
            assert await handle.wait() is Status.SUCCESS

    run_virtual(main())


def test_the_same_id_with_something_else_is_a_conflict() -> None:
    async def main() -> None:
        async with Flow() as flow:
            for name in ("f", "g"):
                await flow.create_step(name, Step("a", echo))
            first = await flow.execute("f", 1, id="x")
            with pytest.raises(ExecutionConflict, match="another request") as caught:
                await flow.execute("f", 2, id="x")
            assert caught.value.execution is first and caught.value.fix
            with pytest.raises(ExecutionConflict, match="flow 'f'"):
                await flow.execute("g", 1, id="x")
            with pytest.raises(InvalidId):
                await flow.execute("f", 1, id="not an id")
            assert flow.executor.statistics().executions_started == 1

    run_virtual(main())


def test_a_failed_execution_of_an_id_stays_that_execution() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("f", Step("a", boom))
            for _ in range(2):
                with pytest.raises(StepFailed):
                    await flow.execute("f", id="x")
            assert flow.executor.statistics().executions_started == 1

    run_virtual(main())


def test_a_forgotten_id_is_free_again() -> None:
    async def main() -> None:
        async with Flow(executor=Executor(keep=1)) as flow:
            await flow.create_step("f", Step("a", echo))
            await flow.execute("f", 1, id="x")
            await flow.execute("f", 2, id="y")  # pushes x out
            gc.collect()
            assert (await flow.execute("f", 3, id="x")).response == 3

    run_virtual(main())

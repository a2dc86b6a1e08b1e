"""`Execution.history` and iterating over an execution: which moves are told, in which order, with which attempt."""

from __future__ import annotations

from typing import Any

from flow_core import Execution, Flow, Retry, Status, Step
from tests.aio import run_virtual


def flaky(fails: int) -> Any:
    calls = 0

    async def work() -> str:
        nonlocal calls
        calls += 1
        if calls <= fails:
            raise OSError(calls)
        return "done"

    return work


async def start(flow: Flow) -> Execution:
    retry = Retry(2, initial=10, factor=1, jitter="none")
    await flow.create_step("f", Step("a", flaky(2), retry=retry))
    return await flow.execute("f", async_=True)


def test_a_watcher_hears_of_each_attempt_when_it_starts():
    async def main() -> None:
        async with Flow() as flow:
            execution = await start(flow)
            moves = [(m.step, m.status, m.attempt, round(m.time - execution.span[0])) async for m in execution]
            assert moves == [
                (None, Status.RUNNING, 1, 0),
                ("a", Status.RUNNING, 1, 0),
                ("a", Status.RUNNING, 2, 10),
                ("a", Status.RUNNING, 3, 20),
                ("a", Status.SUCCESS, 3, 20),
                (None, Status.SUCCESS, 1, 20),
            ]

    run_virtual(main())


def test_the_history_of_a_step_that_waits_for_its_retry_has_the_attempt_that_was():
    async def main() -> None:
        async with Flow() as flow:
            execution = await start(flow)
            assert execution.step_status_of("a") is Status.PENDING
            assert [(m.step, m.status, m.attempt) for m in execution.history()] == [
                (None, Status.RUNNING, 1),
                ("a", Status.RUNNING, 1),
            ]
            await execution

    run_virtual(main())

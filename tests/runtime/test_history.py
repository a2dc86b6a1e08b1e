"""`Execution.history` and iterating over an execution: which moves are told, in which order, with which attempt."""

from __future__ import annotations

import asyncio
from typing import Any

from flow_core import Execution, Flow, Retry, Status, Step, Transition
from flow_core.core.stepper import Stepper
from tests.aio import run_virtual
from tests.runtime.kit import Gate


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
            moves = [(m.step, m.status, m.attempt, round(m.time - Stepper(execution).span[0])) async for m in execution]
            assert moves == [
                (None, Status.RUNNING, 1, 0),
                ("a", Status.RUNNING, 1, 0),
                ("a", Status.FAILURE, 1, 0),
                ("a", Status.RUNNING, 2, 10),
                ("a", Status.FAILURE, 2, 10),
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
                ("a", Status.FAILURE, 1),
            ]
            await execution

    run_virtual(main())


def test_an_attempt_before_the_fallback_is_told():
    async def main() -> None:
        async with Flow() as flow:
            step = Step("a", flaky(9), retry=Retry(1, initial=10, jitter="none"), fallback=flaky(0))
            await flow.create_step("f", step)
            execution = await flow.execute("f")
            assert [(m.status.name, m.attempt) for m in execution.history() if m.step] == [
                ("RUNNING", 1),
                ("FAILURE", 1),
                ("RUNNING", 2),
                ("FAILURE", 2),
                ("SUCCESS", 2),
            ]

    run_virtual(main())


def test_pauses_and_compensations_are_told_each_time():
    async def main() -> None:
        async with Flow() as flow:
            go_on = Gate()
            await flow.create_steps(
                "f",
                [
                    Step("a", flaky(0), compensation=flaky(0)),
                    Step("b", flaky(0), after="a", compensation=flaky(9)),
                    Step("gate", go_on, after="b"),
                    Step("c", flaky(9), after="gate"),
                ],
            )
            execution = await flow.execute("f", async_=True, rollback=True)
            watching = asyncio.ensure_future(_all(execution))
            for _ in range(2):
                await asyncio.sleep(1)
                await execution.pause()
                await asyncio.sleep(1)
                await execution.resume()
            go_on.open()
            await execution.wait()
            whole = [(m.step, m.status, round(m.time - Stepper(execution).span[0])) for m in execution.history()]
            assert [move for move in whole if move[0] is None] == [
                (None, Status.RUNNING, 0),
                (None, Status.PAUSED, 1),
                (None, Status.RUNNING, 2),
                (None, Status.PAUSED, 3),
                (None, Status.RUNNING, 4),
                (None, Status.FAILURE, 4),
            ]
            assert [move[:2] for move in whole if str(move[0]).endswith("compensation")] == [
                ("b.compensation", Status.FAILURE),
                ("a.compensation", Status.SUCCESS),
            ]
            assert sorted(await watching, key=str) == sorted(execution.history(), key=str)

    run_virtual(main())


async def _all(execution: Execution) -> list[Transition]:
    return [move async for move in execution]

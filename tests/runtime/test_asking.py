"""What can be asked of an execution: wait, pause, resume, abort."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import flow_core
from flow_core import Execution, Executor, Fallback, Flow, Retry, Status, Step, StepContext
from flow_core.errors import ExecutionAborted, ExecutionTimeout, IllegalMove, StepFailed, UnknownStep
from tests.aio import run_virtual
from tests.runtime.kit import Gate, chain, echo, turns


def now() -> float:
    return asyncio.get_running_loop().time()


async def started(flow: Flow, *steps: Step, request: Any = 1, **options: Any) -> Execution:
    await flow.create_steps("f", steps)
    return await flow.execute("f", request, async_=True, **options)


async def boom(value: Any) -> Any:
    raise OSError("boom")


# --- waiting ------------------------------------------------------------------------------------------------------


def test_wait_gives_the_status_however_it_ends() -> None:
    async def main() -> None:
        async with Flow() as flow:
            gate = Gate()
            handle = await started(flow, Step("a", gate), Step("b", boom, after="a"))
            waits = [asyncio.ensure_future(flow.executor.wait("f", handle.id)) for _ in range(3)]
            await turns()
            assert not any(w.done() for w in waits)
            gate.open()
            assert await asyncio.gather(*waits) == [Status.FAILURE] * 3
            assert await handle.wait() is Status.FAILURE  # a late one, too
            with pytest.raises(StepFailed):
                await handle

    run_virtual(main())


def test_cancelling_a_wait_leaves_the_execution_alone_cancelling_execute_does_not() -> None:
    async def main() -> None:
        async with Flow() as flow:
            gate = Gate()
            handle = await started(flow, Step("a", gate))
            for waiting in (handle.wait(), flow.executor.wait("f", handle.id), _await(handle)):
                task = asyncio.ensure_future(waiting)
                await turns()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            assert handle.status is Status.RUNNING
            gate.open()
            assert await handle == 1
            other = Gate()
            await flow.create_step("g", Step("a", other))
            task = asyncio.ensure_future(flow.execute("g", 2, id="mine"))
            await turns()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await flow.executor.wait("g", "mine") is Status.ABORTED
            assert other.cancelled == [2]

    run_virtual(main())


async def _await(handle: Execution) -> Any:
    return await handle


def test_outcome_before_the_end_is_an_illegal_move() -> None:
    async def main() -> None:
        async with Flow() as flow:
            gate = Gate()
            handle = await started(flow, Step("a", gate))
            with pytest.raises(IllegalMove, match="RUNNING"):
                handle.outcome()
            with pytest.raises(IllegalMove, match="RUNNING"):
                handle.result("a")
            with pytest.raises(UnknownStep):
                handle.result("b")
            assert handle.response is None and handle.error is None
            gate.open()
            await handle
            assert handle.outcome() == 1 and handle.result("a") == b"1"

    run_virtual(main())


# --- pause and resume ---------------------------------------------------------------------------------------------


def test_after_pause_nothing_starts_and_what_runs_is_recorded() -> None:
    async def main() -> None:
        async with Flow() as flow:
            gate, after = Gate(), Gate()
            handle = await started(flow, *chain(gate, after))
            await flow.executor.pause("f", handle.id)
            assert handle.status is Status.PAUSED
            gate.open()
            await asyncio.sleep(100)
            assert after.started == []
            assert handle.step_status_of("s0") is Status.SUCCESS and handle.result("s0") == b"1"
            await handle.pause()  # again: nothing
            await flow.executor.resume("f", handle.id)
            assert handle.status is Status.RUNNING
            await turns()
            assert after.started == [1]
            after.open()
            assert await handle == 1

    run_virtual(main())


def test_pause_in_the_middle_of_a_flood_of_instant_steps() -> None:
    async def main() -> None:
        async with Flow() as flow:
            calls = 0

            async def count(value: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == 500:
                    await handles[0].pause()
                return value

            handles: list[Execution] = []
            gate = Gate()
            await flow.create_steps(
                "f", [Step("gate", gate), *(Step(f"s{i}", count, after="gate") for i in range(2000))]
            )
            handles.append(await flow.execute("f", 1, async_=True))
            gate.open()
            await turns(50)
            assert calls == 500 and handles[0].status is Status.PAUSED
            await handles[0].resume()
            await handles[0]
            assert calls == 2000

    run_virtual(main())


def test_pause_freezes_retry_and_execution_timers() -> None:
    async def main() -> None:
        async with Flow() as flow:
            times: list[float] = []

            async def flaky(value: Any) -> Any:
                times.append(now())
                if len(times) < 2:
                    raise OSError
                return value

            retry = Retry(3, initial=10, jitter="none")
            handle = await started(flow, Step("a", flaky, retry=retry), timeout=60)
            began = now()
            await asyncio.sleep(4)
            await handle.pause()
            await asyncio.sleep(1000)
            await handle.resume()
            assert await handle == 1
            assert [round(t - began) for t in times] == [0, 1010]

    run_virtual(main())


def test_an_execution_timeout_goes_on_where_it_was_after_a_pause() -> None:
    async def main() -> None:
        async with Flow() as flow:
            handle = await started(flow, Step("a", Gate()), timeout=10)
            began = now()
            await asyncio.sleep(4)
            await handle.pause()
            await asyncio.sleep(100)
            assert not handle.over
            await handle.resume()
            with pytest.raises(ExecutionTimeout):
                await handle
            assert now() - began == pytest.approx(110, abs=0.1)

    run_virtual(main())


def test_fallbacks_and_compensations_wait_for_the_resume() -> None:
    async def main() -> None:
        async with Flow() as flow:
            done: list[str] = []
            gate = Gate()

            async def fail_later(value: Any) -> None:
                await gate.event.wait()
                raise OSError

            async def note(ctx: StepContext, value: Any) -> None:
                done.append(f"{ctx.step}.{ctx.activity}")

            first = Step("a", echo, compensation=note)
            second = Step("b", fail_later, after="a", fallback=Fallback(note, then="fail"))
            handle = await started(flow, first, second)
            await handle.pause()
            gate.open()
            await asyncio.sleep(10)
            assert done == [] and not handle.over
            await handle.resume()
            assert await handle.wait() is Status.FAILURE
            assert done == ["b.1", "a.2"]

    run_virtual(main())


def test_pause_and_resume_of_what_is_over_are_refused() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("f", Step("a", echo))
            handle = await flow.execute("f", 1)
            for ask in (handle.pause, handle.resume):
                with pytest.raises(IllegalMove) as caught:
                    await ask()
                assert caught.value.fix == "restart it" and caught.value.execution is handle
            await handle.abort()  # harmless
            assert handle.status is Status.SUCCESS

    run_virtual(main())


# --- abort --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rollback", [False, True])
def test_abort_cancels_and_rolls_back_when_asked(rollback: bool) -> None:
    async def main() -> None:
        async with Flow() as flow:
            gate = Gate()
            undone: list[Any] = []

            async def undo(ctx: StepContext, value: Any) -> None:
                assert not ctx.cancelled
                undone.append((ctx.step, ctx.input, value))

            async def add(value: int) -> int:
                return value + 1

            steps = [
                Step("a", add, compensation=undo),
                Step("b", add, after="a", compensation=undo),
                Step("c", gate, after="b", compensation=undo),
                Step("d", echo, after="c"),
            ]
            handle = await started(flow, *steps)
            await flow.executor.abort("f", handle.id, rollback=rollback)
            assert handle.status is Status.ABORTED and gate.cancelled == [3]
            assert undone == ([("b", 2, 3), ("a", 1, 2)] if rollback else [])
            assert [handle.step_status_of(s).name for s in "abcd"] == ["SUCCESS", "SUCCESS", "ABORTED", "ABORTED"]
            with pytest.raises(ExecutionAborted) as caught:
                await handle
            assert caught.value.execution is handle
            assert flow.executor.statistics().steps_running == 0

    run_virtual(main())


def test_nothing_starts_once_abort_was_asked() -> None:
    async def main() -> None:
        async with Flow(executor=Executor(concurrency=1)) as flow:
            gate, after = Gate(), Gate()
            handle = await started(flow, *chain(gate, after), Step("other", after))
            await handle.abort()
            gate.open()
            await asyncio.sleep(10)
            assert after.started == []

    run_virtual(main())


def test_abort_of_a_paused_execution() -> None:
    async def main() -> None:
        async with Flow() as flow:
            handle = await started(flow, *chain(Gate(), echo))
            await handle.pause()
            await handle.abort()
            assert handle.status is Status.ABORTED

    run_virtual(main())


def test_a_coroutine_that_cleans_up_in_time_is_waited_for_and_one_that_does_not_is_left() -> None:
    async def main() -> None:
        async with Flow() as flow:
            ends: list[str] = []

            async def slow(name: str, seconds: float) -> None:
                try:
                    await asyncio.Event().wait()
                finally:
                    await asyncio.sleep(seconds)
                    ends.append(name)

            handle = await started(flow, Step("a", _bound(slow, "a", 0.5)), Step("b", _bound(slow, "b", 9)))
            began = now()
            await handle.abort()
            assert ends == ["a"] and now() - began == pytest.approx(1.0)
            await asyncio.sleep(10)
            assert ends == ["a"]  # the other one was cancelled again; the outcomes of both came too late to count
            assert flow.executor.statistics().late_outcomes == 2

    run_virtual(main())


def _bound(function: Any, *arguments: Any) -> Any:
    async def body(value: Any) -> Any:
        return await function(*arguments)

    return body


def test_a_thread_gets_a_token_and_its_late_result_is_dropped() -> None:
    async def main() -> None:
        async with Flow() as flow:
            running, told = threading.Event(), threading.Event()

            def work(ctx: StepContext, value: Any) -> str:
                running.set()
                while not ctx.cancelled:
                    pass
                told.set()
                return "late"

            handle = await started(flow, Step("a", work))
            await asyncio.to_thread(running.wait)
            await handle.abort()
            assert handle.status is Status.ABORTED
            assert await asyncio.to_thread(told.wait, 30)
            while not flow.executor.statistics().late_outcomes:
                await asyncio.sleep(0)
            assert handle.response is None and handle.step_status_of("a") is Status.ABORTED

    flow_core.run(main())


def test_a_step_may_abort_its_own_execution() -> None:
    async def main() -> None:
        async with Flow() as flow:

            async def suicide(ctx: StepContext, value: Any) -> None:
                await flow.executor.abort("f", ctx.execution)

            handle = await started(flow, Step("a", suicide), Step("b", echo, after="a"))
            assert await handle.wait() is Status.ABORTED

    run_virtual(main())

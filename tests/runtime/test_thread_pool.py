"""The worker pool: sync callables in threads, with their contextvars, errors, timeouts and late results."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from typing import Any

import pytest

import flow_core
from flow_core import Executor, Flow, Retry, Status, Step, StepContext
from flow_core.core.stepper import Stepper
from flow_core.errors import StepFailed, StepTimeout
from tests.runtime.kit import echo

WAIT = 30.0  # seconds until a test that hangs fails; never waited for
tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="none")


def test_sync_callables_run_in_threads_of_the_pool_and_give_values() -> None:
    async def main() -> None:
        async with Flow() as flow:

            def where(value: Any) -> tuple[str, Any]:
                return threading.current_thread().name, value

            await flow.create_steps("f", [Step("a", where), Step("b", lambda pair: pair[1] + 1, after="a")])
            execution = await flow.execute("f", 1)
            assert Stepper(execution).output(0)[0].startswith("flow-core") and execution.response == 2

    flow_core.run(main())


def test_at_most_workers_threads_work_at_the_same_time() -> None:
    async def main() -> None:
        lock, now, most = threading.Lock(), 0, 0
        both = threading.Barrier(3)

        def work() -> None:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            both.wait(WAIT)
            with lock:
                now -= 1

        async with Flow(executor=Executor(workers=3)) as flow:
            await flow.create_steps("f", [Step(f"s{i}", work) for i in range(30)])
            await flow.execute("f")
        assert most == 3

    flow_core.run(main())


def test_errors_keep_their_type_and_traceback_and_are_retried() -> None:
    async def main() -> None:
        async with Flow() as flow:
            calls = 0

            def fail() -> None:
                nonlocal calls
                calls += 1
                raise OSError("no disk")

            await flow.create_step("f", Step("a", fail, retry=Retry(2, initial=0)))
            with pytest.raises(StepFailed) as caught:
                await flow.execute("f")
            cause = caught.value.__cause__
            assert type(cause) is OSError and calls == 3
            names = []
            trace = cause.__traceback__
            while trace is not None:
                names.append(trace.tb_frame.f_code.co_name)
                trace = trace.tb_next
            assert "fail" in names

    flow_core.run(main())


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
def test_a_base_exception_in_a_thread_fails_the_execution_and_nothing_else(error: type[BaseException]) -> None:
    seen: list[BaseException] = []

    async def main() -> None:
        async with Flow(executor=Executor(error_handler=lambda e, ctx: seen.append(e))) as flow:

            def leave() -> None:
                raise error

            await flow.create_step("f", Step("a", leave, retry=5))
            handle = await flow.execute("f", async_=True)
            try:
                await handle.wait()
            except (SystemExit, KeyboardInterrupt):
                pass  # these go on to the loop, as from any callback
            assert handle.status is Status.FAILURE and Stepper(handle).attempt(0) == 1

    with contextlib.suppress(SystemExit, KeyboardInterrupt):
        flow_core.run(main())
    assert [type(e) for e in seen] == [error]


def test_contextvars_are_copied_into_the_thread_and_not_back() -> None:
    async def main() -> None:
        async with Flow() as flow:

            def work() -> str:
                before = tenant.get()
                tenant.set("changed")
                return before

            async def after(value: str) -> tuple[str, str]:
                return value, tenant.get()

            await flow.create_steps("f", [Step("a", work), Step("b", after, after="a")])
            tenant.set("acme")
            assert await flow.call("f") == ("acme", "acme")

    flow_core.run(main())


def test_a_thread_that_takes_too_long_is_told_and_counted_late() -> None:
    async def main() -> None:
        async with Flow() as flow:
            told = threading.Event()

            def slow(ctx: StepContext, value: Any) -> str:
                while not ctx.cancelled:
                    pass
                told.set()
                return "late"

            await flow.create_step("f", Step("a", slow, timeout=0.02))
            with pytest.raises(StepFailed) as caught:
                await flow.execute("f")
            assert isinstance(caught.value.__cause__, StepTimeout) and "timeout=0.02" in str(caught.value.__cause__)
            assert await asyncio.to_thread(told.wait, WAIT)
            while not flow.executor.statistics().late_outcomes:
                await asyncio.sleep(0)
            assert flow.executor.statistics().steps_running == 0

    flow_core.run(main())


def test_fallbacks_and_compensations_may_be_sync_too() -> None:
    async def main() -> None:
        async with Flow() as flow:
            undone: list[Any] = []

            def fail() -> None:
                raise OSError

            def help_out(value: Any) -> str:
                return "helped"

            await flow.create_steps(
                "f", [Step("a", fail, fallback=help_out, compensation=undone.append), Step("b", fail, after="a")]
            )
            handle = await flow.execute("f", async_=True)
            assert await handle.wait() is Status.FAILURE
            assert undone == ["helped"] and handle.recovered == ("a",)

    flow_core.run(main())


def test_many_results_from_many_threads_arrive() -> None:
    async def main() -> None:
        async with Flow(executor=Executor(workers=8)) as flow:
            await flow.create_steps("f", [Step(f"s{i}", lambda value: value) for i in range(2000)])
            execution = await flow.execute("f", 7)
            assert set(execution.response.values()) == {7} and len(execution.response) == 2000

    flow_core.run(main())


def test_a_pool_that_takes_no_work_fails_the_step_and_hangs_nothing() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("warm", Step("a", echo))
            await flow.execute("warm")

            def refuse(*_: Any) -> None:
                raise RuntimeError("can't start new thread")

            flow.executor.scheduler.handler.pool.submit = refuse
            await flow.create_step("f", Step("a", lambda: 1))
            handle = await flow.execute("f", async_=True)
            async with asyncio.timeout(WAIT):
                assert await handle.wait() is Status.FAILURE
            assert "can't start new thread" in str(handle.error)

    flow_core.run(main())

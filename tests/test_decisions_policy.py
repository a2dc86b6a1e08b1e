"""The decisions of the design as seen through the public API: retry, timeout, fallback, compensation, endings.

Decisions 5-9, 12, 13. The others: ``test_decisions.py``, ``test_decisions_contract.py``.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

import flow_core
from flow_core import (
    ExecuteOptions,
    Executor,
    Fallback,
    Flow,
    FlowExecuteOperation,
    LocalOperation,
    OperationOptions,
    Permanent,
    Retry,
    Status,
    Step,
    StepContext,
)
from flow_core.errors import AdapterError, ExecutionTimeout, StepFailed, StepTimeout
from tests.aio import run_virtual
from tests.runtime.kit import Gate, echo, turns


def now() -> float:
    return asyncio.get_running_loop().time()


class Failing:
    """A step body that fails so often, notes when it was called, and then gives "ok"."""

    def __init__(self, fails: int = 1_000, error: BaseException | None = None) -> None:
        self.fails = fails
        self.error = error or OSError("boom")
        self.times: list[float] = []

    async def __call__(self, value: Any) -> str:
        self.times.append(now())
        if len(self.times) <= self.fails:
            raise self.error
        return "ok"


async def attempts(step: Step, body: Failing, **options: Any) -> list[float]:
    """When the attempts of a step started, from the first one on."""
    async with Flow() as flow:
        await flow.create_step("f", step)
        handle = await flow.execute("f", 1, async_=True, **options)
        await handle.wait()
        return [round(time - body.times[0], 6) for time in body.times]


# --- 5. retry -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "operation", "execute", "calls"),
    [
        (None, None, None, 1),
        (None, None, 3, 4),
        (None, 2, 3, 3),
        (1, 2, 3, 2),
        (0, 2, 3, 1),
        (None, 0, 3, 1),
        (Retry(5, initial=0), 2, 3, 6),
    ],
)
def test_5_the_most_specific_retry_wins_and_nothing_is_multiplied(
    step: Any, operation: Any, execute: Any, calls: int
) -> None:
    body = Failing()
    local = LocalOperation(body, options=OperationOptions(retries=operation))
    assert len(run_virtual(attempts(Step("a", local, retry=step), body, retries=execute))) == calls


def test_5_delays_grow_up_to_the_longest() -> None:
    body = Failing()
    retry = Retry(5, initial=1, factor=3, max=10, jitter="none")
    assert run_virtual(attempts(Step("a", body, retry=retry), body)) == [0, 1, 4, 13, 23, 33]


def test_5_full_jitter_draws_each_delay_from_zero_to_the_computed_one() -> None:
    body = Failing()
    times = run_virtual(attempts(Step("a", body, retry=Retry(60, initial=8, factor=1)), body))
    delays = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(0 <= delay <= 8 for delay in delays) and len(set(delays)) > 50
    assert min(delays) < 2 and max(delays) > 6  # 60 draws that all miss a quarter: one in thirty million


@pytest.mark.parametrize(
    ("retry", "error", "calls"),
    [
        (Retry(3, initial=0, retry_on=ConnectionError), ConnectionResetError(), 4),  # subclasses count
        (Retry(3, initial=0, retry_on=ConnectionError), ValueError(), 1),
        (Retry(3, initial=0, retry_on="builtins.ValueError"), ValueError(), 4),
        (Retry(3, initial=0, give_up_on=[KeyError, OSError]), ConnectionError(), 1),
        (Retry(3, initial=0), Permanent("never"), 1),
        (Retry(3, initial=0), asyncio.CancelledError(), 1),
        (Retry(3, initial=0, retry_on=BaseException), asyncio.CancelledError(), 1),
    ],
)
def test_5_what_is_retried(retry: Retry, error: BaseException, calls: int) -> None:
    body = Failing(error=error)
    assert len(run_virtual(attempts(Step("a", body, retry=retry), body))) == calls


def test_5_retry_after_is_honoured() -> None:
    body = Failing(2, AdapterError("busy", retry_after=42))
    assert run_virtual(attempts(Step("a", body, retry=Retry(3, initial=1)), body)) == [0, 42, 84]


# --- 6. timeout ---------------------------------------------------------------------------------------------------


def test_6_a_timeout_is_for_each_attempt_and_total_timeout_spans_them() -> None:
    async def main() -> None:
        started: list[float] = []

        async def hang(value: Any) -> None:
            started.append(now())
            await asyncio.Event().wait()

        async with Flow() as flow:
            retry = Retry(9, initial=1, factor=1, jitter="none")
            await flow.create_step("f", Step("a", hang, timeout=2, total_timeout=7, retry=retry))
            with pytest.raises(StepFailed) as caught:
                await flow.execute("f")
            assert isinstance(caught.value.__cause__, StepTimeout)
            assert started == [0, 3, 6] and now() == pytest.approx(7)

    run_virtual(main())


@pytest.mark.parametrize("timeout", [5, 5.0, "timedelta"])
def test_6_execute_timeout_spans_the_execution(timeout: Any) -> None:
    from datetime import timedelta

    async def main() -> None:
        gate = Gate()
        async with Flow() as flow:
            await flow.create_steps("f", [Step("a", gate, timeout=100), Step("b", echo, after="a")])
            with pytest.raises(ExecutionTimeout) as caught:
                await flow.execute("f", 1, timeout=timedelta(seconds=5) if timeout == "timedelta" else timeout)
            assert now() == pytest.approx(5) and gate.cancelled == [1]
            assert caught.value.execution.status is Status.FAILURE
            assert caught.value.execution.step_status_of("b") is Status.ABORTED

    run_virtual(main())


def test_6_the_steps_timeout_wins_over_its_operations() -> None:
    async def main() -> None:
        async with Flow() as flow:
            operation = LocalOperation(Gate(), options=OperationOptions(timeout=50))
            await flow.create_step("f", Step("a", operation, timeout=3))
            with pytest.raises(StepFailed):
                await flow.execute("f")
            assert now() == pytest.approx(3)

    run_virtual(main())


# --- 7. fallback --------------------------------------------------------------------------------------------------


def test_7_a_fallback_runs_after_the_last_attempt_with_the_steps_own_input() -> None:
    async def main() -> None:
        body = Failing()
        seen: list[Any] = []

        async def rescue(ctx: StepContext, value: Any) -> str:
            seen.append((value, ctx.attempt, len(body.times)))
            return "rescued"

        async with Flow() as flow:
            step = Step("a", body, after="r", retry=Retry(2, initial=1), fallback=rescue)
            await flow.create_steps("f", [Step("r", echo), step, Step("b", echo, after="a")])
            execution = await flow.execute("f", "in")
            assert seen == [("in", 3, 3)]
            assert execution.status is Status.SUCCESS and execution.response == "rescued"
            assert execution.step_status_of("a") is Status.SUCCESS and execution.recovered == ("a",)
            assert isinstance(execution.errors["a"], OSError)

    run_virtual(main())


@pytest.mark.parametrize("fallback", [Fallback(echo, then="fail"), Failing(error=ValueError("worse"))])
def test_7_a_clean_up_or_a_fallback_that_fails_leaves_the_step_failed(fallback: Any) -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("f", Step("a", Failing(), fallback=fallback))
            with pytest.raises(StepFailed) as caught:
                await flow.execute("f", "in")
            assert isinstance(caught.value.__cause__, OSError)  # the first error, not the fallback's
            handle = caught.value.execution
            assert handle.step_status_of("a") is Status.FAILURE and handle.recovered == ()

    run_virtual(main())


def test_7_a_fallback_does_not_run_on_success() -> None:
    async def main() -> None:
        rescue = Failing()
        async with Flow() as flow:
            await flow.create_step("f", Step("a", echo, fallback=rescue))
            await flow.execute("f", 1)
        assert rescue.times == []

    run_virtual(main())


# --- 8. compensation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runner", [run_virtual, flow_core.run], ids=["virtual", "uvloop"])
def test_8_compensations_run_in_reverse_topological_order(runner: Any) -> None:
    async def main() -> None:
        undone: list[tuple[str, Any]] = []

        async def undo(ctx: StepContext, value: Any) -> None:
            undone.append((ctx.step, value))

        async def broken_undo(ctx: StepContext, value: Any) -> None:
            undone.append((ctx.step, value))
            raise ValueError("can't undo")

        async def inc(value: int) -> int:
            return value + 1

        async with Flow() as flow:
            steps = [
                Step("d", Failing(), after="c", compensation=undo),
                Step("b", inc, after="a", compensation=broken_undo),
                Step("c", inc, after="b", compensation=undo),
                Step("a", inc, compensation=undo),
            ]
            await flow.create_steps("f", steps)
            with pytest.raises(StepFailed) as caught:
                await flow.execute("f", 0)
            assert undone == [("c", 3), ("b", 2), ("a", 1)]  # each with the output of its step
            handle = caught.value.execution
            assert isinstance(caught.value.__cause__, OSError)  # not hidden by the compensation's error
            assert isinstance(handle.errors["b.compensation"], ValueError)
            undone.clear()
            with pytest.raises(StepFailed):
                await flow.execute("f", 0, rollback=False)
            assert undone == []

    runner(main())


# --- 9. allow_fail ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["step", "operation"])
def test_9_allow_fail(where: str) -> None:
    async def main() -> None:
        seen: list[Any] = []

        async def look(value: Any) -> Any:
            seen.append(value)

        if where == "step":
            bad = Step("bad", Failing(), allow_fail=True)
        else:
            bad = Step("bad", LocalOperation(Failing(), options=OperationOptions(allow_fail=True)))
        async with Flow() as flow:
            steps = [bad, Step("good", echo), Step("one", look, after="bad"), Step("two", look, after=["bad", "good"])]
            await flow.create_steps("f", steps)
            execution = await flow.execute("f", 1)
            assert execution.status is Status.SUCCESS and execution.step_status_of("bad") is Status.FAILURE
            assert isinstance(execution.errors["bad"], OSError)
            assert sorted(seen, key=str) == sorted([None, {"good": 1}], key=str)

    run_virtual(main())


def test_9_the_steps_word_wins_over_the_operations() -> None:
    async def main() -> None:
        operation = LocalOperation(Failing(), options=OperationOptions(allow_fail=True))
        async with Flow() as flow:
            await flow.create_step("f", Step("a", operation, allow_fail=False))
            with pytest.raises(StepFailed):
                await flow.execute("f")

    run_virtual(main())


# --- 12. and 13. sub-flows, pause, abort, stop (in full: tests/runtime) --------------------------------------------


@pytest.mark.parametrize("runner", [run_virtual, flow_core.run], ids=["virtual", "uvloop"])
def test_12_a_sub_flow_holds_no_slot_while_it_waits(runner: Any) -> None:
    async def main() -> None:
        gate = Gate()
        async with Flow(executor=Executor(concurrency=1)) as flow:
            await flow.create_step("leaf", Step("a", gate))
            for i in range(10):
                await flow.create_step(f"f{i}", Step("sub", FlowExecuteOperation(f"f{i - 1}" if i else "leaf")))
            handle = await flow.execute("f9", b"1", async_=True)
            await turns(50)
            assert flow.executor.statistics().steps_running == 1 and len(gate.started) == 1
            gate.open()
            assert await handle == b"1"

    runner(main())


def test_13_an_abort_during_a_retry_delay_ends_it_at_once() -> None:
    async def main() -> None:
        body = Failing()
        async with Flow() as flow:
            await flow.create_step("f", Step("a", body, retry=Retry(5, initial=1000, jitter="none")))
            handle = await flow.execute("f", 1, ExecuteOptions(async_=True))
            await turns()
            await handle.abort()
            assert handle.status is Status.ABORTED and now() == 0 and len(body.times) == 1

    run_virtual(main())

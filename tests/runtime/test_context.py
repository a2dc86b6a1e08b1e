"""`StepContext`: what a step knows about its attempt, and its ways to the outside and to other flows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import flow_core
from flow_core import Execution, Executor, Flow, FlowExecuteOperation, Operation, Retry, Status, Step, StepContext
from flow_core.core.stepper import Stepper
from flow_core.errors import ExecutionAborted, InvalidOption, LimitExceeded, StepFailed, UnknownFlow
from flow_core.model.ids import MAX_NESTING
from flow_core.pubsub.memory import MemoryPubSubClient
from flow_core.rpc.memory import MemoryRpcClient
from tests.aio import run_virtual
from tests.runtime.kit import Gate, echo, handles, turns


def root_of(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def test_identity_headers_and_a_key_that_is_the_same_for_all_attempts() -> None:
    async def main() -> None:
        async with Flow() as flow:
            seen: list[dict[str, str]] = []

            async def work(ctx: StepContext, value: Any) -> None:
                assert (ctx.flow, ctx.step, ctx.input, ctx.options) == ("f", "a", "in", {"tenant": 7})
                assert repr(ctx) == f"<StepContext f/a attempt {ctx.attempt}>"
                seen.append(ctx.headers())
                raise OSError

            async def tidy(ctx: StepContext, value: Any) -> None:
                seen.append(ctx.headers())

            step = Step("a", work, retry=Retry(2, initial=1), fallback=tidy, compensation=tidy)
            await flow.create_steps("f", [step, Step("b", work_never, after="a")])
            handle = await flow.execute("f", "in", async_=True, context={"tenant": 7})
            await handle.wait()
            attempts, after = seen[:3], seen[3:]
            assert [h["flow-attempt"] for h in attempts] == ["1", "2", "3"]
            assert {h["flow-idempotency-key"] for h in attempts} == {f"{handle.id}/a"}
            assert {(h["flow-execution"], h["flow-step"], h["flow-name"]) for h in seen} == {(handle.id, "a", "f")}
            assert [h["flow-idempotency-key"] for h in after] == [
                f"{handle.id}/a.fallback",
                f"{handle.id}/a.compensation",
            ]

    run_virtual(main())


async def work_never(value: Any) -> None:
    raise ValueError


def test_time_left_is_the_smallest_of_all_limits() -> None:
    async def main() -> None:
        async with Flow() as flow:
            seen: dict[str, Any] = {}

            async def look(ctx: StepContext, value: Any) -> None:
                seen[ctx.step] = ctx.time_left()

            await asyncio.sleep(1)
            options = flow_core.OperationOptions(timeout=20)
            steps = [
                Step("none", look),
                Step("own", look, timeout=5),
                Step("total", look, timeout=50, total_timeout=4),
                Step("operation", flow_core.LocalOperation(look, options=options)),
                Step("both", flow_core.LocalOperation(look, options=options), timeout=30),
            ]
            await flow.create_steps("f", steps)
            await flow.execute("f")
            assert seen == {"none": None, "own": 5, "total": 4, "operation": 20, "both": 30}
            await flow.execute("f", timeout=10)
            assert seen == {"none": 10, "own": 5, "total": 4, "operation": 10, "both": 10}

    run_virtual(main())


def test_a_fallback_after_a_timeout_has_the_time_of_the_execution() -> None:
    async def main() -> None:
        async with Flow() as flow:
            seen: list[Any] = []

            async def look(ctx: StepContext, value: Any) -> None:
                seen.append(ctx.time_left())

            await asyncio.sleep(1)
            await flow.create_steps(
                "f", [Step("a", Gate(), timeout=3, fallback=look, compensation=look), Step("b", work_never, after="a")]
            )
            handle = await flow.execute("f", async_=True)
            assert await handle.wait() is Status.FAILURE
            assert seen == [None, None]
            handle = await flow.execute("f", async_=True, timeout=10)
            await handle.wait()
            assert seen[2:] == [7, None]  # rolling back is no longer part of the time given

    run_virtual(main())


def test_the_deadline_of_the_parent_holds_for_its_children() -> None:
    async def main() -> None:
        async with Flow() as flow:
            seen: list[Any] = []

            async def look(ctx: StepContext, value: Any) -> None:
                seen.append(ctx.time_left())

            await asyncio.sleep(1)
            await flow.create_step("child", Step("a", look, timeout=100))
            await flow.create_step("parent", Step("sub", FlowExecuteOperation("child"), timeout=9))
            await flow.create_step("grand", Step("sub", FlowExecuteOperation("parent")))
            await flow.execute("child")
            await flow.execute("parent")
            await flow.execute("parent", timeout=5)
            await flow.execute("grand", timeout=4)
            assert seen == [100, 9, 5, 4]

    run_virtual(main())


def test_clients_come_from_the_execution_or_the_flow() -> None:
    async def main() -> None:
        rpc, other, pubsub = MemoryRpcClient(), MemoryRpcClient(), MemoryPubSubClient()
        async with Flow(rpc=rpc) as flow:
            seen: list[Any] = []

            async def look(ctx: StepContext, value: Any) -> None:
                seen.append(ctx.rpc)
                seen.append(ctx.pubsub)

            await flow.create_step("f", Step("a", look))
            with pytest.raises(StepFailed) as caught:
                await flow.execute("f")
            assert isinstance(caught.value.__cause__, InvalidOption) and "pubsub" in str(caught.value.__cause__)
            await flow.execute("f", client={"rpc": other, "pubsub": pubsub})
            assert seen == [rpc, other, pubsub]

    run_virtual(main())


def test_token_is_random_and_long() -> None:
    async def main() -> None:
        async with Flow() as flow:
            tokens: list[str] = []

            async def look(ctx: StepContext, value: Any) -> None:
                tokens.extend(ctx.token() for _ in range(100))

            await flow.create_step("f", Step("a", look))
            await flow.execute("f")
            assert len(set(tokens)) == 100 and {len(t) for t in tokens} == {32}

    run_virtual(main())


# --- children -----------------------------------------------------------------------------------------------------


def test_a_child_has_its_own_id_and_a_link_to_its_parent() -> None:
    async def main() -> None:
        async with Flow() as flow:
            contexts: list[StepContext] = []

            async def look(ctx: StepContext, value: Any) -> Any:
                contexts.append(ctx)
                return value

            async def sub(ctx: StepContext, value: Any) -> bytes:
                return await ctx.execute("child", value)

            await flow.create_step("child", Step("a", look))
            await flow.create_step("parent", Step("sub", sub))
            parent = await flow.execute("parent", [1])
            (child,) = await handles(flow, "child")
            assert parent.response == b"[1]"  # bytes, as from any operation
            assert child.parent is parent and Stepper(child).depth == 1 and child.id != parent.id
            assert contexts[0].execution == child.id and parent.parent is None and Stepper(parent).depth == 0

    run_virtual(main())


def test_errors_of_children_reach_the_parent_whole() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("child", Step("a", work_never))
            await flow.create_step("parent", Step("sub", FlowExecuteOperation("child")))
            await flow.create_step("lost", Step("sub", FlowExecuteOperation("chidl")))
            with pytest.raises(StepFailed) as caught:
                await flow.execute("parent")
            assert isinstance(caught.value.__cause__, StepFailed) and isinstance(root_of(caught.value), ValueError)
            with pytest.raises(StepFailed) as caught:
                await flow.execute("lost")
            assert isinstance(caught.value.__cause__, UnknownFlow) and "'child'" in str(caught.value.__cause__)

    run_virtual(main())


@pytest.mark.parametrize("queue", [1, 100])
def test_nesting_64_deep_at_concurrency_1(queue: int) -> None:
    async def main() -> None:
        async with Flow(executor=Executor(concurrency=1, queue=queue)) as flow:
            depths: list[int] = []

            async def look(ctx: StepContext, value: Any) -> Any:
                depths.append(ctx.depth)
                await asyncio.sleep(0)
                return value

            await flow.create_step("f0", Step("a", look))
            for i in range(1, MAX_NESTING + 2):
                steps = [Step("before", echo), Step("sub", FlowExecuteOperation(f"f{i - 1}"), after="before")]
                await flow.create_steps(f"f{i}", [*steps, Step("after", echo, after="sub")])
            assert await flow.call(f"f{MAX_NESTING}", "x") is not None
            assert depths == [64]
            with pytest.raises(StepFailed) as caught:
                await flow.execute(f"f{MAX_NESTING + 1}", "x")
            assert isinstance(root_of(caught.value), LimitExceeded) and "MAX_NESTING, 64" in str(root_of(caught.value))
            assert flow.executor.statistics().executions_live == 0

    run_virtual(main())


def test_a_flow_that_executes_itself_ends_at_the_limit() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("f", Step("again", FlowExecuteOperation("f")))
            with pytest.raises(StepFailed) as caught:
                await flow.execute("f")
            assert isinstance(root_of(caught.value), LimitExceeded)

    run_virtual(main())


@pytest.mark.parametrize("depth", [0, 1, 2, MAX_NESTING])
def test_the_message_of_nested_failures_is_that_of_the_innermost(depth: int) -> None:
    async def boom(value: Any) -> Any:
        raise OSError("boom")

    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("f0", Step("a", boom, retry=Retry(1, initial=0.1)))
            for i in range(1, depth + 1):
                await flow.create_step(f"f{i}", Step("sub", FlowExecuteOperation(f"f{i - 1}")))
            with pytest.raises(StepFailed) as caught:
                await flow.execute(f"f{depth}")
            innermost = "step 'a' of flow 'f0' failed after 2 attempts: OSError: boom"
            if depth == 0:
                assert str(caught.value) == innermost
            else:
                down = f"{depth} execution{'s' * (depth > 1)} further down"
                assert str(caught.value) == f"step 'sub' of flow 'f{depth}' failed, {down}: {innermost}"

    run_virtual(main())


def test_abort_of_the_parent_aborts_the_children() -> None:
    async def main() -> None:
        async with Flow() as flow:
            gate = Gate()
            await flow.create_step("leaf", Step("a", gate))
            await flow.create_step("middle", Step("sub", FlowExecuteOperation("leaf")))
            await flow.create_step("top", Step("sub", FlowExecuteOperation("middle")))
            top = await flow.execute("top", async_=True)
            await turns()
            (leaf,), (middle,) = await handles(flow, "leaf"), await handles(flow, "middle")
            await top.abort()
            await turns()
            assert {top.status, middle.status, leaf.status} == {Status.ABORTED}
            assert len(gate.cancelled) == 1 and flow.executor.statistics().executions_live == 0

    run_virtual(main())


def test_a_timeout_of_the_parent_aborts_the_children() -> None:
    async def main() -> None:
        async with Flow() as flow:
            gate = Gate()
            await flow.create_step("leaf", Step("a", gate))
            await flow.create_step("top", Step("sub", FlowExecuteOperation("leaf"), timeout=5))
            top = await flow.execute("top", async_=True)
            assert await top.wait() is Status.FAILURE
            (leaf,) = await handles(flow, "leaf")
            assert await leaf.wait() is Status.ABORTED

    run_virtual(main())


def test_what_is_over_starts_no_children() -> None:
    async def main() -> None:
        async with Flow() as flow:
            caught: list[BaseException] = []

            async def clings(ctx: StepContext, value: Any) -> None:
                try:
                    await asyncio.Event().wait()
                finally:
                    try:
                        await ctx.execute("child", 1)
                    except ExecutionAborted as error:
                        caught.append(error)

            await flow.create_step("child", Step("a", echo))
            await flow.create_step("f", Step("a", clings))
            handle = await flow.execute("f", async_=True)
            await handle.abort()
            assert len(caught) == 1 and await handles(flow, "child") == []

    run_virtual(main())


def test_a_rollback_flow_runs_when_its_execution_is_aborted() -> None:
    async def main() -> None:
        async with Flow() as flow:
            undone: list[Any] = []

            async def undo(value: Any) -> None:
                undone.append(value)

            await flow.create_steps(
                "f",
                [
                    Step("pay", echo, compensation=FlowExecuteOperation("f", "refund")),
                    Step("wait", Gate(), after="pay"),
                    Step("refund", undo, manual=True),
                ],
            )
            handle = await flow.execute("f", b"7", async_=True)
            await handle.abort(rollback=True)
            assert undone == [b"7"]

    run_virtual(main())


def test_an_executor_without_a_flow_says_so_and_one_adopted_later_finds_it() -> None:
    async def main() -> None:
        executor = Executor()
        with pytest.raises(StepFailed) as caught:
            await executor.execute([Step("sub", FlowExecuteOperation("child"))])
        assert isinstance(caught.value.__cause__, InvalidOption)
        async with Flow(executor=executor) as flow:
            await flow.create_step("child", Step("a", echo))
            execution: Execution = await executor.execute([Step("sub", FlowExecuteOperation("child"))], b"1")
            assert execution.response == b"1"

    run_virtual(main())


class Upper(Operation):
    """An operation of one's own: bytes in, bytes out."""

    type = "upper"

    async def execute(self, ctx: StepContext, data: bytes) -> bytes:
        assert isinstance(ctx, StepContext) and ctx.attempt == 1
        return data.upper()


def test_operations_get_the_context_and_bytes() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_steps(
                "f", [Step("a", Upper("up")), Step("b", Upper("up")), Step("c", Upper("up"), after=["a", "b"])]
            )
            execution = await flow.execute("f", b'"x"')
            assert execution.result("a") == b'"X"'
            assert execution.result("c") == b'{"A":"X","B":"X"}'

    run_virtual(main())

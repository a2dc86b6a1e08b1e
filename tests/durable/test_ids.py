"""Executions by id: the same one again, forks, and everything that can be asked of the store."""

import asyncio
from datetime import timedelta

import pytest

from flow_core import Executor, Flow, LocalOperation, OperationOptions, Status, Step
from flow_core.errors import (
    EncodeError,
    ExecutionConflict,
    IllegalMove,
    InvalidOption,
    PayloadError,
    StepFailed,
    UnknownExecution,
)
from tests.durable.kit import FIXED, Calls, again, chain, crash, flow_on, memory, play, started
from tests.runtime.kit import wait_for


def test_the_same_id_is_the_same_execution_live_or_over_before_and_after_a_restart():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        steps = [Step("a", calls.body("a", gate=gate))]
        flow, execution = await started(store, steps, (1, 2))
        assert await flow.execute("f", (1, 2), id="x", async_=True) is execution
        for other in ([1, 3], b"[1,2]"):
            with pytest.raises(ExecutionConflict):
                await flow.execute("f", other, id="x")
        crash(flow)
        gate.set()
        flow = await again(store, steps)
        assert (await flow.execute("f", (1, 2), id="x")).response == "a"  # JSON has lists only, and it is the same
        await flow.stop()
        flow = await again(store, steps)
        assert (await flow.execute("f", (1, 2), id="x")).status is Status.SUCCESS
        with pytest.raises(ExecutionConflict):
            await flow.execute("f", "other", id="x")
        assert calls["a"] == 2
        await flow.stop()

    play(main())


def test_a_generated_id_given_again_is_that_execution_too():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        async with flow_on(store) as flow:
            await flow.create_step("f", Step("a", calls.body("a", gate=gate)))
            execution = await flow.execute("f", 1, async_=True)
            assert await flow.execute("f", 1, id=execution.id, async_=True) is execution
            gate.set()
            await execution
            assert calls["a"] == 1

    play(main())


def test_an_id_that_is_under_way_in_another_executor_is_waited_for():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        steps = [Step("a", calls.body("a", gate=gate))]
        flow, _ = await started(store, steps)
        other = flow_on(store, "other")
        await other.create_steps("f", steps)
        handle = await other.execute("f", 1, id="x", async_=True)
        assert (handle.status, handle.over) == (Status.RUNNING, False)
        waiting = [
            asyncio.create_task(other.execute("f", 1, id="x")),
            asyncio.create_task(other.executor.wait("f", "x")),
        ]
        with pytest.raises(IllegalMove, match="another process"):
            await other.executor.pause("f", "x")
        assert "another process" in str(await other.executor.explain("f", "x"))
        await asyncio.sleep(10)
        gate.set()
        assert (await waiting[0]).response == "a"
        assert await waiting[1] is Status.SUCCESS
        assert dict(calls) == {"a": 1}
        await flow.stop()
        await other.stop()

    play(main())


@pytest.mark.parametrize("request_", [object(), b"x" * (2 << 20 | 1)], ids=["object", "too large"])
def test_a_request_that_can_not_be_kept_leaves_nothing_behind(request_):
    async def main():
        store, calls = memory(), Calls()
        async with flow_on(store) as flow:
            await flow.create_steps("f", chain(calls, "a"))
            with pytest.raises(PayloadError):
                await flow.execute("f", request_, id="x")
            with pytest.raises(PayloadError):
                await flow.execute("f", 1, id="x", context={"a": object()})
            assert flow.executor.statistics().executions_live == 0
            assert (await flow.executor.list()).items == []
            with pytest.raises(UnknownExecution):
                await flow.executor.status("f", "x")
            assert (await flow.execute("f", 1, id="x")).status is Status.SUCCESS

    play(main())


def test_steps_that_can_not_be_kept_leave_nothing_behind():
    async def main():
        async with flow_on(memory()) as flow:
            operation = LocalOperation(Calls().body("a"), options=OperationOptions(context={"a": object()}))
            with pytest.raises(EncodeError):
                await flow.execute([Step("a", operation)], 1)
            assert flow.executor.statistics().executions_live == 0

    play(main())


@pytest.mark.parametrize("output", [object(), b"x" * (2 << 20 | 1), {1: {2, 3}}], ids=["object", "large", "set"])
def test_an_output_that_can_not_be_kept_fails_its_step(output):
    async def main():
        calls = Calls()
        async with flow_on(memory()) as flow:
            await flow.create_step("f", Step("a", calls.body("a", output), retry=3))
            await flow.create_step("g", Step("a", calls.body("b", output), fallback=calls.body("c", output)))
            for name in "fg":
                with pytest.raises(StepFailed) as caught:
                    await flow.execute(name, 1)
                assert isinstance(caught.value.__cause__, PayloadError)
            assert dict(calls) == {"a": 1, "b": 1, "c": 1}

    play(main())


# --- what the store tells ---------------------------------------------------------------------------------------------


def test_everything_can_be_asked_after_a_restart():
    async def main():
        store, calls = memory(), Calls()
        steps = [*chain(calls, "a", "b"), Step("c", calls.body("c", fail=1), after="b", retry=FIXED)]
        flow, execution = await started(store, steps)
        await execution
        await flow.stop()
        flow = await again(store, steps)
        executor = flow.executor
        assert await executor.status("f", "x") is Status.SUCCESS
        assert await executor.result("f", "x", "c") == b'"c"'
        assert await executor.wait("f", "x") is Status.SUCCESS
        moves = [(move.step, move.status.name) for move in await executor.history("f", "x")]
        assert moves.count(("c", "FAILURE")) == 1 and moves[-1] == (None, "SUCCESS")
        assert b'"StepEnded"' in await executor.export("f", "x")
        assert "it is over" in str(await executor.explain("f", "x"))
        await executor.abort("f", "x")  # nothing
        for ask in (executor.pause, executor.resume):
            with pytest.raises(IllegalMove, match="is over"):
                await ask("f", "x")
        with pytest.raises(UnknownExecution, match="belongs to flow 'f'"):
            await executor.status("g", "x")
        page = await executor.list(flow="f", status=Status.SUCCESS, limit=1)
        assert ([one.execution for one in page.items], page.cursor) == (["x"], None)
        await flow.stop()

    play(main())


def test_forks_reuse_outputs_and_survive():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        steps = [*chain(calls, "a", "b"), Step("c", calls.body("c", fail=1, gate=gate), after="b")]
        flow, execution = await started(store, steps)
        gate.set()
        assert await execution.wait() is Status.FAILURE
        await flow.stop()
        gate.clear()
        flow = await again(store, steps)
        fork = await flow.executor.restart("f", "x", "c")
        assert fork.id != "x"
        await wait_for(lambda: calls["c"] == 2)
        crash(flow)
        gate.set()
        flow = await again(store, steps)
        assert await flow.executor.wait("f", fork.id) is Status.SUCCESS
        assert dict(calls) == {"a": 1, "b": 1, "c": 3}
        assert await flow.executor.result("f", fork.id, "a") == b'"a"'
        whole = await flow.executor.restart("f", "x")
        assert await whole == "c" and calls["a"] == 2
        await flow.stop()

    play(main())


def test_finished_executions_are_forgotten_as_keep_says():
    async def main():
        store, calls = memory(), Calls()
        for keep, left in ((2, 2), (timedelta(minutes=5), 0)):
            flow = Flow(store=store, executor=Executor(name="one", drain=0), keep=keep)
            async with flow:
                await flow.create_steps("f", chain(calls, "a"))
                for _ in range(4):
                    await flow.execute("f", 1)
                await asyncio.sleep(90 if left else 600)
                assert len((await flow.executor.list()).items) == left

    play(main())


def test_on_another_loop_a_flow_with_a_store_says_so():
    store, flows = memory(), []

    async def first():
        flow = flow_on(store)
        await flow.create_steps("f", chain(Calls(), "a"))
        await flow.execute("f", 1)
        flows.append(flow)

    async def second():
        with pytest.raises(InvalidOption, match="another event loop"):
            await flows[0].execute("f", 1)

    play(first())
    play(second())

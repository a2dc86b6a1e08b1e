"""`Executor.stop`: refuse, drain, then cancel; nothing is released before it is drained."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import flow_core
from flow_core import Executor, Flow, FlowExecuteOperation, Retry, Status, Step, StepContext
from flow_core.errors import ExecutionStopped, ExecutorStopped
from flow_core.pubsub.memory import MemoryPubSubClient
from flow_core.rpc.memory import MemoryRpcClient
from tests.aio import run_virtual
from tests.runtime.kit import Gate, chain, echo, handles, turns


def test_stop_drains_what_runs_and_refuses_what_is_new() -> None:
    async def main() -> None:
        gate = Gate()
        flow = Flow()
        await flow.create_steps("f", [*chain(gate, echo), Step("sync", lambda value: value, after="s1")])
        handle = await flow.execute("f", 7, async_=True)
        stopping = asyncio.ensure_future(flow.stop())
        await turns()
        for refused in (flow.execute("f"), flow.execute("f", async_=True), flow.execute("f", id="x"), flow.call("f")):
            with pytest.raises(ExecutorStopped) as caught:
                await refused
            assert caught.value.fix
        assert not stopping.done() and handle.status is Status.RUNNING
        gate.open()
        await stopping
        assert handle.status is Status.SUCCESS and handle.response == 7

    flow_core.run(main())


def test_after_the_drain_the_rest_is_cancelled_and_stopped() -> None:
    async def main() -> None:
        gate = Gate()
        flow = Flow()
        await flow.create_steps("f", chain(echo, gate, echo))
        handle = await flow.execute("f", 1, async_=True)
        began = asyncio.get_running_loop().time()
        await flow.stop(drain=10)
        assert asyncio.get_running_loop().time() - began == pytest.approx(10)
        assert handle.status is Status.STOPPED
        assert gate.cancelled == [1]
        assert [handle.step_status_of(s).name for s in ("s0", "s1", "s2")] == ["SUCCESS", "STOPPED", "STOPPED"]
        with pytest.raises(ExecutionStopped) as caught:
            await handle
        assert caught.value.execution is handle

    run_virtual(main())


@pytest.mark.parametrize("drain", [0, 0.0])
def test_drain_zero_cancels_at_once(drain: float) -> None:
    async def main() -> None:
        gate = Gate()
        flow = Flow(executor=Executor(drain=drain))
        await flow.create_step("f", Step("a", gate))
        handle = await flow.execute("f", 1, async_=True)
        await flow.stop()
        assert handle.status is Status.STOPPED
        assert asyncio.get_running_loop().time() < 1

    run_virtual(main())


def test_the_drain_of_the_options_holds_by_default() -> None:
    async def main() -> None:
        flow = Flow(executor=Executor(drain=3))
        await flow.create_step("f", Step("a", Gate()))
        await flow.execute("f", 1, async_=True)
        began = asyncio.get_running_loop().time()
        await flow.stop()
        assert asyncio.get_running_loop().time() - began == pytest.approx(3)

    run_virtual(main())


def test_a_running_execution_may_still_start_children_while_it_drains() -> None:
    async def main() -> None:
        gate = Gate()
        flow = Flow()
        await flow.create_step("child", Step("a", echo))
        await flow.create_steps("f", [Step("a", gate), Step("b", FlowExecuteOperation("child"), after="a")])
        handle = await flow.execute("f", 5, async_=True)
        stopping = asyncio.ensure_future(flow.stop())
        await turns()
        gate.open()
        await stopping
        assert handle.status is Status.SUCCESS

    run_virtual(main())


def test_children_of_what_is_stopped_are_stopped_too() -> None:
    async def main() -> None:
        gate = Gate()
        flow = Flow()
        await flow.create_step("child", Step("a", gate))
        await flow.create_step("f", Step("b", FlowExecuteOperation("child")))
        handle = await flow.execute("f", b"5", async_=True)
        await turns()
        (child,) = await handles(flow, "child")
        await flow.stop(drain=0)
        assert (handle.status, child.status) == (Status.STOPPED, Status.STOPPED)

    run_virtual(main())


class Witness(MemoryRpcClient):
    """Says whether it was closed while the execution still ran."""

    def __init__(self) -> None:
        super().__init__()
        self.handle: Any = None
        self.status_when_closed: Status | None = None

    async def close(self) -> None:
        self.status_when_closed = self.handle.status
        await super().close()


def test_clients_and_threads_are_released_after_the_drain_not_before() -> None:
    async def main() -> None:
        gate = Gate()
        rpc, pubsub = Witness(), MemoryPubSubClient()
        rpc.serve("shop", "buy", lambda data, headers: data)
        flow = Flow(rpc=rpc, pubsub=pubsub)
        buy = flow_core.ClientCallOperation("shop", "buy")
        await flow.create_steps("f", [Step("a", gate), Step("b", buy, after="a"), Step("c", lambda v: v, after="b")])
        rpc.handle = await flow.execute("f", 5, async_=True)
        stopping = asyncio.ensure_future(flow.stop())
        await turns()
        assert rpc.status_when_closed is None
        gate.open()
        await stopping
        assert rpc.status_when_closed is Status.SUCCESS  # its rpc step and its thread step were still served

    flow_core.run(main())


def test_a_thread_is_told_and_not_waited_for() -> None:
    async def main() -> None:
        seen = threading.Event()
        running = threading.Event()

        def busy(ctx: StepContext, value: Any) -> None:
            running.set()
            while not ctx.cancelled:
                pass
            seen.set()

        flow = Flow()
        await flow.create_step("f", Step("a", busy))
        handle = await flow.execute("f", 1, async_=True)
        await asyncio.to_thread(running.wait)
        await flow.stop(drain=0)
        assert handle.status is Status.STOPPED
        assert await asyncio.to_thread(seen.wait, 30)

    flow_core.run(main())


def test_stop_twice_and_at_the_same_time() -> None:
    async def main() -> None:
        gate = Gate()
        flow = Flow()
        await flow.create_step("f", Step("a", gate))
        handle = await flow.execute("f", 1, async_=True)
        first, second = asyncio.ensure_future(flow.stop(5)), asyncio.ensure_future(flow.stop(20))
        await asyncio.gather(first, second)
        assert handle.status is Status.STOPPED
        assert asyncio.get_running_loop().time() < 10
        await flow.stop()

    run_virtual(main())


def test_stop_of_an_executor_that_never_ran() -> None:
    async def main() -> None:
        executor = Executor()
        await executor.stop()
        with pytest.raises(ExecutorStopped):
            await executor.execute([Step("a", echo)])

    run_virtual(main())


def test_a_paused_execution_ends_stopped() -> None:
    async def main() -> None:
        flow = Flow()
        await flow.create_steps("f", chain(Gate(), echo))
        handle = await flow.execute("f", 1, async_=True)
        await handle.pause()
        await flow.stop(drain=2)
        assert handle.status is Status.STOPPED

    run_virtual(main())


def test_what_is_paused_is_not_waited_for_but_its_running_steps_are() -> None:
    async def main() -> None:
        flow, gate, loop = Flow(), Gate(), asyncio.get_running_loop()
        await flow.create_steps("f", chain(gate, echo))
        paused = await flow.execute("f", 1, async_=True)
        await paused.pause()
        begun = loop.time()
        loop.call_later(3, gate.open)
        await flow.stop(drain=1000)
        assert loop.time() - begun == pytest.approx(3, abs=0.1)
        assert paused.status is Status.STOPPED
        assert [paused.step_status_of(step.id) for step in paused.plan.items] == [Status.SUCCESS, Status.STOPPED]

    run_virtual(main())


async def boom() -> None:
    raise OSError("boom")


def test_who_is_paused_while_the_executor_stops_holds_it_up_no_longer() -> None:
    async def main() -> None:
        flow, loop = Flow(), asyncio.get_running_loop()
        await flow.create_step("f", Step("a", boom, retry=Retry(initial=900, max=900, jitter="none")))
        waiting = await flow.execute("f", 1, async_=True)
        begun = loop.time()
        loop.call_later(2, lambda: asyncio.ensure_future(waiting.pause()))
        await flow.stop(drain=1000)
        assert loop.time() - begun == pytest.approx(2, abs=0.1)

    run_virtual(main())


def test_a_coroutine_that_does_not_give_up_is_left_behind() -> None:
    async def main() -> None:
        release = asyncio.Event()

        async def stubborn(value: Any) -> Any:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    pass
            return value

        flow = Flow()
        await flow.create_step("f", Step("a", stubborn))
        handle = await flow.execute("f", 1, async_=True)
        await flow.stop(drain=0)
        assert handle.status is Status.STOPPED
        assert flow.executor.statistics().late_outcomes == 0
        release.set()
        await turns(10)
        assert flow.executor.statistics().late_outcomes == 1 and handle.status is Status.STOPPED

    run_virtual(main())


def test_the_context_manager_of_the_executor_stops_it() -> None:
    async def main() -> None:
        async with Executor() as executor:
            assert (await executor.execute([Step("a", echo)], 3)).response == 3
        with pytest.raises(ExecutorStopped):
            await executor.execute([Step("a", echo)])

    run_virtual(main())

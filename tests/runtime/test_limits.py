"""The executor's limits: running steps, the queue in front of it, fairness, priorities."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import flow_core
from flow_core import Executor, ExecutorOptions, Flow, FlowExecuteOperation, Status, Step
from flow_core.errors import ExecutorStopped, InvalidOption, QueueFull
from tests.aio import run_virtual
from tests.runtime.kit import Gate, Gauge, chain, echo, handles, turns, wait_for


def fan(body: Any, count: int) -> list[Step]:
    return [Step(f"w{i}", body) for i in range(count)]


@pytest.mark.parametrize("limit", [1, 3, 8])
def test_the_executor_never_runs_more_steps_than_its_limit(limit: int) -> None:
    async def main() -> None:
        gauge = Gauge()
        async with Flow(executor=Executor(concurrency=limit)) as flow:
            await flow.create_steps("f", fan(gauge, 10))
            await asyncio.gather(*(flow.execute("f", i) for i in range(5)))
        assert gauge.calls == 50
        assert gauge.most == limit  # never exceeded, and used to the full

    run_virtual(main())


def test_an_execution_never_runs_more_steps_than_its_own_limit() -> None:
    async def main() -> None:
        own, others = Gauge(), Gauge()
        async with Flow() as flow:
            await flow.create_steps("own", fan(own, 20))
            await flow.create_steps("others", fan(others, 20))
            await asyncio.gather(flow.execute("own", concurrency=4), flow.execute("others"))
        assert own.most == 4 and others.most == 20

    run_virtual(main())


def test_worker_threads_count_as_running_steps_too() -> None:
    async def main() -> None:
        most = 0
        async with Flow(executor=Executor(concurrency=2, workers=8)) as flow:

            def look() -> None:
                nonlocal most
                most = max(most, flow.executor.statistics().steps_running)

            await flow.create_steps("f", fan(look, 20))
            await flow.execute("f")
            assert 1 <= most <= 2
            assert flow.executor.statistics().steps_running == 0

    flow_core.run(main())


def test_a_limit_given_to_fallbacks_and_compensations_holds_too() -> None:
    async def main() -> None:
        gauge = Gauge()

        async def fail(value: Any) -> None:
            raise OSError

        async with Flow(executor=Executor(concurrency=2)) as flow:
            await flow.create_steps("f", [Step(f"w{i}", fail, fallback=gauge) for i in range(6)])
            await flow.execute("f")
            assert gauge.calls == 6
            assert flow.executor.statistics().steps_running == 0

    run_virtual(main())


def test_the_queue_makes_callers_wait_their_turn() -> None:
    async def main() -> None:
        gate = Gate()
        async with Flow(executor=Executor(queue=2)) as flow:
            await flow.create_step("f", Step("a", gate))
            calls = [asyncio.ensure_future(flow.execute("f", i)) for i in range(5)]
            await turns()
            assert gate.started == [0, 1]  # two executions; three callers wait
            assert flow.executor.statistics().executions_live == 2
            gate.open()
            await asyncio.gather(*calls)
            assert gate.started == [0, 1, 2, 3, 4]  # first come, first served

    run_virtual(main())


def test_nobody_overtakes_those_who_wait_for_room() -> None:
    async def main() -> None:
        order: list[int] = []
        gates = [Gate() for _ in range(4)]

        async def body(value: int) -> None:
            order.append(value)
            await gates[value].event.wait()

        async with Flow(executor=Executor(queue=1)) as flow:
            await flow.create_step("f", Step("a", body))
            first = asyncio.ensure_future(flow.execute("f", 0))
            await turns()
            waiting = [asyncio.ensure_future(flow.execute("f", i)) for i in (1, 2)]
            await turns()

            async def newcomer() -> None:  # comes in the very moment in which room is made
                await first
                await flow.execute("f", 3)

            late = asyncio.ensure_future(newcomer())
            for gate in gates:
                gate.open()
            await asyncio.gather(*waiting, late)
        assert order == [0, 1, 2, 3]

    run_virtual(main())


def test_a_cancelled_waiter_passes_its_turn_on() -> None:
    async def main() -> None:
        gate = Gate()
        async with Flow(executor=Executor(queue=1)) as flow:
            await flow.create_step("f", Step("a", gate))
            first = asyncio.ensure_future(flow.execute("f", 0))
            await turns()
            second, third = (asyncio.ensure_future(flow.execute("f", i)) for i in (1, 2))
            await turns()
            second.cancel()
            gate.open()
            await first
            await third
            assert gate.started == [0, 2]
            assert second.cancelled()

    run_virtual(main())


def test_a_waiter_cancelled_in_the_moment_of_its_turn_passes_it_on() -> None:
    async def main() -> None:
        gate = Gate()
        async with Flow(executor=Executor(queue=1)) as flow:
            await flow.create_step("f", Step("a", gate))
            first = asyncio.ensure_future(flow.execute("f", 0))
            await turns()
            second, third = (asyncio.ensure_future(flow.execute("f", i)) for i in (1, 2))
            await turns()
            handle = (await handles(flow, "f"))[0]
            gate.open()
            await handle.wait()  # room was given to the second caller in this very turn
            second.cancel()
            await asyncio.gather(first, third)
            assert 2 in gate.started

    run_virtual(main())


def test_children_do_not_wait_for_room_that_their_parents_hold() -> None:
    async def main() -> None:
        async with Flow(executor=Executor(queue=1)) as flow:
            await flow.create_step("child", Step("a", echo))
            await flow.create_step("parent", Step("sub", FlowExecuteOperation("child")))
            assert await flow.call("parent", b'"x"') == b'"x"'

    run_virtual(main())


def test_stop_tells_those_who_wait_for_room() -> None:
    async def main() -> None:
        gate = Gate()
        flow = Flow(executor=Executor(queue=1))
        await flow.create_step("f", Step("a", gate))
        first = asyncio.ensure_future(flow.execute("f", 0))
        await turns()
        second = asyncio.ensure_future(flow.execute("f", 1))
        await turns()
        stopping = asyncio.ensure_future(flow.stop())
        with pytest.raises(ExecutorStopped):
            await second
        gate.open()
        await asyncio.gather(first, stopping)
        assert gate.started == [0]

    run_virtual(main())


def test_a_waiter_woken_before_stop_does_not_start_after_it() -> None:
    async def main() -> None:
        gate = Gate()
        flow = Flow(executor=Executor(queue=1))
        await flow.create_step("f", Step("a", gate))
        first = await flow.execute("f", 0, async_=True)
        second = asyncio.ensure_future(flow.execute("f", 1))
        await turns()
        gate.open()
        await first.wait()  # the second caller has its turn, and has not taken it up yet
        await flow.stop()
        with pytest.raises(ExecutorStopped):
            await second
        assert gate.started == [0]

    run_virtual(main())


@pytest.mark.parametrize("limit", [1, 2])
def test_two_executions_take_turns(limit: int) -> None:
    async def main() -> None:
        order: list[str] = []

        async def body(value: str) -> None:
            order.append(value)
            await asyncio.sleep(1)

        async with Flow(executor=Executor(concurrency=limit)) as flow:
            await flow.create_steps("f", fan(body, 50))
            await asyncio.gather(flow.execute("f", "a"), flow.execute("f", "b"))
        # Neither runs to its end while the other waits: half-way through both are about half done.
        half = order[: len(order) // 2]
        assert 15 <= half.count("a") <= 35, "".join(order)

    run_virtual(main())


def test_a_small_execution_is_not_stuck_behind_a_large_one() -> None:
    async def main() -> None:
        ended: list[str] = []

        async def body(value: str) -> None:
            await asyncio.sleep(1)
            ended.append(value)

        async with Flow(executor=Executor(concurrency=2)) as flow:
            await flow.create_steps("large", fan(body, 100))
            await flow.create_step("small", Step("a", body))
            large = await flow.execute("large", "large", async_=True)
            await flow.execute("small", "small")
            assert ended.index("small") < 10
            await large.wait()

    run_virtual(main())


def test_priority_lanes_go_first() -> None:
    async def main() -> None:
        order: list[int] = []

        async def body(value: int) -> None:
            order.append(value)
            await asyncio.sleep(1)

        async with Flow(executor=Executor(concurrency=1)) as flow:
            await flow.create_step("f", Step("a", body))
            handles = [await flow.execute("f", p, async_=True, priority=p) for p in (2, 3, 1, 0, 3, 0)]
            for handle in handles:
                await handle.wait()
        assert order == [2, 0, 0, 1, 3, 3]  # the first one found the slot free

    run_virtual(main())


def test_the_table_is_a_limit_with_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from flow_core.runtime import executor

    monkeypatch.setattr(executor, "MOST_EXECUTIONS", 2)

    async def main() -> None:
        gate = Gate()
        async with Flow() as flow:
            await flow.create_step("f", Step("a", gate))
            handles = [await flow.execute("f", i, async_=True) for i in range(2)]
            with pytest.raises(QueueFull, match="2 executions"):
                await flow.execute("f", 2)
            gate.open()
            for handle in handles:
                await handle.wait()
            assert flow.executor.statistics().executions_started == 2

    run_virtual(main())


@pytest.mark.parametrize(
    "wrong",
    [
        {"concurrency": 0},
        {"workers": 0},
        {"queue": 0},
        {"keep": -1},
        {"budget": 0},
        {"drain": -1},
        {"concurrency": "8"},
    ],
)
def test_impossible_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match=next(iter(wrong))):
        Executor(**wrong)
    with pytest.raises(InvalidOption):
        ExecutorOptions(**wrong)


def test_limits_hold_for_a_chain_of_instant_steps() -> None:
    async def main() -> None:
        async with Flow(executor=Executor(concurrency=1)) as flow:
            await flow.create_steps("f", chain(*[echo] * 100))
            executions = await asyncio.gather(*(flow.execute("f", i) for i in range(20)))
            assert [e.response for e in executions] == list(range(20))
            assert {e.status for e in executions} == {Status.SUCCESS}
            await wait_for(lambda: flow.executor.statistics().steps_running == 0)

    run_virtual(main())

"""Who may write: two executors, frozen ones, heartbeats, stops, loops that are shut down."""

import asyncio

import pytest

import flow_core
from flow_core import Executor, FlowExecuteOperation, Retry, Status, Step, blocking
from flow_core.errors import ExecutionStopped, InvalidOption, LeaseLost, StoreUnavailable
from flow_core.model.records import AttemptFailed, StepEnded
from tests.durable.kit import Calls, Held, again, chain, crash, flow_on, memory, outcomes, play, started, until


def test_a_frozen_executor_is_taken_over_and_its_late_commit_refused():
    async def main():
        store, calls, gate = Held(), Calls(), asyncio.Event()
        steps = [Step("a", calls.body("a", gate=gate)), Step("b", calls.body("b"), after="a")]
        flow, execution = await started(store, steps)
        await until(lambda: calls["a"])
        renew, frozen = store.renew, asyncio.Event()
        first = flow.executor._session._lease.epoch

        async def no_heartbeat(epoch):
            if epoch.number == first.number:
                await frozen.wait()
            await renew(epoch)

        store.renew = no_heartbeat
        store.hold()
        gate.set()  # its outcome is on its way, and stays there
        await until(lambda: len(store.asked) > 1)
        await asyncio.sleep(16)
        other = flow_on(store, "other")
        await other.create_steps("f", steps)
        await asyncio.sleep(30)
        store.free()
        assert await other.executor.wait("f", "x") is Status.SUCCESS
        frozen.set()
        with pytest.raises(LeaseLost):
            await execution
        assert execution.status is Status.STOPPED
        assert dict(calls) == {"a": 2, "b": 1}
        assert set(await outcomes(store, "x")) == {"a", "b"}
        assert await flow.executor.status("f", "x") is Status.SUCCESS  # which the store knows
        assert (await flow.execute("f", 1)).status is Status.SUCCESS  # and goes on, with an epoch of its own
        await flow.stop()
        await other.stop()

    play(main())


def test_a_dead_executor_is_taken_over_when_its_lease_is_over():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        steps = [Step("a", calls.body("a", gate=gate))]
        other = flow_on(store, "other")
        await other.create_steps("f", steps)
        flow, _ = await started(store, steps)
        await until(lambda: calls["a"])
        crash(flow)
        gate.set()
        before = asyncio.get_running_loop().time()
        assert await other.executor.wait("f", "x") is Status.SUCCESS
        assert 5 < asyncio.get_running_loop().time() - before < 25
        await other.stop()

    play(main())


def test_two_executors_of_one_name_do_not_chase_each_other():
    async def main():
        store, calls = memory(), Calls()
        flows = [flow_on(store), flow_on(store)]
        for flow in flows:
            await flow.create_steps("f", chain(calls, "a"))
        await asyncio.sleep(100)
        assert len(store._owners) < 60
        for flow in flows:
            await flow.stop()

    play(main())


def test_heartbeats_go_on_during_a_long_recovery():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        flow = flow_on(store)
        await flow.create_steps("f", [Step("a", calls.body("a", gate=gate))])
        for i in range(30):
            await flow.execute("f", 1, id=f"x{i}", async_=True)
        crash(flow)
        load = store.load

        async def slowly(execution):
            await asyncio.sleep(1)
            return await load(execution)

        store.load = slowly
        opening = asyncio.create_task(again(store, [Step("a", calls.body("a", gate=gate))]))
        other = flow_on(store, "other")
        await asyncio.sleep(20)
        await other.open()
        assert other.executor.statistics().recovered == 0, "one that was busy was taken for dead"
        flow = await opening
        gate.set()
        for i in range(30):
            assert await flow.executor.wait("f", f"x{i}") is Status.SUCCESS
        await flow.stop()
        await other.stop()

    play(main())


@pytest.mark.parametrize("damage", ["step", "shape", "start"])
def test_an_execution_that_can_not_be_read_holds_up_no_other(damage):
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        steps = [Step("a", calls.body("a", gate=gate)), Step("b", calls.body("b"), after="a")]
        flow = flow_on(store)
        await flow.create_steps("f", steps)
        for name in ("bad", "good"):
            await flow.execute("f", 1, id=name, async_=True)
        crash(flow)
        records = store._entries["bad"].records
        if damage == "step":
            records.append(StepEnded("bad", "zzz", 1, Status.SUCCESS, b""))
        elif damage == "shape":
            records.append(StepEnded("bad", "a", 1, Status.SUCCESS, b"{", None, False, True))
        else:
            del records[:]
        gate.set()
        flow = await again(store, steps)
        assert await flow.executor.wait("f", "good") is Status.SUCCESS
        assert flow.executor.statistics().executions_live == 0
        assert flow.executor.statistics().waiting == 1
        reasons = (await flow.executor.explain("f", "bad")).reasons
        assert reasons[0].kind == "store"
        await asyncio.sleep(30)
        assert await flow.execute("f", 1) is not None
        await flow.stop()

    play(main())


def test_what_can_not_be_read_while_the_store_fails_is_read_later():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        steps = [Step("a", calls.body("a", gate=gate))]
        flow, _ = await started(store, steps)
        crash(flow)
        load, sick = store.load, True

        async def fail(execution):
            if sick:
                raise StoreUnavailable("not now")
            return await load(execution)

        store.load = fail
        gate.set()
        flow = await again(store, steps)
        assert "not now" in str(await flow.executor.explain("f", "x"))
        sick = False
        assert await flow.executor.wait("f", "x") is Status.SUCCESS
        await flow.stop()

    play(main())


def test_an_executor_that_can_not_open_its_store_may_try_again():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        steps = [Step("a", calls.body("a", gate=gate))]
        flow, _ = await started(store, steps)
        crash(flow)
        claim = store.claim

        async def fail(epoch, limit=100):
            raise StoreUnavailable("not now")

        store.claim = fail
        flow = flow_on(store)
        with pytest.raises(StoreUnavailable):
            await flow.open()
        store.claim = claim
        gate.set()
        await flow.create_steps("f", steps)
        assert await flow.executor.wait("f", "x") is Status.SUCCESS
        await flow.stop()

    play(main())


# --- stop -------------------------------------------------------------------------------------------------------------


def test_stop_ends_here_what_goes_on_later_children_included():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()

        async def open_flow():
            flow = flow_on(store)
            await flow.create_steps("child", [Step("c", calls.body("c", gate=gate))])
            await flow.create_steps("f", [Step("p", FlowExecuteOperation("child"))])
            later = Retry(1, initial=1000, max=2000, jitter="none")
            await flow.create_step("g", Step("r", calls.body("r", fail=1), retry=later))
            return flow

        flow = await open_flow()
        parent = await flow.execute("f", 1, id="x", async_=True)
        retried = await flow.execute("g", 1, id="y", async_=True)
        await until(lambda: calls["c"] and calls["r"])
        await flow.stop()
        for execution in (parent, retried):
            with pytest.raises(ExecutionStopped):
                await execution
        assert {info.status for info in (await store.list()).items} == {Status.RUNNING}
        flow = await open_flow()
        gate.set()
        assert await flow.executor.wait("f", "x") is Status.SUCCESS
        assert await flow.executor.wait("g", "y") is Status.SUCCESS
        assert asyncio.get_running_loop().time() == pytest.approx(1000, abs=5)
        assert any(isinstance(record, AttemptFailed) for record in await store.load("y"))
        await flow.stop()

    play(main())


@pytest.mark.parametrize("kept", ["memory", "sqlite"])
def test_a_loop_that_is_shut_down_under_an_executor_hangs_nobody_and_loses_nothing(tmp_path, kept):
    store = memory() if kept == "memory" else f"sqlite:///{tmp_path}/flow.db"
    calls = Calls()

    async def leave():
        flow = flow_on(store)
        await flow.create_steps("f", [*chain(calls, "a"), Step("b", calls.body("b", seconds=1000), after="a")])
        for i in range(3):
            await flow.execute("f", 1, id=f"x{i}", async_=True)
        starting = asyncio.create_task(flow.execute("f", 1, id="y"))
        await asyncio.sleep(0)
        if kept == "sqlite":
            flows.append(flow)
        assert not starting.done()

    async def come_back():
        flow = flow_on(store)
        await flow.open()
        for i in range(3):
            assert await flow.executor.status("f", f"x{i}") is Status.RUNNING
        await flow.stop()
        for one in flows:
            await one._store.close()

    flows = []
    run = play if kept == "memory" else asyncio.run
    run(leave())
    run(come_back())


class Leave(SystemExit):
    pass


def test_a_step_that_leaves_the_loop_loses_nothing():
    """Its failure is recorded, and so are the outcomes of the others in its commit."""
    store, calls = memory(), Calls()

    async def first():
        async def leave(value):
            raise Leave

        flow = flow_on(store)
        await flow.create_steps("f", [*chain(calls, "a"), Step("b", leave, after="a")])
        await flow.create_steps("g", chain(calls, "c", "d"))
        await asyncio.gather(*(flow.execute(name, 1, id=name) for name in "fg"), return_exceptions=True)

    async def second():
        flow = flow_on(store)
        await flow.create_steps("g", chain(calls, "c", "d"))
        assert await flow.executor.wait("g", "g") is Status.SUCCESS
        assert "a" in await outcomes(store, "f")
        await flow.stop()

    with pytest.raises(SystemExit):
        play(first())
    play(second())


# --- other ways in ----------------------------------------------------------------------------------------------------


def test_an_executor_without_a_flow_has_a_store_too():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        executor = Executor(name="one", drain=0)
        await executor.attach(store)
        assert (await executor.execute(chain(calls, "a"), 1, id="x")).response == "a"
        await executor.execute([Step("b", calls.body("b", gate=gate))], 1, id="y", async_=True)
        await executor.stop()
        executor = Executor(name="one", drain=0)
        await executor.attach(store)
        assert await executor.status("steps", "x") is Status.SUCCESS
        assert "Flow" in str(await executor.explain("steps", "y"))
        with pytest.raises(InvalidOption, match="has a store already"):
            await executor.attach(store)
        await executor.stop()

    play(main())


def test_the_blocking_flow_is_durable_too(tmp_path):
    url, calls = f"sqlite:///{tmp_path}/flow.db", Calls()
    for _ in range(2):
        with blocking.Flow(store=url) as flow:
            flow.create_steps("f", chain(calls, "a", "b"))
            execution = flow.execute("f", 1, id="x")
            assert (execution.status, execution.id) == (Status.SUCCESS, "x")
            assert flow.executor.status("f", "x") is Status.SUCCESS
    assert dict(calls) == {"a": 1, "b": 1}


def test_uvloop_and_sqlite(tmp_path):
    url, calls = f"sqlite:///{tmp_path}/flow.db", Calls()

    async def main():
        async with flow_on(url) as flow:
            await flow.create_steps("f", [*chain(calls, *"abc"), Step("t", lambda value: value + "!", after="c")])
            found = await asyncio.gather(*(flow.execute("f", i) for i in range(50)))
            assert {one.response for one in found} == {"c!"}

    flow_core.run(main())
    assert calls["a"] == 50

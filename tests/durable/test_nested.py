"""Executions that start executions, and crashes in between."""

import asyncio

import pytest

from flow_core import FlowExecuteOperation, Status, Step, StepContext
from flow_core.errors import StepFailed
from tests.durable.kit import Calls, chain, crash, flow_on, memory, outcomes, play, until


async def with_flows(store, calls, gate, name="one", **body):
    """A parent of three steps, the middle one of which executes the child flow, the last step of which waits."""
    flow = flow_on(store, name)
    child = [*chain(calls, "c0"), Step("c1", calls.body("c1", gate=gate, **body), after="c0")]
    await flow.create_steps("child", child)
    await flow.create_steps("middle", [Step("m", FlowExecuteOperation("child"))])
    parent = [Step("p0", calls.body("p0")), Step("p1", FlowExecuteOperation("middle"), after="p0")]
    await flow.create_steps("parent", [*parent, Step("p2", calls.body("p2"), after="p1")])
    return flow


async def ids(store):
    return {info.flow: info.execution for info in (await store.list()).items}


def test_a_parent_finds_its_child_again_while_it_is_under_way():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        flow = await with_flows(store, calls, gate)
        await flow.execute("parent", 1, id="x", async_=True)
        await until(lambda: calls["c1"])
        before = await ids(store)
        crash(flow)
        gate.set()
        flow = await with_flows(store, calls, gate)
        assert await flow.executor.wait("parent", "x") is Status.SUCCESS
        assert await ids(store) == before, "another child was started"
        assert dict(calls) == {"p0": 1, "c0": 1, "c1": 2, "p2": 1}
        assert [info.parent for info in (await store.list()).items] == [before["middle"], "x", None]
        await flow.stop()

    play(main())


def test_a_parent_finds_its_child_again_when_it_is_over():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        flow = await with_flows(store, calls, gate)
        commit = store.commit

        async def commit_but_not_of_parents(epoch, records, *, commit_id=None):
            if any(record.step in ("m", "p1") for record in records if hasattr(record, "step")):
                await asyncio.Event().wait()
            await commit(epoch, records, commit_id=commit_id)

        store.commit = commit_but_not_of_parents
        await flow.execute("parent", 1, id="x", async_=True)
        gate.set()
        await until(lambda: calls["c1"])
        await asyncio.sleep(1)
        crash(flow)
        del store.commit
        flow = await with_flows(store, calls, gate)
        assert await flow.executor.wait("parent", "x") is Status.SUCCESS
        assert dict(calls) == {"p0": 1, "c0": 1, "c1": 1, "p2": 1}
        assert await flow.executor.result("parent", "x", "p1") == b'"c1"'
        await flow.stop()

    play(main())


def test_a_child_that_failed_fails_its_parent_after_a_restart_too():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        flow = await with_flows(store, calls, gate, fail=99)
        await flow.execute("parent", 1, id="x", async_=True)
        await until(lambda: calls["c1"])
        crash(flow)
        gate.set()
        flow = await with_flows(store, calls, gate, fail=99)
        with pytest.raises(StepFailed, match="c1 is down"):
            await flow.execute("parent", 1, id="x")
        assert len(await ids(store)) == 3
        await flow.stop()

    play(main())


def test_an_abort_of_the_parent_reaches_its_child_after_a_restart():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        flow = await with_flows(store, calls, gate)
        await flow.execute("parent", 1, id="x", async_=True)
        await until(lambda: calls["c1"])
        crash(flow)
        flow = await with_flows(store, calls, gate)
        await until(lambda: calls["c1"] == 2)
        await flow.executor.abort("parent", "x")
        await asyncio.sleep(1)
        assert {info.status for info in (await store.list()).items} == {Status.ABORTED}
        await flow.stop()

    play(main())


def test_a_child_whose_parent_was_being_aborted_is_aborted_after_the_crash():
    """The parent's end was recorded, and the process died before it could cancel the child."""

    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        flow = await with_flows(store, calls, gate)
        await flow.execute("parent", 1, id="x", async_=True)
        await until(lambda: calls["c1"])
        commit, ending = store.commit, asyncio.Event()

        async def only_the_ending(epoch, records, *, commit_id=None):
            if ending.is_set():
                await asyncio.Event().wait()
            await commit(epoch, records, commit_id=commit_id)
            ending.set()

        store.commit = only_the_ending
        aborting = asyncio.create_task(flow.executor.abort("parent", "x"))
        await ending.wait()
        crash(flow)
        await asyncio.gather(aborting, return_exceptions=True)
        del store.commit
        calls.clear()
        flow = await with_flows(store, calls, gate)
        await asyncio.sleep(1)
        assert {info.status for info in (await store.list()).items} == {Status.ABORTED}
        await flow.stop()

    play(main())


def test_two_executors_may_take_over_parent_and_child():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        flow = await with_flows(store, calls, gate)
        await flow.execute("parent", 1, id="x", async_=True)
        await until(lambda: calls["c1"])
        crash(flow)
        claim = store.claim

        async def claim_one(epoch, limit=100):
            return await claim(epoch, 1) if not await mine(store, epoch) else []

        store.claim = claim_one
        await asyncio.sleep(60)  # its lease is over
        flows = [await with_flows(store, calls, gate, name) for name in ("two", "three", "four")]
        gate.set()
        assert await flows[0].executor.wait("parent", "x") is Status.SUCCESS
        assert {one.executor.statistics().recovered for one in flows} == {1}
        assert calls["p2"] == 1
        for one in flows:
            await one.stop()

    play(main())


async def mine(store, epoch):
    return [info for info in (await store.list(unfinished=True)).items if info.epoch == epoch.number]


def test_steps_of_no_flow_are_kept_with_their_execution():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()

        def steps():
            return [*chain(calls, "a"), Step("b", calls.body("b", gate=gate), after="a")]

        flow = flow_on(store)
        await flow.execute(steps(), 1, id="x", async_=True)
        await until(lambda: calls["b"])
        crash(flow)
        flow = flow_on(store)
        await flow.open()
        assert "the callable 'body.b'" in str(await flow.executor.explain("steps", "x"))
        gate.set()
        again = await flow.execute(steps(), 1, id="x")
        assert (again.status, dict(calls)) == (Status.SUCCESS, {"a": 1, "b": 2})
        fork = await flow.executor.restart("steps", "x", "b")
        assert await fork == "b"
        assert dict(calls) == {"a": 1, "b": 3}
        await flow.stop()

    play(main())


def test_callables_start_children_that_are_found_again():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()

        async def both(ctx: StepContext, value):
            calls["both"] += 1
            one = await ctx.execute("child", b"1")
            two = await ctx.execute("child", b"2")
            return one + two

        async def open_flow():
            flow = flow_on(store)
            await flow.create_steps("child", [Step("c", calls.body("c", gate=gate))])
            await flow.create_step("parent", Step("p", both))
            return flow

        flow = await open_flow()
        await flow.execute("parent", 1, id="x", async_=True)
        await until(lambda: calls["c"])
        crash(flow)
        gate.set()
        flow = await open_flow()
        assert await flow.executor.wait("parent", "x") is Status.SUCCESS
        assert dict(calls) == {"both": 2, "c": 3}
        assert len((await store.list("child")).items) == 2
        assert len(await outcomes(store, "x")) == 1
        await flow.stop()

    play(main())

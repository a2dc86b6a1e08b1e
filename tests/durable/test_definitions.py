"""Flows that are kept: registered again, by two at once, on a store that fails, changed under running executions."""

import asyncio
import gc

import pytest

from flow_core import Flow, Status, Step
from flow_core.errors import DuplicateStep, RevisionConflict, StoreTimeout, UnknownFlow
from tests.durable.kit import Calls, chain, crash, flow_on, memory, play, until


def test_the_same_steps_again_change_nothing():
    async def main():
        store, calls = memory(), Calls()
        for n in range(3):
            flow = flow_on(store)
            assert await flow.create_steps("f", chain(calls, "a", "b", retry=3, timeout=7)) == (2 if n else 1)
            assert await flow.create_step("f", Step("c", calls.body("c"), after="b")) == 2
            assert (await flow.execute("f", 1)).response == "c"
            with pytest.raises(DuplicateStep):
                await flow.create_step("f", Step("c", calls.body("c"), after="a"))
            assert await flow.revision("f") == 2
            await flow.stop()
        assert len(await store.definitions()) == 2

    play(main())


def test_two_that_register_at_once_lose_nothing():
    async def main():
        store, calls = memory(), Calls()
        flows = [flow_on(store, "one"), flow_on(store, "two")]
        await asyncio.gather(*(
            flow.create_step("f", Step(f"{flow.executor.options.name}{i}", calls.body("x")))
            for i in range(10) for flow in flows
        ))  # fmt: skip
        assert len(await store.definitions("f")) == 20
        third = flow_on(store, "three")
        await third.open()
        assert len(await third.lookup("f")) == 20
        for flow in flows:
            await flow.create_step("f", Step("last", calls.body("last")))
            assert len(await flow.lookup("f")) == 21
        assert await flows[0].revision("f") == await flows[1].revision("f") == 21
        with pytest.raises(RevisionConflict):
            await flows[0].create_step("f", Step("more", calls.body("x")), revision=20)
        for flow in [*flows, third]:
            await flow.stop()

    play(main())


def test_a_change_that_was_written_though_the_store_said_no_counts_once():
    async def main():
        store, calls = memory(), Calls()
        async with flow_on(store) as flow:
            save = store.save_definition

            async def written(*change):
                await save(*change)
                raise StoreTimeout("no answer")

            async def not_written(*change):
                raise StoreTimeout("no answer")

            for n, fault in enumerate((written, not_written)):
                store.save_definition = fault
                with pytest.raises(StoreTimeout):
                    await flow.create_steps("f", chain(calls, f"a{n}"))
                store.save_definition = save
                await flow.create_steps("f", chain(calls, f"a{n}"))
                assert await flow.revision("f") == n + 1
            assert len(await store.definitions("f")) == 2
            await flow.execute("f", 1)
            assert dict(calls) == {"a0": 1, "a1": 1}

    play(main())


def test_an_execution_goes_on_with_the_revision_it_began_with():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        old = [Step("a", calls.body("a", gate=gate)), Step("b", calls.body("b"), after="a")]
        flow = flow_on(store)
        await flow.create_steps("f", old)
        await flow.execute("f", 1, id="x", async_=True)
        await until(lambda: calls["a"])
        await flow.replace_step("f", "b", Step("b", calls.body("new b"), after="a"))
        await flow.create_step("f", Step("c", calls.body("c"), after="b"))
        await flow.delete_step("f", "c")
        crash(flow)
        gate.set()
        flow = flow_on(store)
        await flow.open()
        flow.bind("body.a", old[0].operation.function)
        flow.bind("body.b", old[1].operation.function)
        assert await flow.executor.wait("f", "x") is Status.SUCCESS
        assert dict(calls) == {"a": 2, "b": 1}
        assert flow.executor.find("f", "x").revision == 1
        flow.bind("body.new b", calls.body("new b"))
        assert (await flow.execute("f", 1)).revision == 4
        assert calls["new b"] == 1
        again = await flow.executor.restart("f", "x")
        await again
        assert (again.revision, calls["b"]) == (1, 2)
        await flow.stop()

    play(main())


def test_a_flow_is_looked_up_in_a_store_that_nobody_opened_yet():
    async def main():
        store, calls = memory(), Calls()
        async with flow_on(store) as flow:
            await flow.create_steps("f", [*chain(calls, "a"), Step("b", calls.body("b"), after="zzz")])
        flow = flow_on(store)
        assert [step.id for step in await flow.lookup("f")] == ["a", "b"]
        await flow.stop()
        flow = flow_on(store)
        assert await flow.unresolved("f") == {"zzz": ["b"]}
        await flow.stop()
        flow = flow_on(store)
        assert await flow.revision("f") == 1
        with pytest.raises(UnknownFlow):
            await flow.lookup("g")
        await flow.stop()

    play(main())


def test_a_flow_that_gets_its_store_later_brings_its_steps():
    async def main():
        store, calls = memory(), Calls()
        flow = Flow()
        await flow.create_steps("f", chain(calls, "a", "b"))
        await flow.create_step("f", Step("c", calls.body("c")))
        await flow.delete_step("f", "c")
        assert (await flow.execute("f", 1)).response == "b"
        await flow.init(store=store)
        execution = await flow.execute("f", 1, id="x")
        assert execution.response == "b"
        assert len(await store.load("x")) == 4, "it was not kept"
        await flow.create_step("f", Step("d", calls.body("d")))
        await flow.stop()
        flow = flow_on(store)
        assert [step.id for step in await flow.lookup("f")] == ["a", "b", "d"]
        assert await flow.executor.status("f", "x") is Status.SUCCESS
        await flow.stop()

    play(main())


def test_who_waits_for_a_step_hears_of_another_process():
    async def main():
        store, calls = memory(), Calls()
        one, two = flow_on(store, "one"), flow_on(store, "two")
        await one.create_step("f", Step("b", calls.body("b"), after="a"))
        await two.open()
        waiting = asyncio.create_task(two.execute("f", 1, unresolved="wait"))
        await asyncio.sleep(1)
        two.bind("body.a", calls.body("a"))
        two.bind("body.b", calls.body("b"))
        await one.create_step("f", Step("a", calls.body("a")))
        assert (await waiting).response == "b"
        await one.stop()
        await two.stop()

    play(main())


def test_a_long_lived_executor_keeps_nothing_of_what_is_over():
    async def main():
        store, calls = memory(), Calls()
        async with flow_on(store, keep=10) as flow:
            flow.predicate("never", lambda value: False)
            steps = [
                *chain(calls, "a", timeout=100, total_timeout=200), Step("b", calls.body("b", fail=10**9), after="a",
                fallback=calls.body("c")), Step("d", calls.body("d"), when="never"),
            ]  # fmt: skip
            await flow.create_steps("f", steps)
            for i in range(60):
                await flow.execute("f", i, timeout=1000, **({"id": f"x{i}"} if i % 2 else {}))
            runner, session = flow.executor._runner, flow.executor._session
            gc.collect()  # an execution and its machine refer to one another
            assert len(flow.executor.scheduler.kept) == 10
            assert len(flow.executor._registry.named) <= 10
            assert not runner._timers and not runner._handles and not session.recovery.waiting
            assert not session.recovery._children and len(session.recovery.tasks) <= 1
            assert len(flow._catalog._past._kept) == 0

    play(main())

"""The order of records and effects: what is committed before what."""

import asyncio

import pytest

from flow_core import Status, Step
from flow_core.errors import StepTimeout
from flow_core.model.records import ExecutionEnded, ExecutionStarted, Paused, StepEnded, StepStarted
from tests.durable.kit import Calls, Held, chain, flow_on, play
from tests.runtime.kit import turns


def kinds(batches):
    return [[type(record).__name__ for record in batch] for batch in batches]


async def begun(flow, store):
    """An execution whose start is committed, and nothing else: from here on each commit waits for `let_go`."""
    store.hold()
    starting = asyncio.create_task(flow.execute("f", 1, async_=True))
    await turns(20)
    store.let_go()
    execution = await starting
    await turns(20)
    return execution


def test_an_id_is_given_when_the_start_is_committed():
    async def main():
        store, calls = Held(), Calls()
        async with flow_on(store) as flow:
            await flow.create_steps("f", chain(calls, "a"))
            store.hold()
            starting = asyncio.create_task(flow.execute("f", 1, async_=True))
            await turns(20)
            assert kinds(store.asked) == [["ExecutionStarted"]]
            assert not starting.done()
            assert not calls, "a step ran before the start was committed"
            store.free()
            execution = await starting
            assert await execution == "a"

    play(main())


def test_an_outcome_is_committed_before_a_successor_starts_and_before_the_end_is_told():
    async def main():
        store, calls = Held(), Calls()
        async with flow_on(store) as flow:
            await flow.create_steps("f", [*chain(calls, "a", "b"), Step("c", calls.body("c"), after="a")])
            execution = await flow.execute("f", 1, async_=True, id="x")
            await execution
            calls.clear()
            store.asked.clear()
            store.hold()
            waiting = asyncio.create_task(flow.execute("f", 1, id="y"))
            await turns(20)
            store.let_go()
            await turns(20)
            assert (dict(calls), kinds(store.asked)[1:]) == ({"a": 1}, [["StepEnded"]])
            store.let_go()
            await turns(20)
            assert dict(calls) == {"a": 1, "b": 1, "c": 1}
            assert kinds(store.asked)[2:] == [["StepEnded", "StepEnded", "ExecutionEnded"]]
            assert not waiting.done(), "the end was told before it was committed"
            assert flow.executor.find("f", "y").status is Status.RUNNING
            store.free()
            assert (await waiting).status is Status.SUCCESS

    play(main())


def test_a_failure_is_committed_before_what_follows_from_it():
    async def main():
        store, calls = Held(), Calls()
        async with flow_on(store) as flow:
            steps = [
                Step("a", calls.body("a"), compensation=calls.body("undo")),
                Step("b", calls.body("b", fail=9), after="a"),
            ]
            await flow.create_steps("f", steps)
            execution = await begun(flow, store)
            assert dict(calls) == {"a": 1}
            store.let_go()
            await turns(20)
            assert dict(calls) == {"a": 1, "b": 1}, "a compensation ran before the failure was recorded"
            store.free()
            assert await execution.wait() is Status.FAILURE
            assert calls["undo"] == 1
            flat = [type(record).__name__ for record in await store.load(execution.id)]
            assert flat == ["ExecutionStarted", "StepEnded", "StepEnded", "Compensated", "ExecutionEnded"]

    play(main())


def test_a_fallback_and_a_compensation_wait_for_the_record_of_what_failed():
    async def main():
        store, calls = Held(), Calls()
        async with flow_on(store) as flow:
            step = Step("a", calls.body("a", fail=9), fallback=calls.body("instead"))
            await flow.create_step("f", step)
            execution = await begun(flow, store)
            assert dict(calls) == {"a": 1}
            store.let_go()
            await turns(20)
            assert dict(calls) == {"a": 1, "instead": 1}
            store.free()
            assert await execution == "instead"

    play(main())


def test_an_at_most_once_step_starts_when_its_start_is_committed():
    async def main():
        store, calls = Held(), Calls()
        async with flow_on(store) as flow:
            await flow.create_step("f", Step("a", calls.body("a"), delivery="at_most_once"))
            execution = await begun(flow, store)
            assert (kinds(store.asked)[1:], dict(calls)) == ([["StepStarted"]], {})
            store.free()
            assert await execution == "a"
            assert [type(r) for r in await store.load(execution.id)] == [
                ExecutionStarted, StepStarted, StepEnded, ExecutionEnded,
            ]  # fmt: skip

    play(main())


def test_a_step_whose_time_is_over_before_its_start_is_committed_is_not_called():
    async def main():
        store, calls = Held(), Calls()
        async with flow_on(store) as flow:
            step = Step("a", calls.body("a"), delivery="at_most_once", total_timeout=5)
            await flow.create_step("f", step)
            execution = await begun(flow, store)
            await asyncio.sleep(10)
            store.free()
            assert await execution.wait() is Status.FAILURE
            assert isinstance(execution.errors["a"], StepTimeout)
            assert not calls

    play(main())


def test_at_most_once_steps_keep_to_the_limit_of_the_executor():
    async def main():
        store, now, most = Held(), 0, 0

        async def work(value):
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(1)
            now -= 1
            return b""

        async with flow_on(store, concurrency=3) as flow:
            await flow.create_steps("f", [Step(f"s{i}", work, delivery="at_most_once") for i in range(12)])
            execution = await flow.execute("f", 1)
            assert execution.status is Status.SUCCESS
            assert most == 3

    play(main())


def test_a_pause_and_a_resume_return_when_they_are_recorded():
    async def main():
        store, calls = Held(), Calls()
        gate = asyncio.Event()
        async with flow_on(store) as flow:
            await flow.create_steps("f", [Step("a", calls.body("a", gate=gate)), Step("b", calls.body("b"), after="a")])
            execution = await begun(flow, store)
            pausing = asyncio.create_task(execution.pause())
            await turns(20)
            assert execution.status is Status.PAUSED  # nothing starts from here on ...
            assert not pausing.done()  # ... but it is not promised yet
            store.let_go()
            await pausing
            assert any(isinstance(record, Paused) for record in await store.load(execution.id))
            resuming = asyncio.create_task(flow.executor.resume("f", execution.id))
            await turns(20)
            assert not resuming.done()
            gate.set()
            store.free()
            await resuming
            await execution

    play(main())


def test_a_condition_that_says_no_is_recorded_before_anything_follows():
    async def main():
        store, calls = Held(), Calls()
        async with flow_on(store) as flow:
            flow.predicate("never", lambda value: False)
            skipped = Step("a", calls.body("a"), when="never")
            await flow.create_steps("f", [skipped, Step("b", calls.body("b"), after="a", join="done")])
            execution = await begun(flow, store)
            assert not calls
            store.free()
            await execution
            assert dict(calls) == {"b": 1}

    play(main())


@pytest.mark.parametrize("rollback", [False, True])
def test_an_abort_amid_a_commit_keeps_the_outcome_that_is_on_its_way(rollback):
    async def main():
        store, calls = Held(), Calls()
        async with flow_on(store) as flow:
            first = Step("a", calls.body("a"), compensation=calls.body("undo"))
            await flow.create_steps("f", [first, Step("b", calls.body("b"), after="a")])
            execution = await begun(flow, store)
            assert kinds(store.asked)[1:] == [["StepEnded"]]
            aborting = asyncio.create_task(execution.abort(rollback=rollback))
            await turns(20)
            assert not aborting.done()
            store.free()
            await aborting
            assert execution.status is Status.ABORTED
            assert dict(calls) == ({"a": 1, "undo": 1} if rollback else {"a": 1})
            assert execution.step_status_of("a") is Status.SUCCESS
            assert execution.step_status_of("b") is Status.ABORTED

    play(main())


def test_an_abort_when_the_end_is_on_its_way_comes_too_late():
    async def main():
        store, calls = Held(), Calls()
        async with flow_on(store) as flow:
            await flow.create_steps("f", chain(calls, "a"))
            execution = await begun(flow, store)
            aborting = asyncio.create_task(execution.abort(rollback=True))
            await turns(20)
            store.free()
            await aborting
            assert execution.status is Status.SUCCESS
            assert await execution == "a"

    play(main())


def test_cancelling_execute_amid_the_commit_of_its_start_aborts_it():
    async def main():
        store, calls = Held(), Calls()
        async with flow_on(store) as flow:
            await flow.create_steps("f", chain(calls, "a"))
            store.hold()
            starting = asyncio.create_task(flow.execute("f", 1, id="x"))
            await turns(20)
            starting.cancel()
            await turns(20)
            store.free()
            assert await flow.executor.wait("f", "x") is Status.ABORTED
            assert (await flow.executor.list()).items[0].status is Status.ABORTED

    play(main())

"""Finding executions again: status, result, list, explain, and how long they are remembered."""

from __future__ import annotations

import asyncio
import gc
import uuid
import weakref
from datetime import timedelta
from typing import Any

import pytest

import flow_core
from flow_core import Execution, Executor, Flow, Retry, Status, Step
from flow_core.core.stepper import Stepper
from flow_core.errors import InvalidOption, StepFailed, UnknownExecution, UnknownStep
from flow_core.model.records import Page
from tests.aio import run_virtual
from tests.runtime.kit import Gate, chain, echo, handles, turns


async def boom(value: Any) -> Any:
    raise OSError("boom")


# --- status, result, list -----------------------------------------------------------------------------------------


def test_status_and_result_by_id() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_steps("f", chain(echo, echo))
            execution = await flow.execute("f", {"x": [1, "é"]})
            executor = flow.executor
            assert await executor.status("f", execution.id) is Status.SUCCESS
            assert await executor.result("f", execution.id, "s1") == '{"x":[1,"é"]}'.encode()
            assert executor.find("f", execution.id) is execution
            with pytest.raises(UnknownStep):
                await executor.result("f", execution.id, "s9")
            with pytest.raises(UnknownExecution, match="belongs to flow 'f'"):
                await executor.status("g", execution.id)

    run_virtual(main())


@pytest.mark.parametrize("unknown", ["nope", "", "01900000-0000-7000-8000-000000000000", "x" * 500, "ü"])
def test_unknown_ids_are_named(unknown: str) -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("f", Step("a", echo))
            await flow.execute("f")
            for ask in (flow.executor.status, flow.executor.wait, flow.executor.pause, flow.executor.abort,
                        flow.executor.resume, flow.executor.restart, flow.executor.explain):  # fmt: skip
                with pytest.raises(UnknownExecution):
                    await ask("f", unknown)

    run_virtual(main())


def test_generated_ids_are_uuid7_and_differ() -> None:
    async def main() -> None:
        async with Flow() as flow, Flow() as other:
            for one in (flow, other):
                await one.create_step("f", Step("a", echo))
            ids = [(await one.execute("f", i)).id for i in range(1000) for one in (flow, other)]
            assert len(set(ids)) == 2000
            assert {uuid.UUID(one).version for one in ids} == {7}
            assert {uuid.UUID(one).variant for one in ids} == {uuid.RFC_4122}
            with pytest.raises(UnknownExecution):
                await other.executor.status("f", ids[-2])

    flow_core.run(main())


def test_list_filters_and_pages() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("f", Step("a", echo))
            await flow.create_step("bad", Step("a", boom))
            for i in range(25):
                await flow.execute("f", i)
            with pytest.raises(StepFailed):
                await flow.execute("bad")
            everything = await flow.executor.list()
            assert len(everything.items) == 26 and everything.cursor is None
            assert [found.flow for found in (await flow.executor.list("bad")).items] == ["bad"]
            assert len((await flow.executor.list(status=Status.FAILURE)).items) == 1
            assert (await flow.executor.list("f", Status.RUNNING)).items == []
            found: list[str] = []
            cursor, pages = None, 0
            while cursor is not None or not pages:
                page = await flow.executor.list("f", limit=10, cursor=cursor)
                found += [one.execution for one in page.items]
                cursor, pages = page.cursor, pages + 1
            newest_first = [flow.executor.find("f", one).response for one in found]
            assert newest_first == list(reversed(range(25))) and pages == 3


def test_list_since_a_time() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("f", Step("a", echo))
            ids = [(await flow.execute("f", i)).id for i in range(3) if not await asyncio.sleep(10)]
            (last, *_) = (await flow.executor.list()).items
            assert last.execution == ids[-1]
            found = (await flow.executor.list(since=last.time_utc - 11)).items
            assert [one.execution for one in found] == [ids[2], ids[1]]
            with pytest.raises(InvalidOption, match="limit"):
                await flow.executor.list(limit=0)

    run_virtual(main())


def test_a_cursor_may_point_at_what_was_forgotten_meanwhile() -> None:
    async def main() -> None:
        async with Flow(executor=Executor(keep=3)) as flow:
            await flow.create_step("f", Step("a", echo))
            cursor = (await flow.execute("f", 0)).id
            for i in range(1, 6):
                await flow.execute("f", i)
            with pytest.raises(UnknownExecution):
                await flow.executor.status("f", cursor)
            await flow.executor.list("f", cursor=cursor)
            with pytest.raises(UnknownExecution):
                await flow.executor.list("f", cursor="made-up")

    run_virtual(main())


def test_list_before_the_first_execution() -> None:
    async def main() -> None:
        assert await Executor().list() == Page([], None)

    run_virtual(main())


# --- keeping ------------------------------------------------------------------------------------------------------


def test_keep_counts_finished_executions_and_holds_what_is_held() -> None:
    async def main() -> None:
        async with Flow(executor=Executor(keep=5)) as flow:
            await flow.create_step("f", Step("a", echo))
            held = await flow.execute("f", "held")
            ids = [(await flow.execute("f", i)).id for i in range(20)]
            known = [e.response for e in await handles(flow, "f")]
            assert sorted(known, key=str) == [15, 16, 17, 18, 19, "held"]
            assert await flow.executor.status("f", held.id) is Status.SUCCESS
            with pytest.raises(UnknownExecution, match="keep="):
                await flow.executor.status("f", ids[0])

    run_virtual(main())


def test_keep_zero_remembers_only_what_is_held() -> None:
    async def main() -> None:
        async with Flow(executor=Executor(keep=0)) as flow:
            await flow.create_step("f", Step("a", echo))
            handle = await flow.execute("f", 1)
            assert await handles(flow) == [handle]
            del handle
            assert await handles(flow) == []

    run_virtual(main())


def test_keep_for_a_time() -> None:
    async def main() -> None:
        async with Flow(executor=Executor(keep=timedelta(minutes=1))) as flow:
            await flow.create_step("f", Step("a", echo))
            for i in range(5):
                await flow.execute("f", i)
                await asyncio.sleep(25)
            assert sorted(e.response for e in await handles(flow, "f")) == [3, 4]
            await asyncio.sleep(100)
            assert await handles(flow, "f") == []  # nothing has to end for the old ones to go

    run_virtual(main())


def test_a_hundred_thousand_executions_leave_no_more_than_keep() -> None:
    async def main() -> None:
        async with Flow(executor=Executor(keep=100)) as flow:
            await flow.create_steps("f", chain(echo, echo))
            alive: weakref.WeakSet[Execution] = weakref.WeakSet()
            most = 0
            for i in range(100_000):
                execution = await flow.execute("f", i)
                if i % 100 == 0:
                    alive.add(execution)
                    most = max(most, len(alive))
            del execution
            assert most <= 3
            assert len((await flow.executor.list(limit=1000)).items) == 100
            gc.collect()
            ours = [
                one
                for one in gc.get_objects()
                if isinstance(one, Execution) and Stepper(one).scheduler is flow.executor.scheduler
            ]
            assert len(ours) <= 101
            assert flow.executor.statistics().executions_ended == 100_000

    flow_core.run(main())


def test_failed_executions_do_not_pile_up_either() -> None:
    async def main() -> None:
        async with Flow(executor=Executor(keep=10)) as flow:
            await flow.create_step("f", Step("a", boom))
            alive: weakref.WeakSet[Execution] = weakref.WeakSet()
            for i in range(500):
                handle = await flow.execute("f", i, async_=True, timeout=100)
                await handle.wait()
                alive.add(handle)
            del handle
            await turns()
            gc.collect()
            assert len(alive) == 10

    run_virtual(main())


# --- explain ------------------------------------------------------------------------------------------------------


async def reasons(flow: Flow, handle: Execution) -> dict[str | None, str]:
    found = await flow.executor.explain(handle.flow, handle.id)
    assert found.status is handle.status and str(found).count("\n") == len(found.reasons)
    return {reason.step: reason.kind for reason in found.reasons}


def test_explain_running_and_predecessor() -> None:
    async def main() -> None:
        async with Flow() as flow:
            gate = Gate()
            await asyncio.sleep(1)  # a time of 0 is how the core says "not yet"
            await flow.create_steps("f", [*chain(gate, echo), Step("x", gate), Step("j", echo, after=["s1", "x"])])
            handle = await flow.execute("f", 1, async_=True)
            await asyncio.sleep(2)
            found = await flow.executor.explain("f", handle.id)
            by_step = {r.step: r for r in found.reasons}
            assert by_step["s0"].kind == by_step["x"].kind == "running"
            assert "2 s" in by_step["s0"].text
            assert by_step["s1"].waits_for == ("s0",) and by_step["j"].waits_for == ("s1", "x")
            assert by_step["j"].kind == "predecessor" and "'s1', 'x'" in str(found)
            gate.open()
            await handle
            assert await reasons(flow, handle) == {None: "over"}

    run_virtual(main())


def test_explain_limits() -> None:
    async def main() -> None:
        async with Flow(executor=Executor(concurrency=2)) as flow:
            gate = Gate()
            await flow.create_steps("f", [Step(f"s{i}", gate) for i in range(3)])
            own = await flow.execute("f", 1, async_=True, concurrency=1)
            assert await reasons(flow, own) == {"s0": "running", "s1": "limit", "s2": "limit"}
            text = str(await flow.executor.explain("f", own.id))
            assert "the execution runs 1 steps, its limit" in text
            other = await flow.execute("f", 2, async_=True)
            assert await reasons(flow, other) == {"s0": "running", "s1": "limit", "s2": "limit"}
            assert "the executor runs 2 steps, its limit" in str(await flow.executor.explain("f", other.id))
            gate.open()
            await asyncio.gather(own.wait(), other.wait())

    run_virtual(main())


def test_explain_retry_timeout_pause_and_ending() -> None:
    async def main() -> None:
        async with Flow() as flow:
            gate = Gate()
            retry = Retry(5, initial=10, jitter="none")
            await flow.create_steps("f", [Step("a", boom, retry=retry), Step("g", gate), Step("z", echo, after="g")])
            handle = await flow.execute("f", 1, async_=True, timeout=100)
            await asyncio.sleep(4)
            found = await flow.executor.explain("f", handle.id)
            by_step = {r.step: r for r in found.reasons}
            assert by_step["a"].kind == "retry" and by_step["a"].seconds == pytest.approx(6)
            assert "boom" in by_step["a"].text
            assert by_step[None].kind == "timeout" and by_step[None].seconds == pytest.approx(96)
            await handle.pause()
            await asyncio.sleep(50)
            found = await flow.executor.explain("f", handle.id)
            assert [r.kind for r in found.reasons if r.step is None] == ["paused", "timeout"]
            assert {r.step: r.seconds for r in found.reasons}["a"] == pytest.approx(6)  # frozen
            gate.open()
            await turns()
            assert (await reasons(flow, handle))["z"] == "paused"
            await handle.abort()
            assert (await reasons(flow, handle)) == {None: "over"}

    run_virtual(main())


def test_explain_an_execution_that_is_failing() -> None:
    async def main() -> None:
        async with Flow() as flow:
            gate = Gate()
            await flow.create_steps("f", [Step("g", gate), Step("a", boom), Step("end", echo, after="g", join="done")])
            handle = await flow.execute("f", 1, async_=True)
            found = await flow.executor.explain("f", handle.id)
            assert found.reasons[0].kind == "ending" and "'a'" in found.reasons[0].text
            gate.open()
            await handle.wait()
            assert handle.step_status_of("end") is Status.SUCCESS

    run_virtual(main())


def test_explain_says_a_million_step_execution_shortly() -> None:
    async def main() -> None:
        async with Flow(executor=Executor(concurrency=1)) as flow:
            gate = Gate()
            await flow.create_steps("f", [Step(f"s{i}", gate) for i in range(5000)])
            handle = await flow.execute("f", 1, async_=True)
            assert len((await flow.executor.explain("f", handle.id)).reasons) == 100
            await handle.abort()

    run_virtual(main())

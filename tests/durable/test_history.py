"""The history of an execution that went on after a restart: all of it, as if nothing had been in between."""

import asyncio
from datetime import UTC

import pytest

from flow_core import Retry, Status, Step
from flow_core.cli.local import LocalStore
from flow_core.errors import StepFailed
from flow_core.runtime.durable.stored_execution import StoredExecution
from tests.durable.kit import Calls, again, crash, flow_on, memory, play, started


def told(moves):
    return [
        (move.step, move.status.name, move.attempt, round((move.time - moves[0].time).total_seconds()))
        for move in moves
    ]


def test_attempts_and_pauses_of_before_are_in_it():
    async def main():
        store, calls = memory(), Calls()
        fails = [OSError("one"), OSError("two")]

        async def work(value):
            if fails:
                raise fails.pop(0)
            return "done"

        steps = [
            Step("a", work, retry=Retry(5, initial=10, factor=1, jitter="none")),
            Step("b", calls.body("b"), after="a"),
        ]
        flow, execution = await started(store, steps)
        await asyncio.sleep(1)
        await execution.pause()
        crash(flow)
        await asyncio.sleep(1)
        flow = await again(store, steps)
        await flow.executor.resume("f", "x")
        assert await flow.executor.wait("f", "x") is Status.SUCCESS
        live = flow.executor._registry.known("x").history()
        assert told(live) == [
            (None, "RUNNING", 1, 0),
            ("a", "RUNNING", 1, 0),
            ("a", "FAILURE", 1, 0),
            (None, "PAUSED", 1, 1),
            (None, "RUNNING", 1, 2),
            ("a", "RUNNING", 2, 11),
            ("a", "FAILURE", 2, 11),
            ("a", "RUNNING", 3, 21),
            ("a", "SUCCESS", 3, 21),
            ("b", "RUNNING", 1, 21),
            ("b", "SUCCESS", 1, 21),
            (None, "SUCCESS", 1, 21),
        ]
        crash(flow)
        stored = await (await again(store, steps)).executor.history("f", "x")
        assert told(stored) == told(live)
        assert all(move.time.tzinfo is UTC for move in [*stored, *live])

    play(main())


def test_an_attempt_that_its_process_did_not_survive_is_in_it():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        steps = [Step("a", calls.body("a", gate=gate), delivery="at_most_once")]
        flow, _ = await started(store, steps)
        await asyncio.sleep(1)
        assert calls["a"] == 1
        crash(flow)
        flow = await again(store, steps)
        assert await flow.executor.wait("f", "x") is Status.FAILURE
        live = flow.executor._registry.known("x").history()
        assert [(move.step, move.status.name) for move in live] == [
            (None, "RUNNING"), ("a", "RUNNING"), ("a", "FAILURE"), (None, "FAILURE"),
        ]  # fmt: skip
        crash(flow)
        assert told(await (await again(store, steps)).executor.history("f", "x")) == told(live)

    play(main())


def test_the_command_line_tells_the_same_from_the_store(tmp_path):
    """Compensations and the start of an attempt that is under way among it."""

    async def fails(value):
        raise OSError("no")

    async def main():
        url, calls, gate = f"sqlite:///{tmp_path}/flow.db", Calls(), asyncio.Event()
        undone = [Step("a", calls.body("a"), compensation=calls.body("undo")), Step("b", fails, after="a")]
        once = Step("c", calls.body("c", gate=gate), delivery="at_most_once")
        async with flow_on(url) as flow:
            await flow.create_steps("undone", undone)
            await flow.create_step("once", once)
            with pytest.raises(StepFailed):
                await flow.execute("undone", b"", id="undone", rollback=True)
            running = await flow.execute("once", b"", id="once", async_=True)
            while not calls["c"]:
                await asyncio.sleep(0.01)
            async with LocalStore(url) as local:
                for name in ("undone", "once"):
                    stored = StoredExecution(await flow.executor._session.store.load(name)).history()
                    assert stored == await local.history(name, name)
                    live = [(move.step, move.status) for move in flow.executor.find(name, name).history()]
                    assert [(move.step, move.status) for move in stored] == live
                assert ("a.compensation", Status.SUCCESS) in [
                    (move.step, move.status) for move in await local.history("undone", "undone")
                ]
                assert await local.status("once", "once") is Status.RUNNING
            gate.set()
            await running

    asyncio.run(main())

"""The history of an execution that went on after a restart: all of it, as if nothing had been in between."""

import asyncio

from flow_core import Retry, Status, Step
from flow_core.core.stepper import Stepper
from tests.durable.kit import Calls, again, crash, memory, play, started


def told(moves, began):
    return [(move.step, move.status.name, move.attempt, round(move.time - began)) for move in moves]


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
        began = Stepper(execution).span[0]
        await asyncio.sleep(1)
        await execution.pause()
        crash(flow)
        await asyncio.sleep(1)
        flow = await again(store, steps)
        await flow.executor.resume("f", "x")
        assert await flow.executor.wait("f", "x") is Status.SUCCESS
        live = flow.executor.known("x").history()
        assert told(live, began) == [
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
        assert [(m.step, m.status, m.attempt) for m in stored] == [(m.step, m.status, m.attempt) for m in live]

    play(main())

"""The decisions of the design as seen through the public API: conditions, joins, manual steps, parts of a flow.

Decisions 10, 11, 17.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flow_core import Flow, FlowExecuteOperation, Status, Step
from flow_core.errors import (
    InvalidStep,
    MissingInput,
    StepFailed,
    UnknownStep,
)
from tests.aio import run_virtual
from tests.runtime.kit import Trace, both_loops, echo, turns


async def nothing() -> None:
    pass


async def never(value: Any) -> None:
    await asyncio.Event().wait()


async def boom(value: Any) -> Any:
    raise OSError("boom")


# --- 10. conditions -----------------------------------------------------------------------------------------------


@both_loops
@pytest.mark.parametrize("yes", [True, False])
def test_10_when_asks_a_registered_predicate(runner: Any, yes: bool) -> None:
    async def main() -> None:
        async with Flow() as flow:
            flow.predicate("big", lambda value: value > 10)
            await flow.create_steps(
                "f", [Step("a", echo), Step("b", echo, after="a", when="big"), Step("c", echo, after="b")]
            )
            handle = await flow.execute("f", 11 if yes else 9)
            end = Status.SUCCESS if yes else Status.SKIPPED
            assert handle.status is Status.SUCCESS
            assert [handle.step_status_of(s) for s in "abc"] == [Status.SUCCESS, end, end]

    runner(main())


def test_10_predicates_that_are_unknown_broken_or_async() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("f", Step("a", echo, when="ready"))
            with pytest.raises(InvalidStep, match="'ready', which is not registered"):
                await flow.execute("f")
            flow.predicate("ready", lambda value: 1 / 0)
            with pytest.raises(StepFailed) as caught:
                await flow.execute("f")
            assert isinstance(caught.value.__cause__, ZeroDivisionError)
            for wrong in (echo, "no function"):  # the answer of a coroutine function would always be true
                with pytest.raises(InvalidStep):
                    flow.predicate("ready", wrong)  # type: ignore[arg-type]

    run_virtual(main())


@pytest.mark.parametrize("allow_fail", [False, True])
@pytest.mark.parametrize(
    ("join", "bodies", "end"),
    [
        ("all", (echo, echo), Status.SUCCESS),
        ("any", (echo, never), Status.SUCCESS),
        ("any", (boom, boom), Status.SKIPPED),
        ("done", (boom, boom), Status.SUCCESS),
        ("done", (echo, boom), Status.SUCCESS),
    ],
)
def test_10_joins(join: Any, bodies: Any, end: Status, allow_fail: bool) -> None:
    async def main() -> None:
        async with Flow() as flow:
            a, b = (Step(name, body, allow_fail=allow_fail) for name, body in zip("ab", bodies, strict=True))
            await flow.create_steps("f", [a, b, Step("j", nothing, after=["a", "b"], join=join)])
            handle = await flow.execute("f", async_=True)
            await turns()
            assert handle.step_status_of("j") is end
            await handle.abort()

    run_virtual(main())


@pytest.mark.parametrize(("allow_fail", "end"), [(True, Status.SUCCESS), (False, Status.SKIPPED)])
def test_10_all_needs_every_success_unless_a_failure_is_allowed(allow_fail: bool, end: Status) -> None:
    async def main() -> None:
        async with Flow() as flow:
            steps = [Step("a", echo), Step("b", boom, allow_fail=allow_fail), Step("j", nothing, after=["a", "b"])]
            await flow.create_steps("f", steps)
            handle = await flow.execute("f", async_=True)
            await handle.wait()
            assert handle.step_status_of("j") is end

    run_virtual(main())


# --- 11. and 17. parts of a flow ----------------------------------------------------------------------------------


@both_loops
def test_11_manual_steps_are_reached_by_name_only(runner: Any) -> None:
    async def main() -> None:
        trace = Trace()
        async with Flow() as flow:
            steps = [
                Step("pay", trace("pay")),
                Step("refund", trace("refund"), manual=True),
                Step("mail", trace("mail"), after="refund"),
            ]
            await flow.create_steps("f", steps)
            await flow.execute("f")
            assert trace.moves == ["+pay", "-pay"]
            await flow.execute("f", step="refund")
            assert trace.moves[2:] == ["+refund", "-refund", "+mail", "-mail"]
            await flow.create_step("g", Step("undo", FlowExecuteOperation("f", "refund")))
            await flow.execute("g", b"x")
            assert trace.moves[6:] == trace.moves[2:6]

    runner(main())


def test_17_started_at_a_step_it_and_its_descendants_run() -> None:
    async def main() -> None:
        async with Flow() as flow:
            trace = Trace()
            after = {"a": (), "b": "a", "c": "b", "x": "a"}
            await flow.create_steps("f", [Step(name, trace(name), after=by) for name, by in after.items()])
            handle = await flow.execute("f", "req", step="b")
            assert trace.moves == ["+b", "-b", "+c", "-c"] and handle.response == "c"
            with pytest.raises(UnknownStep, match="no step 'bb'"):
                await flow.execute("f", step="bb")

    run_virtual(main())


def test_17_inputs_from_outside_must_be_given() -> None:
    async def main() -> None:
        async with Flow() as flow:
            steps = [
                Step("a", echo),
                Step("b", echo, after="a"),
                Step("c", echo, after="b", input={"a": "a", "b": "b"}),
            ]
            await flow.create_steps("f", steps)
            with pytest.raises(MissingInput, match="'a'"):
                await flow.execute("f", 1, step="b")
            assert flow.executor.statistics().executions_started == 0
            assert await flow.call("f", 1, step="b", inputs={"a": 7}) == {"a": 7, "b": 1}

    run_virtual(main())

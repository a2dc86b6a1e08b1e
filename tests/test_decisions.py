"""The decisions of the design as seen through the public API: order, binding, revisions, data.

Decisions 1-4. The others: ``test_decisions_parts.py``, ``_policy``, ``_contract``.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flow_core import ALL, REQUEST, Flow, Status, Step
from flow_core.errors import (
    CycleError,
    DuplicateStep,
    OutputConflict,
    PayloadError,
    RegistrationError,
    RevisionConflict,
    UnknownStep,
    UnresolvedSteps,
)
from flow_core.operations import EmptyOperation
from tests.aio import run_virtual
from tests.runtime.kit import Gate, Trace, both_loops, echo, turns


async def boom(value: Any) -> Any:
    raise OSError("boom")


# --- 1. order -----------------------------------------------------------------------------------------------------


@both_loops
def test_1_after_and_before(runner: Any) -> None:
    async def main() -> None:
        trace = Trace()
        async with Flow() as flow:
            b = Step("b", trace("b"))
            steps = [
                Step("c", trace("c"), after=[b]),
                b,
                Step("a", trace("a"), before="b"),
                Step("d", trace("d"), after="c"),
            ]
            await flow.create_steps("f", steps)
            await flow.execute("f")
        assert trace.moves == ["+a", "-a", "+b", "-b", "+c", "-c", "+d", "-d"]
        assert steps[0].after == ("b",)  # stored as ids

    runner(main())


@both_loops
def test_1_all_is_every_step_that_does_not_say_all(runner: Any) -> None:
    async def main() -> None:
        trace = Trace()
        async with Flow() as flow:
            await flow.create_steps(
                "f", [Step("end", trace("end"), after=ALL), Step("begin", trace("begin"), before=ALL)]
            )
            await flow.create_steps("f", [Step(name, trace(name)) for name in "xyz"])
            await flow.execute("f")
        assert all(trace.before("begin", name) and trace.before(name, "end") for name in "xyz")

    runner(main())


def test_1_a_step_starts_when_all_its_predecessors_succeeded() -> None:
    async def main() -> None:
        one, other, join = Gate(), Gate(), Gate()
        join.open()
        async with Flow() as flow:
            await flow.create_steps("f", [Step("a", one), Step("b", other), Step("j", join, after=["a", "b"])])
            handle = await flow.execute("f", 1, async_=True)
            one.open()
            await turns()
            assert join.started == []
            other.open()
            assert await handle == {"a": 1, "b": 1}

    run_virtual(main())


# --- 2. late binding ----------------------------------------------------------------------------------------------


def test_2_unknown_predecessors_are_listed_and_refused_at_execute() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("f", Step("b", echo, after=["a", "z"], before="y"))
            assert await flow.unresolved("f") == {"a": ["b"], "z": ["b"], "y": ["b"]}
            with pytest.raises(UnresolvedSteps) as caught:
                await flow.execute("f")
            assert set(caught.value.missing) == {"a", "y", "z"} and 'unresolved="wait"' in str(caught.value)
            for name in "ayz":
                await flow.create_step("f", Step(name, echo))
            assert await flow.unresolved("f") == {} and (await flow.execute("f")).status is Status.SUCCESS

    run_virtual(main())


@both_loops
def test_2_execute_may_wait_for_services_that_come_later(runner: Any) -> None:
    async def main() -> None:
        async with Flow() as flow:
            early = asyncio.ensure_future(flow.call("f", 5, unresolved="wait"))  # before the flow itself exists
            await turns()
            await flow.create_step("f", Step("b", echo, after="a"))
            await turns()
            assert not early.done()
            await flow.create_step("f", Step("a", echo))
            assert await early == 5

    runner(main())


def test_2_a_cycle_is_refused_as_a_path_even_through_late_bound_names() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("f", Step("a", echo, after="c"))
            await flow.create_step("f", Step("b", echo, after="a"))
            with pytest.raises(CycleError, match=r"cycle: \w -> \w -> \w -> \w"):
                await flow.create_step("f", Step("c", echo, after="b"))
            assert await flow.revision("f") == 2

    run_virtual(main())


# --- 3. revisions -------------------------------------------------------------------------------------------------


def test_3_every_change_is_a_revision_with_compare_and_set() -> None:
    async def main() -> None:
        async with Flow() as flow:
            assert await flow.revision("f") == 0
            assert await flow.create_steps("f", [Step("a", echo), Step("b", echo)], revision=0) == 1
            for change in (
                flow.create_step("f", Step("c", echo), revision=0),
                flow.delete_step("f", "a", revision=7),
                flow.replace_step("f", "a", Step("a", boom), revision=2),
            ):
                with pytest.raises(RevisionConflict):
                    await change
            assert await flow.replace_step("f", "a", Step("a2", echo), revision=1) == 2
            assert await flow.delete_step("f", "b", revision=2) == 3
            with pytest.raises(RevisionConflict):  # not the step it was any more
                await flow.replace_step("f", Step("a2", boom), Step("x", echo))

    run_virtual(main())


def test_3_an_execution_is_pinned_to_its_revision() -> None:
    async def main() -> None:
        async with Flow() as flow:
            gate = Gate()

            async def old(value: Any) -> str:
                return "old"

            async def new(value: Any) -> str:
                return "new"

            await flow.create_steps("f", [Step("a", gate), Step("b", old, after="a")])
            handle = await flow.execute("f", async_=True)
            await flow.replace_step("f", "b", Step("b", new, after="a"))
            gate.open()
            assert await handle == "old" and await flow.call("f") == "new"

    run_virtual(main())


def test_3_registering_many_is_all_or_none() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("f", Step("a", echo))
            for bad in (
                [Step("x", echo), Step("a", echo)],
                [Step("x", echo), Step("x", echo)],
                [Step("x", echo, after="y"), Step("y", echo, after="x")],
                [Step("x", echo, output="o"), Step("y", echo, output="o")],
            ):
                with pytest.raises((DuplicateStep, CycleError, OutputConflict)):
                    await flow.create_steps("f", bad)
                assert [step.id for step in await flow.lookup("f")] == ["a"] and await flow.revision("f") == 1
            assert await flow.call("f", 1) == 1

    run_virtual(main())


# --- 4. data ------------------------------------------------------------------------------------------------------


@both_loops
def test_4_inputs(runner: Any) -> None:
    async def main() -> None:
        seen: dict[str, Any] = {}

        def body(name: str) -> Any:
            async def run(value: Any) -> str:
                seen[name] = value
                return name.upper()

            return run

        async with Flow() as flow:
            steps = [
                Step("root", body("root"), output="first"),
                Step("one", body("one"), after="root"),
                Step("two", body("two"), after="root"),
                Step("both", body("both"), after=["one", "two"]),
                Step("named", body("named"), after="both", input="first"),
                Step("mapped", body("mapped"), after="both", input={"x": "one", "r": REQUEST}),
                Step("request", body("request"), after="both", input=REQUEST),
            ]
            await flow.create_steps("f", steps)
            execution = await flow.execute("f", "req")
        assert seen == {
            "root": "req",
            "one": "ROOT",
            "two": "ROOT",
            "both": {"one": "ONE", "two": "TWO"},
            "named": "ROOT",
            "mapped": {"x": "ONE", "r": "req"},
            "request": "req",
        }
        assert execution.response == {"named": "NAMED", "mapped": "MAPPED", "request": "REQUEST"}  # the sinks

    runner(main())


def test_4_the_result_is_the_named_output_or_that_of_the_only_sink() -> None:
    async def main() -> None:
        async with Flow() as flow:

            async def inc(value: int) -> int:
                return value + 1

            await flow.create_steps("f", [Step("a", inc, output="mid"), Step("b", inc, after="a")])
            assert await flow.call("f", 1) == 3 and await flow.call("f", 1, output="mid") == 2
            with pytest.raises(UnknownStep, match="no output 'mdi'"):
                await flow.call("f", 1, output="mdi")

    run_virtual(main())


def test_4_values_are_passed_without_copying_and_encoded_only_when_bytes_are_needed() -> None:
    async def main() -> None:
        async with Flow() as flow:
            strange = {1, 2}  # a set is no JSON

            async def look(value: Any) -> bool:
                return value is strange

            await flow.create_steps("f", [Step("a", echo), Step("b", look, after="a")])
            execution = await flow.execute("f", strange)
            assert execution.response is True and execution.result("b") == b"true"
            with pytest.raises(PayloadError, match="output of step 'a'"):
                execution.result("a")
            await flow.create_steps("g", [Step("a", echo), Step("b", EmptyOperation(), after="a")])
            assert await flow.call("g", {"k": [1, None]}) == b'{"k":[1,null]}'

    run_virtual(main())


def test_4_an_input_that_no_earlier_step_writes_is_refused() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_steps("f", [Step("a", echo), Step("b", echo, input="a")])  # a sibling's
            with pytest.raises(RegistrationError, match="does not run after") as caught:
                await flow.execute("f", 1)
            assert caught.value.fix == "add after=['a']"

    run_virtual(main())

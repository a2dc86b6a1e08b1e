"""`Flow`: what is its own: options, revisions read back, bindings, waiting for changes, diagrams."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flow_core import ALL, Executor, Flow, FlowOptions, LocalOperation, Status, Step
from flow_core.errors import InvalidId, InvalidOption, InvalidStep, RevisionConflict, StepFailed, UnknownFlow
from flow_core.operations import OperationRegistry
from flow_core.proto.encoding import decode_step, encode_step
from tests.aio import run_virtual
from tests.runtime.kit import Gate, echo, turns

# --- options ------------------------------------------------------------------------------------------------------


def test_options_come_as_keywords_or_as_a_record_and_keywords_win() -> None:
    executor, other = Executor(), Executor()
    record = FlowOptions(executor=executor, context={"a": 1})
    assert Flow(options=record).executor is executor
    flow = Flow(options=record, executor=other)
    assert flow.executor is other and flow.options.context == {"a": 1}
    assert Flow(store="memory:").options.store == "memory:"


@pytest.mark.parametrize(
    "wrong", [{"store": "mongodb://x"}, {"store": 7}, {"executor": "pool"}, {"executor": Executor}]
)
def test_wrong_options_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption):
        Flow(**wrong)


def test_init_keeps_the_executor_and_is_refused_while_something_runs() -> None:
    async def main() -> None:
        async with Flow() as flow:
            gate = Gate()
            await flow.create_step("f", Step("a", gate))
            executor = flow.executor
            await flow.init(context={"a": 1})
            assert flow.executor is executor
            handle = await flow.execute("f", async_=True)
            for init in (flow.init(context={}), executor.init(concurrency=3)):
                with pytest.raises(InvalidOption, match="under way"):
                    await init
            gate.open()
            await handle
            await executor.init(concurrency=3)
            assert await flow.call("f", 2) == 2

    run_virtual(main())


def test_two_flows_do_not_share_anything() -> None:
    async def main() -> None:
        async with Flow() as one, Flow() as other:
            await one.create_step("f", Step("a", echo))
            with pytest.raises(UnknownFlow):
                await other.execute("f")
            assert await other.flows() == [] and await one.flows() == ["f"]

    run_virtual(main())


# --- reading ------------------------------------------------------------------------------------------------------


def test_unknown_flows_are_named_everywhere_but_in_revision() -> None:
    async def main() -> None:
        async with Flow() as flow:
            assert await flow.revision("nope") == 0
            for ask in (flow.lookup, flow.unresolved, flow.execute):
                with pytest.raises(UnknownFlow, match="'nope'"):
                    await ask("nope")
            for draw in (flow.to_mermaid, flow.to_dot, flow.plan):
                with pytest.raises(UnknownFlow):
                    draw("nope")

    run_virtual(main())


@pytest.mark.parametrize("wrong", ["a step", None, 7, echo])
def test_what_is_no_step_is_refused(wrong: Any) -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("f", Step("a", echo))
            for change in (
                flow.create_step("f", wrong),
                flow.create_steps("f", [Step("b", echo), wrong]),
                flow.create_steps("f", wrong),
                flow.replace_step("f", "a", wrong),
            ):
                with pytest.raises(InvalidStep):
                    await change
            assert await flow.revision("f") == 1

    run_virtual(main())


def test_no_steps_are_no_change() -> None:
    async def main() -> None:
        async with Flow() as flow:
            assert await flow.create_step("f", Step("a", echo)) == 1
            plan = flow.plan("f")
            assert await flow.create_steps("f", []) == await flow.revision("f") == 1
            assert flow.plan("f") is plan
            with pytest.raises(RevisionConflict):
                await flow.create_steps("f", [], revision=2)
            assert await flow.create_steps("g", []) == 0 and await flow.flows() == ["f"]

    run_virtual(main())


def test_a_flow_without_steps_succeeds_with_nothing() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("f", Step("a", echo))
            await flow.delete_step("f", "a")
            execution = await flow.execute("f", 1)
            assert execution.status is Status.SUCCESS and execution.response == {}

    run_virtual(main())


def test_a_plan_is_compiled_once_a_revision() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("f", Step("a", echo))
            plan = flow.plan("f")
            assert flow.plan("f") is plan
            await flow.execute("f")
            await flow.create_step("f", Step("b", echo))
            assert flow.plan("f") is not plan and (await flow.execute("f")).plan is flow.plan("f")

    run_virtual(main())


# --- bindings -----------------------------------------------------------------------------------------------------


def test_a_local_operation_from_the_wire_runs_when_it_is_bound() -> None:
    async def main() -> None:
        async with Flow() as flow:
            wire = encode_step(Step("a", LocalOperation(echo, name="shop.pay")))
            step = decode_step(wire, OperationRegistry())
            await flow.create_step("f", step)
            with pytest.raises(StepFailed) as caught:
                await flow.execute("f", 1)
            assert "flow.bind" in str(caught.value.__cause__)
            flow.bind("shop.pay", echo)
            assert await flow.call("f", 1) == 1
            flow.bind("shop.pay", lambda value: value + 1)  # a new one counts from the next execution on
            assert await flow.call("f", 1) == 2
            with pytest.raises(InvalidStep):
                flow.bind("shop.pay", "no function")  # type: ignore[arg-type]

    run_virtual(main(), threads=True)


def test_predicates_have_ids() -> None:
    with pytest.raises(InvalidId):
        Flow().predicate("not an id", bool)


# --- waiting ------------------------------------------------------------------------------------------------------


def test_who_waits_for_steps_may_give_up() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("f", Step("a", echo, after="later"))
            waiting = asyncio.ensure_future(flow.execute("f", 1, unresolved="wait"))
            await turns()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert waiting.cancelled()
            await flow.create_step("f", Step("later", echo))
            assert flow.executor.statistics().executions_started == 0

    run_virtual(main())


# --- pictures -----------------------------------------------------------------------------------------------------


def test_diagrams_are_text() -> None:
    async def main() -> None:
        async with Flow() as flow:
            steps = [
                Step("a", echo),
                Step("b:1", echo, after=["a", "ghost"], fallback=echo),
                Step("end", echo, after=ALL),
            ]
            await flow.create_steps("f", steps)
            mermaid, dot = flow.to_mermaid("f"), flow.to_dot("f")
            assert mermaid.startswith("flowchart TD") and '"b:1"' in mermaid and '"ghost?"' in mermaid
            assert dot.startswith("digraph flow {") and '"a" -> "b:1"' in dot and dot.endswith("}")
            bundle = flow._repr_mimebundle_()
            assert bundle["text/vnd.mermaid"] == mermaid and bundle["text/plain"] == repr(flow) == "<Flow f (3 steps)>"
            await flow.create_step("f", Step("ghost", echo))
            execution = await flow.execute("f", 1)
            assert flow.to_mermaid("f", execution).count("fill:#9fd89f") == 4
            assert flow.to_dot("f", execution).count("#9fd89f") == 4

    run_virtual(main())

"""The defects of the original implementation, as regression tests: each says what the original did. From 13 on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flow_core import (
    REQUEST,
    ClientCallOperation,
    Executor,
    Flow,
    FlowExecuteOperation,
    OperationOptions,
    Retry,
    Status,
    Step,
)
from flow_core.errors import (
    ExecutionConflict,
    OutputConflict,
    RevisionConflict,
    UnresolvedSteps,
)
from flow_core.operations import OperationRegistry
from flow_core.proto.encoding import decode_step, encode_step
from flow_core.rpc.memory import MemoryRpcClient
from tests.aio import run_virtual
from tests.runtime.kit import Gate, Gauge, echo, turns


async def boom(value: Any) -> Any:
    raise OSError("boom")


def test_13_a_step_overwrites_neither_the_request_nor_another_output() -> None:
    """The root's input and output shared a key; two writers of one output overwrote each other; joined keys met."""

    async def main() -> None:
        async with Flow() as flow:

            async def other(value: Any) -> str:
                return "output"

            await flow.create_steps("f", [Step("a", other), Step("b", echo, after="a", input=REQUEST)])
            assert await flow.call("f", "request") == "request"
            with pytest.raises(OutputConflict, match="'x' and 'y'"):
                await flow.create_steps("g", [Step("x", echo, output="o"), Step("y", echo, output="o")])
            await flow.create_steps("h", [Step("x", echo, output="o"), Step("y", other, output="o", after="x")])
            assert await flow.call("h", 1, output="o") == "output"  # ordered writers: the last one's
            await flow.create_steps("k", [Step("a-b", other), Step("a", echo), Step("b-c", echo), Step("c", echo)])
            result = await flow.call("k", 1)
            assert result == {"a-b": "output", "a": 1, "b-c": 1, "c": 1}

    run_virtual(main())


def test_14_the_default_input_is_never_a_siblings_output() -> None:
    """It was the output of the step before in the serial list."""

    async def main() -> None:
        async with Flow() as flow:
            seen: dict[str, Any] = {}

            def body(name: str) -> Any:
                async def run(value: Any) -> str:
                    seen[name] = value
                    return name

                return run

            steps = [Step("a", body("a")), Step("b", body("b"), after="a"), Step("c", body("c"), after="a")]
            await flow.create_steps("f", [*steps, Step("root2", body("root2")), Step("d", body("d"), after=["b", "c"])])
            await flow.execute("f", "req")
            assert seen == {"a": "req", "root2": "req", "b": "a", "c": "a", "d": {"b": "b", "c": "c"}}

    run_virtual(main())


def test_15_executor_options_are_read() -> None:
    """They were written to a context and never read; without stores it crashed."""

    async def main() -> None:
        gauge = Gauge()
        async with Flow(executor=Executor(concurrency=2)) as flow:
            await flow.create_steps("f", [Step(f"s{i}", gauge) for i in range(6)])
            await flow.execute("f")
        assert gauge.most == 2

    run_virtual(main())


def test_16_no_update_is_lost_when_many_register_at_once() -> None:
    """Read, modify, write of a whole flow, without compare-and-set."""

    async def main() -> None:
        async with Flow() as flow:
            conflicts: list[str] = []

            async def service(name: str) -> None:
                for i in range(20):
                    while True:
                        revision = await flow.revision("f")
                        await asyncio.sleep(0)
                        try:
                            await flow.create_step("f", Step(f"{name}.{i}", echo), revision=revision)
                            break
                        except RevisionConflict:
                            conflicts.append(name)

            await asyncio.gather(*(service(f"service{n}") for n in range(5)))
            assert len(await flow.lookup("f")) == 100 and await flow.revision("f") == 100
            assert conflicts  # they did meet

    run_virtual(main())


def test_17_an_id_used_again_does_not_overwrite_and_executions_can_be_listed_and_are_pinned() -> None:
    """No revision on an execution, no listing, no retention; an id used again overwrote the old run."""

    async def main() -> None:
        async with Flow() as flow:
            gate = Gate()
            await flow.create_steps("f", [Step("a", gate), Step("b", echo, after="a")])
            handle = await flow.execute("f", 1, id="x", async_=True)
            await flow.delete_step("f", "b")
            assert handle.revision == 1 and await flow.revision("f") == 2
            with pytest.raises(ExecutionConflict):
                await flow.execute("f", 2, id="x")
            gate.open()
            assert await handle == 1 and handle.step_status_of("b") is Status.SUCCESS
            assert [found.execution for found in (await flow.executor.list("f")).items] == [handle.id]

    run_virtual(main())


def test_18_branches_run_at_the_same_time_with_their_parents_output_and_fallbacks_are_used() -> None:
    """The rewrite waited inside its loop, gave every step the original request, and never used the fallback."""

    async def main() -> None:
        async with Flow() as flow:
            gauge = Gauge()

            async def make(value: Any) -> str:
                return "made"

            steps = [Step("make", make), *(Step(f"s{i}", gauge, after="make") for i in range(10))]
            await flow.create_steps("f", [*steps, Step("bad", boom, after="make", fallback=echo)])
            execution = await flow.execute("f", "request")
            assert gauge.most == 10 and execution.result("s3") == b'"made"'
            assert execution.recovered == ("bad",) and execution.result("bad") == b'"made"'

    run_virtual(main())


def test_18b_removing_a_step_that_others_need_leaves_them_waiting_and_says_so() -> None:
    """RemoveSteps had a TODO: a later step required the removed one."""

    async def main() -> None:
        async with Flow() as flow:
            await flow.create_steps("f", [Step("a", echo), Step("b", echo, after="a")])
            await flow.delete_step("f", "a")
            assert await flow.unresolved("f") == {"a": ["b"]}
            with pytest.raises(UnresolvedSteps) as caught:
                await flow.execute("f")
            assert caught.value.missing == {"a": ["b"]}

    run_virtual(main())


def test_nothing_is_lost_on_the_wire() -> None:
    """Retry, timeout and the options of operations were not in the schema: no caller's setting reached the executor."""
    options = OperationOptions(timeout=3, retries=Retry(4), allow_fail=True)
    operation = ClientCallOperation("s", "e", options=options)
    step = Step("a", operation, retry=Retry(7, initial=2), timeout=1.25, total_timeout=9, fallback=operation, after="b")
    assert decode_step(encode_step(step), OperationRegistry()) == step


def test_nested_flows_do_not_use_up_the_pool() -> None:
    """A nested flow held the worker that its parent needed."""

    async def main() -> None:
        async with Flow(executor=Executor(concurrency=1, workers=1)) as flow:
            await flow.create_step("f0", Step("a", lambda value: value))
            for i in range(1, 20):
                await flow.create_step(f"f{i}", Step("sub", FlowExecuteOperation(f"f{i - 1}")))
            results = await asyncio.gather(*(flow.call("f19", b"%d" % n) for n in range(5)))
            assert results == [b"%d" % n for n in range(5)]

    run_virtual(main(), threads=True)


def test_stop_releases_after_it_drained() -> None:
    """The pool was released first; what ran lost its workers."""

    async def main() -> None:
        flow = Flow(rpc=(rpc := MemoryRpcClient()))
        gate = Gate()
        rpc.serve("s", "e", lambda data, headers: data)
        await flow.create_steps("f", [Step("a", gate), Step("b", ClientCallOperation("s", "e"), after="a")])
        handle = await flow.execute("f", b"x", async_=True)
        stopping = asyncio.ensure_future(flow.stop())
        await turns()
        gate.open()
        await stopping
        assert handle.status is Status.SUCCESS

    run_virtual(main())

"""The table of the original's API: every name in it exists here, has its signature, and works."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import flow_core
from flow_core import (
    ALL,
    ClientCallOperation,
    ClientPublishOperation,
    ExecuteOptions,
    Execution,
    Executor,
    ExecutorOptions,
    Flow,
    FlowExecuteOperation,
    FlowOptions,
    LocalOperation,
    Operation,
    OperationOptions,
    Status,
    Step,
)
from flow_core.errors import DuplicateOperation, InvalidOption, StepFailed, UnknownOperation
from flow_core.operations import OperationRegistry
from flow_core.operations.registry import ENTRY_POINTS
from flow_core.proto.encoding import decode_operation, encode_operation
from flow_core.pubsub.memory import MemoryPubSubClient
from flow_core.rpc.memory import MemoryRpcClient
from tests.aio import run_virtual
from tests.runtime.kit import wait_for


def parameters(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


async def plus(value: int) -> int:
    return value + 1


async def same(value: Any) -> Any:
    return value


async def broken(value: Any) -> None:
    raise OSError


# --- Flow ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("init", ["options"]),
        ("create_step", ["flow", "step", "revision", "author"]),
        ("create_steps", ["flow", "steps", "revision", "author"]),
        ("delete_step", ["flow", "step", "revision", "author"]),
        ("replace_step", ["flow", "old", "new", "revision", "author"]),
        ("lookup", ["flow"]),
        ("execute", ["flow", "request", "options", "fields"]),
        ("call", ["flow", "request", "fields"]),
        ("unresolved", ["flow"]),
        ("stop", ["drain"]),
    ],
)
def test_methods_of_flow(name: str, wanted: list[str]) -> None:
    method = getattr(Flow, name)
    assert parameters(method) == wanted
    assert inspect.iscoroutinefunction(method)
    assert method.__doc__


def test_flow_row_works_end_to_end() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.init(context={"who": "me"})
            assert isinstance(flow.options, FlowOptions) and flow.options.context == {"who": "me"}
            a, b, c = Step("a", plus), Step("b", plus, after="a"), Step("c", plus, after="a")
            assert await flow.create_step("f", a) == 1
            assert await flow.create_step("f", b) == 2
            assert await flow.lookup("f") == [a, b]
            assert await flow.replace_step("f", b, c) == 3
            assert await flow.lookup("f") == [a, c]
            assert await flow.delete_step("f", c) == 4
            assert (await flow.execute("f", 1)).response == 2
            assert (await flow.execute([a, b], 1)).response == 3
            assert await flow.call("f", 1) == 2

    run_virtual(main())


# --- Executor -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("init", ["fields"]),
        ("execute", ["steps", "request", "options", "fields"]),
        ("resume", ["flow", "id"]),
        ("pause", ["flow", "id"]),
        ("abort", ["flow", "id", "rollback"]),
        ("status", ["flow", "id"]),
        ("result", ["flow", "id", "step"]),
        ("stop", ["drain"]),
        ("restart", ["flow", "id", "step"]),
        ("list", ["flow", "status", "since", "limit", "cursor"]),
        ("wait", ["flow", "id"]),
        ("explain", ["flow", "id"]),
    ],
)
def test_methods_of_executor(name: str, wanted: list[str]) -> None:
    method = getattr(Executor, name)
    assert parameters(method) == wanted
    assert inspect.iscoroutinefunction(method)
    assert method.__doc__


def test_executor_row_works_without_a_flow() -> None:
    async def main() -> None:
        seen: list[BaseException] = []
        async with Executor(error_handler=lambda error, ctx: seen.append(error), context={"a": 1}) as executor:
            await executor.init(concurrency=7)
            assert executor.options.concurrency == 7 and executor.options.context == {"a": 1}
            execution = await executor.execute([Step("a", plus), Step("b", plus, after="a")], 1)
            name, number = execution.flow, execution.id
            assert await executor.status(name, number) is Status.SUCCESS
            assert await executor.result(name, number, "b") == b"3"
            assert await executor.wait(name, number) is Status.SUCCESS
            assert [found.execution for found in (await executor.list(name)).items] == [execution.id]
            assert (await executor.explain(name, number)).status is Status.SUCCESS
            assert await (await executor.restart(name, number)) == 3
            with pytest.raises(StepFailed):
                await executor.execute([Step("a", broken)])
            assert [type(error) for error in seen] == [OSError]

    run_virtual(main())


def test_options_records() -> None:
    assert {"executor", "store", "context"} <= set(FlowOptions.__dataclass_fields__)
    assert {"flow", "error_handler", "context", "concurrency"} <= set(ExecutorOptions.__dataclass_fields__)
    assert set(OperationOptions.__dataclass_fields__) == {"timeout", "retries", "allow_fail", "context"}
    original = {"flow", "id", "step", "output", "timeout", "async_", "concurrency", "retries", "client", "context"}
    assert original <= set(ExecuteOptions.__dataclass_fields__)
    for record in (FlowOptions(), ExecutorOptions(), OperationOptions(), ExecuteOptions()):
        with pytest.raises(AttributeError):
            record.context = {}  # type: ignore[misc]


def test_every_execute_option_is_a_keyword_and_a_field() -> None:
    from flow_core.model.options import ExecuteFields

    assert set(ExecuteFields.__annotations__) == set(ExecuteOptions.__dataclass_fields__) - {"flow"}

    async def main() -> None:
        async with Flow() as flow:
            await flow.create_steps("f", [Step("a", plus), Step("b", plus, after="a")])
            by_keyword = await flow.execute("f", 1, output="a", id="x", timeout=5, concurrency=1, retries=1)
            assert (by_keyword.response, by_keyword.id) == (2, "x")
            options = ExecuteOptions(output="a", id="y", async_=True)
            by_record = await flow.execute("f", 1, options)
            assert await by_record == 2 and by_record.id == "y"
            both = await flow.execute("f", 1, options, output="b", id="z", async_=False)
            assert both.over and both.response == 3  # a keyword wins
            with pytest.raises(InvalidOption, match="wrong"):
                await flow.execute("f", 1, wrong=1)  # type: ignore[call-arg]

    run_virtual(main())


# --- Step, Operation, Status --------------------------------------------------------------------------------------


def test_step_row() -> None:
    wanted = {"retry", "timeout", "input", "output", "after", "before", "fallback"}
    signature = inspect.signature(Step)
    assert list(signature.parameters)[:2] == ["id", "operation"]
    assert all(signature.parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in wanted)
    step = Step("a", plus, retry=2, timeout=1.5, input="x", output="y", after=["b"], before=ALL, fallback=plus)
    assert (step.retry, step.timeout, step.input, step.output, step.after) == (2, 1.5, "x", "y", ("b",))
    with pytest.raises(AttributeError, match="frozen"):
        step.id = "b"
    doc = inspect.getdoc(Step)
    assert doc is not None and "the other way round" in doc  # the contradiction of the original text


class Shout(Operation):
    """An operation of one's own."""

    type = "shout"

    def __init__(self, mark: str = "!") -> None:
        super().__init__("shout")
        self.mark = mark

    def fields(self) -> dict[str, str]:
        return {"mark": self.mark}

    def load(self, fields: dict[str, str]) -> None:
        self.mark = fields["mark"]

    async def execute(self, ctx: Any, data: bytes) -> bytes:
        return data.upper() + self.mark.encode()


def test_operation_row() -> None:
    operation = Shout("?")
    assert (operation.name, str(operation), operation.type) == ("shout", "shout(shout)", "shout")
    assert operation.options == OperationOptions()
    again = decode_operation(encode_operation(operation), Shout)
    assert again == operation and again is not operation
    assert inspect.iscoroutinefunction(Operation.execute) and inspect.isabstract(Operation)
    registry = OperationRegistry()
    registry.register(Shout)
    assert registry.decode(encode_operation(operation)) == operation
    with pytest.raises(DuplicateOperation):
        registry.register(Shout)
    with pytest.raises(UnknownOperation):
        registry.resolve("whisper")
    assert ENTRY_POINTS == "flow_core.operations"

    async def main() -> None:
        async with Flow(operations=registry) as flow:
            assert flow.operations is registry
            await flow.create_step("f", Step("a", operation))
            assert await flow.call("f", b"hey") == b"HEY?"

    run_virtual(main())


def test_status_row() -> None:
    names = ["UNKNOWN", "PENDING", "FAILURE", "SUCCESS", "PAUSED", "ABORTED", "STOPPED", "RUNNING", "SKIPPED"]
    assert [(status.name, int(status)) for status in Status] == [(name, i) for i, name in enumerate(names)]


def test_the_four_operations_work_in_one_flow() -> None:
    async def main() -> None:
        rpc, pubsub = MemoryRpcClient(), MemoryPubSubClient()
        heard: list[bytes] = []

        async def hear(message: Any) -> None:
            heard.append(message.data)

        rpc.serve("math", "double", lambda data, headers: data * 2)
        await pubsub.subscribe("done", hear)
        async with Flow(rpc=rpc, pubsub=pubsub) as flow:
            await flow.create_step("inner", Step("a", LocalOperation(same)))
            steps = [
                Step("local", LocalOperation(plus)),
                Step("call", ClientCallOperation("math", "double"), after="local"),
                Step("publish", ClientPublishOperation("done"), after="call"),
                Step("nested", FlowExecuteOperation("inner"), after="publish", input="call"),
            ]
            await flow.create_steps("f", steps)
            execution = await flow.execute("f", 1)
            assert execution.result("call") == b"22" and execution.result("nested") == b"22"
            await wait_for(lambda: heard)
        assert heard == [b"22"]

    run_virtual(main())


# --- the handle ---------------------------------------------------------------------------------------------------


def test_execute_waits_and_raises_with_the_handle_on_the_error() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("good", Step("a", plus))
            await flow.create_step("bad", Step("a", broken))
            execution = await flow.execute("good", 1)
            assert isinstance(execution, Execution) and execution.over
            with pytest.raises(StepFailed) as caught:
                await flow.execute("bad", 1)
            assert isinstance(caught.value.execution, Execution)
            assert caught.value.execution.status is Status.FAILURE
            handle = await flow.execute("bad", 1, async_=True)
            assert isinstance(handle, Execution)
            with pytest.raises(StepFailed):
                await handle
            with pytest.raises(StepFailed):
                await flow.call("bad", 1)

    run_virtual(main())


def test_the_handle_has_what_the_table_says() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_steps("f", [Step("a", plus), Step("b", plus, after="a")])
            handle = await flow.execute("f", 1, async_=True)
            assert isinstance(handle.id, str) and isinstance(handle.status, Status)
            assert await handle == 3 and handle.response == 3 and handle.result("a") == b"2"
            assert [move.status async for move in handle][-1] is Status.SUCCESS
            for name in ("pause", "resume", "abort", "wait"):
                assert inspect.iscoroutinefunction(getattr(Execution, name)), name
            assert handle.history() and handle.error is None and handle.recovered == () and handle.errors == {}
            assert repr(handle) == f"<Execution {handle.id} of f SUCCESS: 2/2 done, 0 running, 0 failed>"

    run_virtual(main())


def test_the_public_names() -> None:
    assert len(set(flow_core.__all__)) == len(flow_core.__all__)
    for name in flow_core.__all__:
        assert hasattr(flow_core, name), name
    assert flow_core.__version__ and flow_core.get_include()

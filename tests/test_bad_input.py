"""Bad input: each kind is refused with a clear error, and nothing is half-done.

Lives here: one test a kind, through the public names, and what must be the same afterwards. Does not live here: the
details of each check (`test_step.py`, `test_options.py`, `proto/`, `engine/`), bad files (`cli/test_wfformat.py`), a
lack of memory (`runtime/test_no_memory.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from flow_core import Executor, Flow, Operation, Status, Step, errors
from flow_core.errors import FlowError
from flow_core.model.ids import MAX_ID
from flow_core.model.operation import LocalOperation
from flow_core.model.options import ExecutorOptions, OperationOptions, Retry
from flow_core.operations import OperationRegistry
from flow_core.proto import flow_pb2 as pb
from flow_core.proto.encoding import decode_step, encode_step
from tests.aio import run

LONG = "x" * (MAX_ID + 1)


async def noop(value: Any = None) -> Any:
    return value


class Wrong(Operation):
    """An operation that gives back whatever it was told to."""

    type = "wrong"
    __slots__ = ("calls", "gives")

    def __init__(self, gives: Any) -> None:
        super().__init__("wrong")
        self.gives = gives
        self.calls = 0

    async def execute(self, ctx: Any, data: bytes) -> bytes:
        self.calls += 1
        given: bytes = self.gives
        return given


async def snapshot(flow: Flow) -> tuple[Any, ...]:
    """Everything that a refused call must leave as it was."""
    names = await flow.flows()
    steps = [await flow.lookup(name) for name in names]
    revisions = [await flow.revision(name) for name in names]
    unresolved = [await flow.unresolved(name) for name in names]
    executions = [(found.execution, found.status) for found in (await flow.executor.list()).items]
    counted = flow.executor.statistics()
    return names, steps, revisions, unresolved, executions, counted.executions_started, counted.executions_live


@asynccontextmanager
async def refused(flow: Flow, error: type[FlowError], *words: str, fix: bool = False) -> AsyncIterator[None]:
    """The body raises exactly this class, with these words in its message, and changes nothing."""
    before = await snapshot(flow)
    with pytest.raises(FlowError) as caught:
        yield
    assert type(caught.value) is error, repr(caught.value)
    for word in words:
        assert word in caught.value.message
    if fix:
        assert caught.value.fix
    assert await snapshot(flow) == before
    assert (await flow.execute("f", b"still works")).response == b"still works"


def with_flow(test: Callable[[Flow], Awaitable[None]]) -> Callable[[], None]:
    """Run a test on a flow "f" of steps a -> b."""

    def tested() -> None:
        async def main() -> None:
            async with Flow() as flow:
                await flow.create_steps("f", [Step("a", noop), Step("b", noop, after="a")])
                await test(flow)

        run(main())

    tested.__name__ = test.__name__  # type: ignore[attr-defined]
    return tested


# --- ids -------------------------------------------------------------------------------------------------------------


@with_flow
async def test_unknown_ids(flow: Flow) -> None:
    async with refused(flow, errors.UnknownStep, "'aa'", "'f'", fix=True):
        await flow.delete_step("f", "aa")
    async with refused(flow, errors.UnknownStep, "'c'", "'f'"):
        await flow.replace_step("f", "c", Step("c", noop))
    async with refused(flow, errors.UnknownFlow, "'ff'", fix=True):
        await flow.execute("ff")
    for ask in (flow.lookup, flow.unresolved):
        async with refused(flow, errors.UnknownFlow, "'g'"):
            await ask("g")
    async with refused(flow, errors.UnknownStep, "no output 'bb'", "'f'", fix=True):
        await flow.execute("f", output="bb")
    for act in (flow.executor.status, flow.executor.pause, flow.executor.wait, flow.executor.explain):
        async with refused(flow, errors.UnknownExecution, "'nobody'", fix=True):
            await act("f", "nobody")
    execution = await flow.execute("f")
    with pytest.raises(errors.UnknownStep, match="'z'"):
        execution.result("z")
    with pytest.raises(errors.UnknownExecution, match="belongs to flow 'f', not 'g'"):
        await flow.executor.status("g", execution.id)


@with_flow
async def test_an_unknown_predecessor_is_no_mistake_until_it_is_executed(flow: Flow) -> None:
    await flow.create_step("late", Step("c", noop, after="nobody"))
    async with refused(flow, errors.UnresolvedSteps, "'late'", "'nobody'", "'c'", fix=True):
        await flow.execute("late")


@with_flow
async def test_duplicate_ids(flow: Flow) -> None:
    async with refused(flow, errors.DuplicateStep, "'f'", "'a'", fix=True):
        await flow.create_step("f", Step("a", noop))
    async with refused(flow, errors.DuplicateStep, "'f'", "'c'", fix=True):
        await flow.create_steps("f", [Step("d", noop), Step("c", noop), Step("c", noop)])
    async with refused(flow, errors.DuplicateStep, "'new'", "'c'", fix=True):
        await flow.create_steps("new", [Step("c", noop), Step("c", noop)])
    async with refused(flow, errors.DuplicateStep, "'b'", fix=True):
        await flow.replace_step("f", "a", Step("b", noop))


@with_flow
async def test_over_long_and_illegal_ids(flow: Flow) -> None:
    step = Step("c", noop)
    async with refused(flow, errors.InvalidId, "step id", "256 characters", "MAX_ID is 255"):
        Step(LONG, noop)
    async with refused(flow, errors.InvalidId, "flow name", "256 characters"):
        await flow.create_step(LONG, step)
    async with refused(flow, errors.InvalidId, "output of step 'c'", "256 characters"):
        Step("c", noop, output=LONG)
    async with refused(flow, errors.InvalidId, "after of step 'c'", "256 characters"):
        Step("c", noop, after=LONG)
    async with refused(flow, errors.InvalidId, "execution id", "256 characters"):
        await flow.execute("f", id=LONG)
    async with refused(flow, errors.InvalidId, "flow name is empty", fix=True):
        await flow.create_step("", step)
    async with refused(flow, errors.InvalidId, "flow name", "'a/b'", "'/'", fix=True):
        await flow.create_step("a/b", step)
    await flow.create_step("x" * MAX_ID, Step("y" * MAX_ID, noop))
    assert (await flow.execute("x" * MAX_ID, 1, id="z" * MAX_ID)).response == 1


# --- order -----------------------------------------------------------------------------------------------------------


@with_flow
async def test_cycles(flow: Flow) -> None:
    async with refused(flow, errors.CycleError, "cycle: ", "a", "b", "c", fix=True):
        await flow.create_step("f", Step("c", noop, after="b", before="a"))
    async with refused(flow, errors.CycleError, "cycle: ", fix=True):
        await flow.create_steps("f", [Step("d", noop), Step("x", noop, after="y"), Step("y", noop, after="x")])
    async with refused(flow, errors.CycleError, "a", "b", fix=True):
        await flow.replace_step("f", "a", Step("a", noop, after="b"))
    await flow.create_step("late", Step("p", noop, after="q"))  # q is not there yet
    async with refused(flow, errors.CycleError, "p", "q", fix=True):
        await flow.create_step("late", Step("q", noop, after="p"))
    with pytest.raises(errors.CycleError) as caught:
        await flow.create_step("f", Step("c", noop, after="b", before="a"))
    path = caught.value.path
    assert path[0] == path[-1]
    assert set(path) == {"a", "b", "c"}


@pytest.mark.parametrize("order", [{"after": "c"}, {"before": "c"}, {"after": ["a", "c"]}])
def test_self_dependence(order: dict[str, Any]):
    @with_flow
    async def test(flow: Flow) -> None:
        for name in ("f", "new"):
            async with refused(flow, errors.CycleError, "c -> c", fix=True):
                await flow.create_step(name, Step("c", noop, **order))
        async with refused(flow, errors.CycleError, "c -> c", fix=True):
            await flow.create_steps("f", [Step("d", noop), Step("c", noop, **order)])

    test()


@with_flow
async def test_two_unordered_writers_of_one_output(flow: Flow) -> None:
    writers = [Step("c", noop, output="o"), Step("d", noop, output="o", after="c"), Step("e", noop, after="a")]
    await flow.create_steps("f", [*writers, Step("last", noop, after=["b", "d", "e"], input="a")])
    async with refused(flow, errors.OutputConflict, "'f'", "'o'", "'x'", fix=True):
        await flow.create_step("f", Step("x", noop, output="o"))
    async with refused(flow, errors.OutputConflict, "'f'", "'o'", "'c'", "'d'", fix=True):
        await flow.replace_step("f", "d", Step("d", noop, output="o"))
    async with refused(flow, errors.OutputConflict, "'o'", "'c'", "'x'", fix=True):
        await flow.replace_step("f", "d", Step("x", noop, output="o"))
    async with refused(flow, errors.OutputConflict, "'a'", "'x'", fix=True):
        await flow.replace_step("f", "e", Step("x", noop, output="a"))
    async with refused(flow, errors.CycleError, "x", "a", fix=True):
        await flow.replace_step("f", "b", Step("x", noop, after="a", before="a"))
    await flow.create_step("f", Step("between", noop, after="c", before="d"))
    await flow.replace_step("f", "d", Step("d", noop, output="o", after="between"))
    async with refused(flow, errors.OutputConflict, "'o'", "'c'", "'d'", fix=True):
        await flow.delete_step("f", "between")  # it alone says that c comes before d


# --- types and numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "make", "words"),
    [
        (errors.InvalidId, lambda: Step(5, noop), ["step id", "int"]),  # type: ignore[arg-type]
        (errors.InvalidStep, lambda: Step("c", noop, after=5), ["after", "'c'", "int"]),  # type: ignore[arg-type]
        (errors.InvalidId, lambda: Step("c", noop, before=[5]), ["before", "'c'", "int"]),  # type: ignore[list-item]
        (errors.InvalidId, lambda: Step("c", noop, input=5), ["input", "'c'", "int"]),  # type: ignore[arg-type]
        (errors.InvalidStep, lambda: Step("c", noop, input={}), ["input", "'c'", "empty"]),
        (errors.InvalidOption, lambda: Step("c", noop, timeout="1"), ["timeout", "'c'", "str"]),  # type: ignore[arg-type]
        (errors.InvalidOption, lambda: Step("c", noop, retry="1"), ["retry", "'c'", "str"]),  # type: ignore[arg-type]
        (errors.InvalidOption, lambda: Step("c", noop, retry=True), ["retry", "'c'", "bool"]),
        (errors.InvalidOption, lambda: Step("c", noop, join="some"), ["join", "'c'", "some"]),  # type: ignore[arg-type]
        (errors.InvalidOption, lambda: Step("c", noop, allow_fail="no"), ["allow_fail", "'c'"]),  # type: ignore[arg-type]
        (errors.InvalidStep, lambda: Step("c", noop, fallback=5), ["fallback", "'c'", "int"]),  # type: ignore[arg-type]
        (errors.InvalidStep, lambda: Step("c", noop, compensation="x"), ["compensation", "'c'"]),  # type: ignore[arg-type]
        (errors.InvalidStep, lambda: LocalOperation(lambda a, b, c: 1), ["takes 3 arguments"]),
        (errors.InvalidOption, lambda: Step("c", noop, timeout=-1), ["timeout", "'c'", "-1"]),
        (errors.InvalidOption, lambda: Step("c", noop, timeout=0), ["timeout", "'c'", "positive"]),
        (errors.InvalidOption, lambda: Step("c", noop, timeout=float("nan")), ["timeout", "'c'", "nan"]),
        (errors.InvalidOption, lambda: Step("c", noop, total_timeout=-0.5), ["total_timeout", "'c'", "-0.5"]),
        (errors.InvalidOption, lambda: Step("c", noop, retry=-1), ["retry", "'c'", "-1"]),
        (errors.InvalidOption, lambda: Retry(initial=-1), ["Retry.initial", "-1"]),
        (errors.InvalidOption, lambda: OperationOptions(timeout=-2), ["OperationOptions.timeout", "-2"]),
        (errors.InvalidOption, lambda: ExecutorOptions(drain=-1), ["drain", "-1"]),
        (errors.InvalidOption, lambda: Executor(concurrency=0), ["concurrency", "at least 1"]),
    ],
)
def test_wrong_types_and_negative_numbers_of_values(error: type[FlowError], make: Callable[[], Any], words: list[str]):
    with pytest.raises(FlowError) as caught:
        make()
    assert type(caught.value) is error
    for word in words:
        assert word in str(caught.value)


@with_flow
async def test_wrong_types_and_negative_numbers_of_calls(flow: Flow) -> None:
    wrong: Any = "a step"
    async with refused(flow, errors.InvalidStep, "Step", "str"):
        await flow.create_step("f", wrong)
    async with refused(flow, errors.InvalidStep, "Step", "str"):
        await flow.create_steps("f", [Step("c", noop), wrong])
    async with refused(flow, errors.InvalidStep, "Step", "str"):
        await flow.replace_step("f", "a", wrong)
    number: Any = 5
    async with refused(flow, errors.InvalidId, "flow name", "int"):
        await flow.create_step(number, Step("c", noop))
    async with refused(flow, errors.InvalidOption, "timeout", "-1"):
        await flow.execute("f", timeout=-1)
    async with refused(flow, errors.InvalidOption, "concurrency", "at least 1"):
        await flow.execute("f", concurrency=0)
    async with refused(flow, errors.InvalidOption, "retries", "-1"):
        await flow.execute("f", retries=-1)
    async with refused(flow, errors.InvalidOption, "priority", "9"):
        await flow.execute("f", priority=9)
    async with refused(flow, errors.InvalidOption, "unresolved", "maybe"):
        await flow.execute("f", unresolved="maybe")  # type: ignore[arg-type]
    async with refused(flow, errors.InvalidStep, "'p'", "int"):
        flow.predicate("p", number)
    async with refused(flow, errors.InvalidStep, "'p'", "int"):
        flow.bind("p", number)


# --- operations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gives", ["text", 5, bytearray(b"x"), {"a": 1}])
def test_an_operation_that_does_not_give_bytes(gives: Any):
    @with_flow
    async def test(flow: Flow) -> None:
        operation = Wrong(gives)
        await flow.create_step("g", Step("bad", operation, retry=5))
        with pytest.raises(errors.StepFailed) as caught:
            await flow.execute("g")
        error = caught.value
        assert type(error.__cause__) is errors.PayloadError
        assert "'bad'" in error.message and "bytes" in error.message and type(gives).__name__ in error.message
        assert operation.calls == 1  # trying again can't mend it
        assert error.execution.step_status_of("bad") is Status.FAILURE
        assert (error.flow, error.step) == ("g", "bad")

    test()


def test_an_operation_that_is_not_one():
    with pytest.raises(errors.InvalidStep, match=r"operation of step 'c' must be an Operation or a callable, not int"):
        Step("c", 5)  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidStep, match=r"operation of step 'c' is the class Wrong") as caught:
        Step("c", Wrong)
    assert caught.value.fix == "pass an instance of it"
    registry = OperationRegistry()
    known = registry.types()
    for wrong in (int, noop, Operation):
        with pytest.raises(errors.InvalidStep):
            registry.register(wrong)  # type: ignore[type-var]
    assert registry.types() == known


def test_an_unknown_operation_type_on_decode():
    registry = OperationRegistry()
    message = encode_step(Step("c", LocalOperation(noop, name="noop")))
    message.operation.type = "local_operatoin"
    with pytest.raises(errors.UnknownOperation, match="'local_operatoin'") as caught:
        decode_step(message.SerializeToString(), registry)
    assert "'c'" in str(caught.value)
    assert "local_operation" in str(caught.value.fix)
    with pytest.raises(errors.DuplicateOperation, match="local_operation"):
        registry.register(type("Mine", (Wrong,), {"type": "local_operation"}))


def test_truncated_protobuf():
    registry = OperationRegistry()
    whole = encode_step(
        Step("c", LocalOperation(noop, name="noop"), after="a", timeout=2, retry=Retry(5), output="o")
    ).SerializeToString()
    assert decode_step(whole, registry).id == "c"
    refused_cuts = 0
    for length in range(len(whole)):
        try:
            decode_step(whole[:length], registry)
        except errors.DecodeError as error:
            refused_cuts += "Step" in error.message
        else:  # cut right behind the fields that the original has: whole in itself, as a step of the original's
            assert all(field.number < 16 for field, _ in pb.Step.FromString(whole[:length]).ListFields())
    assert refused_cuts >= len(whole) - 1


# --- executing -------------------------------------------------------------------------------------------------------


@with_flow
async def test_a_start_step_that_does_not_exist(flow: Flow) -> None:
    async with refused(flow, errors.UnknownStep, "'f'", "'aa'", fix=True):
        await flow.execute("f", step="aa")
    await flow.create_steps("g", [Step("a", noop), Step("b", noop), Step("c", noop, after=["a", "b"])])
    async with refused(flow, errors.MissingInput, "'g'", "'a'", "'c'", fix=True):
        await flow.execute("g", step="b")
    assert (await flow.execute("g", 1, step="b", inputs={"a": 5})).response == {"a": 5, "b": 1}


def test_execute_on_a_stopped_executor():
    async def main() -> None:
        flow = Flow()
        await flow.create_step("f", Step("a", noop))
        await flow.execute("f", 1)
        await flow.stop()
        before = await snapshot(flow)
        for execute in (
            lambda: flow.execute("f", 1),
            lambda: flow.execute("f", 1, async_=True),
            lambda: flow.execute("f", 1, timeout=1),
            lambda: flow.call("f", 1),
            lambda: flow.executor.execute([Step("a", noop)]),
        ):
            with pytest.raises(errors.ExecutorStopped, match="stopped") as caught:
                await execute()
            assert caught.value.fix == "make a new Executor"
        assert await snapshot(flow) == before

    run(main())


def test_execute_on_an_executor_that_was_stopped_before_its_first_use():
    async def main() -> None:
        flow = Flow()
        await flow.create_step("f", Step("a", noop))
        await flow.stop()
        with pytest.raises(errors.ExecutorStopped):
            await flow.execute("f")

    run(main())


@with_flow
async def test_a_call_that_is_cancelled_while_it_waits_for_its_flow_changes_nothing(flow: Flow) -> None:
    waiting = asyncio.create_task(flow.execute("nobody", unresolved="wait"))
    await asyncio.sleep(0)
    before = await snapshot(flow)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await snapshot(flow) == before

"""The decisions of the design as seen through the public API: ids, delivery, messages, limits, errors, replay.

Decisions 14-16, 18-20. The others: ``test_decisions.py``, ``test_decisions_policy.py``.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from typing import Any

import pytest

import flow_core
from flow_core import ClientPublishOperation, Execution, Executor, Flow, FlowError, Operation, Retry, Status, Step
from flow_core.errors import (
    AdapterError,
    AuthError,
    ExecutionConflict,
    ExecutionError,
    InvalidId,
    LimitExceeded,
    MissingInput,
    PayloadError,
    RegistrationError,
    StepFailed,
    StoreError,
    UnknownFlow,
    UnknownStep,
)
from flow_core.model.ids import MAX_ID, MAX_NESTING, MAX_PAYLOAD, MAX_STEPS
from flow_core.pubsub.memory import MemoryPubSubClient
from flow_core.rpc.memory import MemoryRpcClient
from tests.aio import run_virtual
from tests.runtime.kit import Gate, echo, wait_for


class Gives(Operation):
    """An operation that returns whatever it was made with."""

    type = "gives"

    def __init__(self, value: Any) -> None:
        super().__init__("gives")
        self.value = value

    async def execute(self, ctx: Any, data: bytes) -> bytes:
        value: bytes = self.value
        return value


# --- 14. idempotent start -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("runner", [run_virtual, flow_core.run], ids=["virtual", "uvloop"])
def test_14_an_id_starts_once(runner: Any) -> None:
    async def main() -> None:
        gate = Gate()
        async with Flow() as flow:
            await flow.create_step("f", Step("a", gate))
            calls = [asyncio.ensure_future(flow.execute("f", b"x", id="order-7")) for _ in range(10)]
            await wait_for(lambda: gate.started)
            gate.open()
            first, *others = await asyncio.gather(*calls)
            assert all(other is first for other in others) and gate.started == [b"x"]
            with pytest.raises(ExecutionConflict):
                await flow.execute("f", b"y", id="order-7")
            assert uuid.UUID((await flow.execute("f", b"x")).id).version == 7

    runner(main())


# --- 15. delivery -------------------------------------------------------------------------------------------------


def test_15_each_attempt_carries_headers_and_exactly_one_outcome_is_recorded() -> None:
    async def main() -> None:
        rpc = MemoryRpcClient()
        seen: list[dict[str, str]] = []

        def serve(data: bytes, headers: Any) -> bytes:
            seen.append(dict(headers))
            if len(seen) < 3:
                raise AdapterError("not yet")
            return b"done"

        rpc.serve("s", "e", serve)
        async with Flow(rpc=rpc) as flow:
            call = flow_core.ClientCallOperation("s", "e")
            await flow.create_step("f", Step("a", call, retry=Retry(5, initial=1)))
            execution = await flow.execute("f", b"x")
        assert [h["flow-attempt"] for h in seen] == ["1", "2", "3"]
        assert len({h["flow-idempotency-key"] for h in seen}) == 1
        assert {(h["flow-execution"], h["flow-step"]) for h in seen} == {(execution.id, "a")}
        ends = [m for m in execution.history() if m.step == "a" and m.status is not Status.RUNNING]
        assert [(m.attempt, m.status) for m in ends] == [(1, Status.FAILURE), (2, Status.FAILURE), (3, Status.SUCCESS)]

    run_virtual(main())


def test_15_delivery_is_a_choice_of_the_step() -> None:
    assert Step("a", echo).delivery == "at_least_once"
    assert Step("a", echo, delivery="at_most_once").delivery == "at_most_once"

    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("f", Step("a", echo, delivery="at_most_once"))
            assert await flow.call("f", 1) == 1

    run_virtual(main())


# --- 16. publish --------------------------------------------------------------------------------------------------


def test_16_fire_and_forget_confirmed_and_reply() -> None:
    async def main() -> None:
        pubsub = MemoryPubSubClient()
        heard: list[bytes] = []

        async def answer(message: Any) -> None:
            heard.append(message.data)
            if "ask" in message.topic:
                await message.reply(b"first")
                await message.reply(b"second")

        for topic in ("tell", "sure", "ask"):
            await pubsub.subscribe(topic, answer)
        async with Flow(pubsub=pubsub) as flow:
            steps = [
                Step("tell", ClientPublishOperation("tell")),
                Step("sure", ClientPublishOperation("sure", confirm=True), after="tell", input=flow_core.REQUEST),
                Step("ask", ClientPublishOperation("ask", reply=True), after="sure", input=flow_core.REQUEST),
            ]
            await flow.create_steps("f", steps)
            execution = await flow.execute("f", b"x")
            assert execution.result("tell") == b"" and execution.result("ask") == b"first"
            await wait_for(lambda: len(heard) == 3)
        assert heard == [b"x"] * 3

    run_virtual(main())


# --- 18. limits ---------------------------------------------------------------------------------------------------


def test_18_the_limits_are_those_of_the_design() -> None:
    assert (MAX_PAYLOAD, MAX_ID, MAX_STEPS, MAX_NESTING) == (2 * 1024 * 1024, 255, 1_000_000, 64)


@pytest.mark.parametrize("wrong", ["", "a b", "ü", "a/b", "x" * 256, 7, None, b"a", "a\n"])
def test_18_ids(wrong: Any) -> None:
    async def main() -> None:
        async with Flow() as flow:
            with pytest.raises(InvalidId):
                await flow.create_step(wrong, Step("a", echo))
            with pytest.raises(InvalidId):
                Step(wrong, echo)
            if wrong is not None:
                await flow.create_step("f", Step("a", echo))
                with pytest.raises(InvalidId):
                    await flow.execute("f", id=wrong)
            assert flow.executor.statistics().executions_started == 0

    run_virtual(main())
    assert Step("x" * 255, echo).id == "x" * 255


def test_18_an_over_long_id_names_the_limit() -> None:
    with pytest.raises(InvalidId, match="MAX_ID is 255"):
        Step("x" * 256, echo)


@pytest.mark.parametrize("value", [b"x" * (MAX_PAYLOAD + 1), "no bytes", None, 7, bytearray(b"x")])
def test_18_what_an_operation_returns_is_bytes_within_the_limit(value: Any) -> None:
    async def main() -> None:
        async with Flow() as flow:
            step = Step("a", Gives(value), retry=3)
            await flow.create_steps("f", [step, Step("b", Gives(b""), after="a")])
            with pytest.raises(StepFailed) as caught:
                await flow.execute("f")
            cause = caught.value.__cause__
            assert isinstance(cause, PayloadError) and caught.value.attempt == 1  # trying again can't mend it
            if isinstance(value, bytes):
                assert "MAX_PAYLOAD" in str(cause)

    run_virtual(main())


def test_18_steps_per_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    from flow_core.engine import definition

    monkeypatch.setattr(definition, "MAX_STEPS", 3)

    async def main() -> None:
        async with Flow() as flow:
            await flow.create_steps("f", [Step(f"s{i}", echo) for i in range(3)])
            with pytest.raises(LimitExceeded, match="MAX_STEPS is 3"):
                await flow.create_step("f", Step("s3", echo))
            assert await flow.revision("f") == 1

    run_virtual(main())


# --- 19. errors ---------------------------------------------------------------------------------------------------


def test_19_the_tree_and_its_codes() -> None:
    for kind in (RegistrationError, ExecutionError, StoreError, AdapterError, AuthError):
        assert issubclass(kind, FlowError)
    classes = [c for c in vars(flow_core.errors).values() if isinstance(c, type) and issubclass(c, FlowError)]
    codes = [c.code for c in classes]
    assert len(set(codes)) == len(codes)


def test_19_errors_say_where_why_and_what_to_do() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_steps("orders", [Step("pay", Gate()), Step("ship", echo, after="pay", input="pay")])
            with pytest.raises(UnknownFlow, match="fix: did you mean 'orders'") as unknown:
                await flow.execute("order")
            assert unknown.value.flow == "order" and unknown.value.code == "unknown_flow"
            with pytest.raises(UnknownStep, match="did you mean 'ship'"):
                await flow.delete_step("orders", "shipp")
            with pytest.raises(MissingInput, match="'pay'") as missing:
                await flow.execute("orders", step="ship")
            assert missing.value.fix == "pass inputs={name: value}"

            async def boom(value: Any) -> None:
                raise OSError("no disk")

            await flow.create_step("bad", Step("write", boom, retry=Retry(1, initial=1)))
            with pytest.raises(StepFailed) as failed:
                await flow.execute("bad")
            error = failed.value
            assert (error.flow, error.step, error.attempt) == ("bad", "write", 2)
            assert isinstance(error.execution, Execution) and error.execution.id
            assert "after 2 attempts: OSError: no disk" in str(error) and isinstance(error.__cause__, OSError)

    run_virtual(main())


@pytest.mark.parametrize("error", [OSError, GeneratorExit, asyncio.CancelledError])
def test_19_the_error_handler_sees_base_exceptions_and_the_execution_fails(error: type[BaseException]) -> None:
    async def main() -> None:
        seen: list[BaseException] = []

        async def fail(value: Any) -> None:
            raise error

        async with Flow(executor=Executor(error_handler=lambda e, ctx: seen.append(e))) as flow:
            await flow.create_step("f", Step("a", fail))
            handle = await flow.execute("f", async_=True)
            assert await handle.wait() is Status.FAILURE
        assert [type(e) for e in seen] == [error]

    run_virtual(main())


@pytest.mark.parametrize("flow_argument", [None, 7, b"f", [1, 2], ["f"], [Step], {"a": 1}])
def test_19_what_is_no_flow_is_named(flow_argument: Any) -> None:
    async def main() -> None:
        async with Flow() as flow, Executor() as executor:
            await flow.create_step("f", Step("a", echo))
            for execute in (flow.execute, executor.execute):
                with pytest.raises(RegistrationError):
                    await execute(flow_argument)
            assert flow.executor.statistics().executions_started == 0

    run_virtual(main())


# --- 20. replay ---------------------------------------------------------------------------------------------------


def test_20_the_same_run_on_a_virtual_clock_gives_the_same_times() -> None:
    async def main() -> list[tuple[Any, ...]]:
        async def flaky(value: Any) -> Any:
            await asyncio.sleep(3)
            if random.random() < 0.5:
                raise OSError
            return value

        async with Flow() as flow:
            flow.executor.scheduler.handler.environment.random.seed(7)
            steps = [Step(f"s{i}", flaky, after=f"s{i - 1}" if i else (), retry=Retry(20)) for i in range(10)]
            await flow.create_steps("f", steps)
            execution = await flow.execute("f", 1, timeout=10_000)
            found = execution.history()  # their times of day are those of the machine
            return [(m.step, m.status, m.attempt, round((m.time - found[0].time).total_seconds(), 3)) for m in found]

    one, other = run_virtual(main(), seed=1), run_virtual(main(), seed=1)
    assert one == other and sum(status is Status.SUCCESS for _, status, _, _ in one) == 11
    assert any(attempt > 1 for _, _, attempt, _ in one)

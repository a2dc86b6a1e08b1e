"""The defects of the original implementation, as regression tests: each says what the original did."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flow_core import (
    ClientCallOperation,
    ClientPublishOperation,
    Flow,
    FlowExecuteOperation,
    OperationOptions,
    Retry,
    Status,
    Step,
    StepContext,
)
from flow_core.errors import (
    CycleError,
    StepFailed,
    StepTimeout,
)
from flow_core.pubsub.memory import MemoryPubSubClient
from flow_core.rpc.memory import MemoryRpcClient
from tests.aio import run_virtual
from tests.runtime.kit import Gate, echo, turns, wait_for


def test_01_deleting_from_a_flow_of_several_steps() -> None:
    """DeleteStep compared its argument with itself: it matched every step and panicked with two or more."""

    async def main() -> None:
        async with Flow() as flow:
            a, b, c = Step("a", echo), Step("b", echo, after="a"), Step("c", echo)
            await flow.create_steps("f", [a, b, c])
            await flow.delete_step("f", "b")
            assert await flow.lookup("f") == [a, c]
            await flow.delete_step("f", a)
            assert await flow.lookup("f") == [c]

    run_virtual(main())


def test_02_status_is_read_where_it_is_written() -> None:
    """Status read another key than the executor wrote, and never succeeded."""

    async def main() -> None:
        async with Flow() as flow:
            gate = Gate()
            await flow.create_step("f", Step("a", gate))
            handle = await flow.execute("f", async_=True)
            assert await flow.executor.status("f", handle.id) is Status.RUNNING
            gate.open()
            await handle
            assert await flow.executor.status("f", handle.id) is Status.SUCCESS

    run_virtual(main())


def test_03_pause_resume_and_abort_do_something() -> None:
    """They wrote words into a key that nobody read."""

    async def main() -> None:
        async with Flow() as flow:
            gate, after = Gate(), Gate()
            await flow.create_steps("f", [Step("a", gate), Step("b", after, after="a")])
            handle = await flow.execute("f", 1, async_=True)
            await flow.executor.pause("f", handle.id)
            assert await flow.executor.status("f", handle.id) is Status.PAUSED
            gate.open()
            await asyncio.sleep(60)
            assert after.started == []
            await flow.executor.resume("f", handle.id)
            await turns()
            assert after.started == [1]
            await flow.executor.abort("f", handle.id)
            assert await flow.executor.status("f", handle.id) is Status.ABORTED
            assert after.cancelled == [1]

    run_virtual(main())


def test_04_result_is_the_result() -> None:
    """Result returned nil, nil."""

    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("f", Step("a", echo))
            execution = await flow.execute("f", b"payload")
            assert await flow.executor.result("f", execution.id, "a") == b"payload"

    run_virtual(main())


def test_05_breadth_first_is_no_topological_order() -> None:
    """A->B->E, A->C->D->E: E could run before D."""

    async def main() -> None:
        async with Flow() as flow:
            calls: list[str] = []

            def body(name: str) -> Any:
                async def run(value: Any) -> None:
                    calls.append(name)

                return run

            after = {"a": (), "b": "a", "c": "a", "d": "c", "e": ("b", "d")}
            await flow.create_steps("f", [Step(name, body(name), after=by) for name, by in after.items()])
            await flow.execute("f")
            assert sorted(calls) == list("abcde")
            assert calls.index("d") < calls.index("e") and calls.index("c") < calls.index("d")

    run_virtual(main())


def test_06_a_cycle_is_refused_and_shown() -> None:
    """A cyclic flow silently lost an edge."""

    async def main() -> None:
        async with Flow() as flow:
            await flow.create_steps("f", [Step("a", echo, after="c"), Step("b", echo, after="a")])
            with pytest.raises(CycleError) as caught:
                await flow.create_step("f", Step("c", echo, after="b"))
            path = caught.value.path
            assert path[0] == path[-1] and set(path) == {"a", "b", "c"}
            assert len(await flow.lookup("f")) == 2  # nothing half-done
            with pytest.raises(CycleError):
                await flow.create_step("g", Step("self", echo, after="self"))

    run_virtual(main())


@pytest.mark.parametrize("error", [OSError, GeneratorExit, asyncio.CancelledError])
def test_07_no_success_is_reported_on_failure(error: type[BaseException]) -> None:
    """The waiter could see a nil error; after a panic it always did."""

    async def main() -> None:
        async def fail(value: Any) -> None:
            await asyncio.sleep(0)
            raise error

        async with Flow() as flow:
            await flow.create_step("f", Step("a", fail))
            with pytest.raises(StepFailed) as caught:
                await flow.execute("f")
            assert type(caught.value.__cause__) is error
            assert (await flow.executor.list("f")).items[0].status is Status.FAILURE

    run_virtual(main())


def test_08_byte_callers_and_nested_flows_get_their_result() -> None:
    """The result was assigned to a local variable: both got nothing."""

    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("inner", Step("a", echo))
            await flow.create_step("outer", Step("a", FlowExecuteOperation("inner")))
            assert await flow.call("inner", b"\x00bytes") == b"\x00bytes"
            assert await flow.call("outer", b"\x00bytes") == b"\x00bytes"

    run_virtual(main())


def test_09_nested_flows_and_publishing_find_their_flow_and_client() -> None:
    """The executor stood under the key of the flow: both always failed with "invalid context"."""

    async def main() -> None:
        pubsub = MemoryPubSubClient()
        heard: list[bytes] = []

        async def hear(message: Any) -> None:
            heard.append(message.data)

        await pubsub.subscribe("topic", hear)
        async with Flow(pubsub=pubsub) as flow:
            await flow.create_step("inner", Step("p", ClientPublishOperation("topic")))
            await flow.create_step("outer", Step("a", FlowExecuteOperation("inner")))
            await flow.execute("outer", b"x")
            await wait_for(lambda: heard)
        assert heard == [b"x"]

    run_virtual(main())


def test_10_retries_and_timeouts_exist() -> None:
    """They were options that nothing read."""

    async def main() -> None:
        calls: list[int] = []

        async def hang(ctx: StepContext, value: Any) -> None:
            calls.append(ctx.attempt)
            await asyncio.Event().wait()

        async with Flow() as flow:
            await flow.create_step("f", Step("a", hang, timeout=5, retry=Retry(2, initial=1, factor=1, jitter="none")))
            with pytest.raises(StepFailed) as caught:
                await flow.execute("f")
            assert calls == [1, 2, 3] and isinstance(caught.value.__cause__, StepTimeout)
            assert asyncio.get_running_loop().time() == pytest.approx(17)

    run_virtual(main())


def test_10b_publishing_with_reply_does_not_wait_for_ever() -> None:
    """ClientPublish without a deadline waited for ever."""

    async def main() -> None:
        pubsub = MemoryPubSubClient()
        await pubsub.subscribe("silence", lambda message: None)
        async with Flow(pubsub=pubsub) as flow:
            operation = ClientPublishOperation("silence", reply=True, options=OperationOptions(timeout=3))
            await flow.create_step("f", Step("a", operation))
            with pytest.raises(StepFailed) as caught:
                await flow.execute("f", b"x")
            assert isinstance(caught.value.__cause__, TimeoutError)

    run_virtual(main())


def test_11_headers_arrive() -> None:
    """They were set on a copy and never sent."""

    async def main() -> None:
        rpc = MemoryRpcClient()
        seen: list[dict[str, str]] = []

        def serve(data: bytes, headers: Any) -> bytes:
            seen.append(dict(headers))
            return data

        rpc.serve("s", "e", serve)
        async with Flow(rpc=rpc) as flow:
            await flow.create_step("f", Step("a", ClientCallOperation("s", "e")))
            execution = await flow.execute("f", b"x")
        assert seen[0]["flow-execution"] == execution.id and seen[0]["flow-step"] == "a"
        assert seen[0]["flow-idempotency-key"] == f"{execution.id}/a" and seen[0]["flow-attempt"] == "1"

    run_virtual(main())


def test_12_two_steps_on_one_topic_get_their_own_replies_and_duplicates_harm_nobody() -> None:
    """The reply topic was one for the execution and the topic; a duplicate blocked the broker's handler."""

    async def main() -> None:
        pubsub = MemoryPubSubClient()

        async def serve(message: Any) -> None:
            for _ in range(3):
                await message.reply(b"re:" + message.data)

        await pubsub.subscribe("ask", serve)
        async with Flow(pubsub=pubsub) as flow:
            ask = ClientPublishOperation("ask", reply=True)
            one, two = Step("one", lambda: b"1"), Step("two", lambda: b"2")
            await flow.create_steps("f", [one, two, Step("a", ask, after="one"), Step("b", ask, after="two")])
            execution = await flow.execute("f", b"x")
            assert (execution.result("a"), execution.result("b")) == (b"re:1", b"re:2")

    run_virtual(main(), threads=True)

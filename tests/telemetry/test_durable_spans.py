"""Spans of durable executions: a crash loses none, and they are the same in the process that goes on."""

from __future__ import annotations

import asyncio
from typing import Any

from opentelemetry.trace import INVALID_SPAN, StatusCode, use_span

from flow_core import ClientCallOperation, Executor, Flow, FlowExecuteOperation, Retry, Status, Step
from flow_core.core.stepper import Stepper
from flow_core.rpc import MemoryRpcClient
from flow_core.stores import MemoryStore
from flow_core.telemetry import trace
from tests.aio import run_virtual
from tests.telemetry.kit import Spans, crash, hex_of


def play(main: Any) -> None:
    """On a virtual loop; heartbeats would keep one that hangs alive for ever."""

    async def patient() -> None:
        async with asyncio.timeout(1_000):
            await main

    run_virtual(patient())


class World:
    """A service that can be away, and what it was called with."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.away = True
        self.called = asyncio.Event()
        self.headers: list[dict[str, str]] = []

    def flow(self) -> Flow:
        """A flow in another process, as it were."""
        rpc = MemoryRpcClient()
        rpc.serve("s", "e", self.answer)
        return Flow(store=self.store, rpc=rpc, executor=Executor(name="one", drain=0))

    async def answer(self, data: bytes, headers: Any) -> bytes:
        self.headers.append(dict(headers))
        if len(self.headers) == 1:
            raise OSError("the first attempt")
        self.called.set()
        if self.away:
            await asyncio.Event().wait()
        return b"done"

    async def steps(self, flow: Flow) -> None:
        await flow.create_step("child", Step("call", ClientCallOperation("s", "e"), retry=Retry(1, initial=0.5)))
        steps = [Step("first", lambda value: value), Step("sub", FlowExecuteOperation("child"), after="first")]
        await flow.create_steps("f", steps)


def test_a_recovered_execution_has_the_spans_it_would_have_had() -> None:
    before, after = Spans(), Spans()

    async def main() -> None:
        world = World()
        first = world.flow()
        await first.open()
        trace(first, before.provider)
        await world.steps(first)
        with before.tracer.start_as_current_span("request"):
            await first.execute("f", b"1", id="e1", async_=True)
        await world.called.wait()
        crash(first)
        assert before.names == ["request"]  # nothing of an execution that goes on elsewhere

        world.away = False
        with after.tracer.start_as_current_span("start of the process"):
            second = world.flow()
            stop = trace(second, after.provider)
            await second.open()
            await world.steps(second)
        assert await second.executor.wait("f", "e1") is Status.SUCCESS
        while any(info.status is Status.RUNNING for info in (await second.executor.list()).items):
            await asyncio.sleep(0)
        await second.stop()
        stop()

        assert after.names == ["child", "child/call", "f", "f/first", "f/sub", "start of the process"]
        request, whole, call = before["request"], after["f"], after["child/call"]
        assert (whole.context.trace_id, whole.parent.span_id) == (request.context.trace_id, request.context.span_id)
        for inner, outer in [("f/first", "f"), ("f/sub", "f"), ("child", "f/sub"), ("child/call", "child")]:
            assert after.inside(inner, outer), (inner, outer)
        # The calls of both processes carry one span.
        assert {h["traceparent"][:-3] for h in world.headers} == {f"00-{hex_of(call)}"}
        failed = [e for e in call.events if e.name == "exception"]
        assert [(e.attributes["flow.attempt"], e.attributes["exception.type"]) for e in failed] == [(1, "AdapterError")]

    play(main())


def test_a_traceparent_given_to_execute_survives_without_any_current_span() -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    after = Spans()

    async def main() -> None:
        world = World()
        first = world.flow()
        await first.open()
        await world.steps(first)
        await first.execute("child", b"1", id="e1", async_=True, context={"traceparent": parent, "mine": 7})
        await world.called.wait()
        crash(first)
        world.away = False
        second = world.flow()
        stop = trace(second, after.provider)
        await second.open()
        await second.executor.wait("child", "e1")
        assert second.executor.find("child", "e1").options.context == {"traceparent": parent, "mine": 7}
        await second.stop()
        stop()
        whole = after["child"]
        assert f"00-{whole.context.trace_id:032x}-{whole.parent.span_id:016x}-01" == parent

    play(main())


def test_the_span_that_was_current_survives_a_crash_even_when_nobody_traces_executions() -> None:
    spans = Spans()

    async def main() -> None:
        world = World()
        first = world.flow()
        await first.open()
        await world.steps(first)
        with spans.tracer.start_as_current_span("request"):
            given = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "mine": 7}
            await first.execute("child", b"1", id="e1", async_=True, context=given)
        await world.called.wait()
        crash(first)
        world.away = False
        second = world.flow()
        await second.open()
        await world.steps(second)
        await second.executor.wait("child", "e1")
        await second.stop()
        assert {headers["traceparent"][:-3] for headers in world.headers} == {f"00-{hex_of(spans['request'])}"}

    play(main())


def test_an_unsampled_trace_stays_unsampled_after_a_crash() -> None:
    after = Spans()

    async def main() -> None:
        world = World()
        first = world.flow()
        await first.open()
        await world.steps(first)
        context = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}
        await first.execute("f", b"1", id="e1", async_=True, context=context)
        await world.called.wait()
        crash(first)
        world.away = False
        second = world.flow()
        stop = trace(second, after.provider)
        await second.open()
        await world.steps(second)
        await second.executor.wait("f", "e1")
        await second.stop()
        stop()
        assert after.all == ()
        assert world.headers[-1]["traceparent"].endswith("-00")

    play(main())


def test_what_stops_here_and_goes_on_later_is_told_once() -> None:
    spans = Spans()

    async def main() -> None:
        world = World()
        first = world.flow()
        async with first:
            trace(first, spans.provider)
            await world.steps(first)
            await first.execute("f", b"1", id="e1", async_=True)
            await world.called.wait()
        assert spans.all == ()
        world.away = False
        async with world.flow() as second:
            trace(second, spans.provider)
            await world.steps(second)
            await second.executor.wait("f", "e1")
        assert spans.names.count("f") == spans.names.count("f/first") == 1
        assert spans["f"].status.status_code is StatusCode.UNSET, spans["f"].status.description

    play(main())


def test_what_never_began_has_no_span() -> None:
    spans = Spans()

    async def main() -> None:
        async with Flow(store=MemoryStore()) as flow:
            stop = trace(flow, spans.provider)
            await flow.create_step("f", Step("a", lambda value: value))
            execution = await flow.execute("f", b"1", id="e1")
            assert Stepper(execution).durable
            with use_span(INVALID_SPAN):
                assert (await flow.execute("f", b"1", id="e1")).id == "e1"  # the same one
            stop()
        assert spans.names == ["f", "f/a"]

    play(main())

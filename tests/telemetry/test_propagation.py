"""Traces across boundaries: from the caller into the execution, from a step into calls, and what is not sampled."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry import trace as otel
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState, get_current_span, use_span

from flow_core import ClientCallOperation, ClientPublishOperation, Flow, Step, run
from flow_core.core.stepper import Stepper
from flow_core.pubsub import MemoryPubSubClient
from flow_core.rpc import MemoryRpcClient
from flow_core.rpc.grpc import GrpcRpcClient
from flow_core.rpc.http import HttpRpcClient
from flow_core.telemetry import trace
from tests.aio import run_virtual
from tests.servers.grpc_server import GrpcServer
from tests.servers.http_server import HttpServer
from tests.telemetry.kit import Spans, hex_of

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = PARENT[:-1] + "0"


async def echo(value: Any) -> Any:
    return value


def sent(spans: Spans, **options: Any) -> tuple[dict[str, str], dict[str, str]]:
    """The headers of a call and of a message of one traced execution."""
    seen: dict[str, dict[str, str]] = {}

    async def reserve(data: bytes, headers: Any) -> bytes:
        seen["call"] = dict(headers)
        return b""

    async def main() -> None:
        arrived = asyncio.Event()

        def mailed(message: Any) -> None:
            seen["message"] = dict(message.headers)
            arrived.set()

        rpc, pubsub = MemoryRpcClient(), MemoryPubSubClient()
        rpc.serve("inventory", "reserve", reserve)
        async with Flow(rpc=rpc, pubsub=pubsub) as flow, await pubsub.subscribe("mail", mailed):
            stop = trace(flow, spans.provider)
            steps = [
                Step("reserve", ClientCallOperation("inventory", "reserve")),
                Step("mail", ClientPublishOperation("mail"), after="reserve"),
            ]
            await flow.create_steps("order", steps)
            await flow.execute("order", **options)
            await arrived.wait()
            stop()

    run_virtual(main())
    return seen["call"], seen["message"]


def test_calls_and_messages_carry_the_span_of_their_step():
    spans = Spans()
    call, message = sent(spans)
    assert call["traceparent"] == f"00-{hex_of(spans['order/reserve'])}-01"
    assert message["traceparent"] == f"00-{hex_of(spans['order/mail'])}-01"
    assert "tracestate" not in call


def test_the_parent_is_the_span_that_is_current_at_execute():
    spans, state = Spans(), TraceState([("vendor", "x")])
    parent = SpanContext(0xABC, 0xDEF, True, TraceFlags(1), state)
    with use_span(NonRecordingSpan(parent)):
        call, _ = sent(spans, context={"traceparent": PARENT})
    whole = spans["order"]
    assert (whole.context.trace_id, whole.parent.span_id) == (0xABC, 0xDEF)
    assert call["traceparent"] == f"00-{hex_of(spans['order/reserve'])}-01"
    assert call["tracestate"] == "vendor=x"


def test_else_it_is_the_traceparent_given_to_execute():
    spans = Spans()
    call, _ = sent(spans, context={"traceparent": PARENT, "tracestate": "vendor=y"})
    whole = spans["order"]
    assert f"00-{whole.context.trace_id:032x}-{whole.parent.span_id:016x}-01" == PARENT
    assert whole.parent.is_remote
    assert call["traceparent"] == f"00-{hex_of(spans['order/reserve'])}-01"
    assert call["tracestate"] == "vendor=y"


@pytest.mark.parametrize("given", ["", "rubbish", PARENT.upper(), f"ff{PARENT[2:]}", 7, None])
def test_a_malformed_traceparent_begins_a_trace_of_its_own(given):
    spans = Spans()
    sent(spans, context={"traceparent": given})
    assert spans["order"].parent is None


def test_an_unsampled_parent_is_respected_and_said_on():
    spans = Spans()
    call, message = sent(spans, context={"traceparent": UNSAMPLED})
    assert spans.all == ()
    for headers in (call, message):
        version, trace_id, span_id, flags = headers["traceparent"].split("-")
        assert (version, trace_id, flags) == ("00", PARENT[3:35], "00")
        assert span_id != PARENT[36:52]


def test_what_the_sampler_drops_makes_no_span_and_says_so():
    spans = Spans(ALWAYS_OFF)
    call, _ = sent(spans)
    assert spans.all == () and call["traceparent"].endswith("-00")


def test_a_ratio_of_the_traces_is_sampled_each_as_a_whole():
    spans = Spans(TraceIdRatioBased(0.5))

    async def main() -> None:
        async with Flow() as flow:
            stop = trace(flow, spans.provider)
            await flow.create_step("f", Step("a", echo))
            for _ in range(400):
                await flow.execute("f")
            stop()

    run_virtual(main())
    executions = [s.context.trace_id for s in spans.all if s.name == "f"]
    assert sorted(executions) == sorted(s.context.trace_id for s in spans.all if s.name == "f/a")
    assert 100 < len(executions) < 300  # by a binomial distribution outside of it once in 10**24


def test_the_sampler_is_asked_once_an_execution_and_its_answer_holds():
    class Picky(Sampler):
        asked: list[Any] = []  # noqa: RUF012

        def should_sample(self, parent_context, trace_id, name, kind=None, attributes=None, links=None, *_):
            self.asked.append((name, dict(attributes)["flow.execution"]))
            decision = Decision.RECORD_AND_SAMPLE if len(self.asked) == 1 else Decision.DROP
            return SamplingResult(decision, {**attributes, "picked": True}, TraceState([("p", "1")]))

        def get_description(self):
            return "picky"

    spans = Spans(Picky())
    call, _ = sent(spans, id="mine")
    assert Picky.asked == [("order", "mine")]
    assert spans.names == ["order", "order/mail", "order/reserve"]
    assert spans["order"].attributes["picked"] is True
    assert call["tracestate"] == "p=1" and spans["order/mail"].context.trace_state.to_header() == "p=1"


def test_ids_follow_from_the_execution_and_are_never_the_same_for_two():
    spans = Spans()

    async def main() -> None:
        async with Flow() as flow:
            stop = trace(flow, spans.provider)
            await flow.create_steps("f", [Step("a", echo), Step("b", echo)])
            for _ in range(50):
                Stepper(await flow.execute("f", id="again")).own_steps = None  # and forgotten
                await flow.execute("f")
            stop()

    run_virtual(main())
    ids = [hex_of(span) for span in spans.all]
    assert len(set(ids)) == len(ids) >= 50 * 3


@pytest.mark.parametrize("kind", ["memory", "grpc", "http"])
def test_two_flows_are_one_trace_over(kind):
    """The second flow is started by the handler of the first one's call, with the headers that came along."""
    spans = Spans()
    sampled: list[bool] = []

    async def main() -> None:
        async with Flow() as warehouse:
            stop_other = trace(warehouse, spans.provider)
            await warehouse.create_step("pack", Step("box", echo))

            async def pack(data: bytes, headers: Any) -> bytes:
                sampled.append(bool(int(headers["traceparent"][-2:], 16) & 1))
                context = {"traceparent": headers["traceparent"]}
                with use_span(otel.INVALID_SPAN):  # as in another process
                    execution = await warehouse.execute("pack", data, context=context)
                return execution.result("box")

            server: Any = None
            if kind == "memory":
                client: Any = MemoryRpcClient()
                client.serve("warehouse", "pack", pack)
            else:
                server = await {"grpc": GrpcServer, "http": HttpServer}[kind]().start()
                server.serve("warehouse", "pack", pack)
                client = {"grpc": GrpcRpcClient, "http": HttpRpcClient}[kind](server.url)
            try:
                async with Flow(rpc=client) as shop:
                    stop = trace(shop, spans.provider)
                    await shop.create_step("order", Step("pack", ClientCallOperation("warehouse", "pack")))
                    with spans.tracer.start_as_current_span("request"):
                        assert (await shop.execute("order", b"{}")).result("pack") == b"{}"
                    stop()
            finally:
                stop_other()
                if server is not None:
                    await server.stop()

    run(main())
    assert sampled == [True]
    for child, parent in [("order", "request"), ("order/pack", "order"), ("pack", "order/pack"), ("pack/box", "pack")]:
        assert spans.inside(child, parent), (child, parent)
    assert len({span.context.trace_id for span in spans.all}) == 1


def test_a_span_of_ones_own_around_a_call_goes_before_the_steps():
    spans, seen = Spans(), []

    async def main() -> None:
        rpc = MemoryRpcClient()
        rpc.serve("s", "e", lambda data, headers: seen.append(headers["traceparent"]) or b"")

        async def careful(ctx: Any, value: Any) -> Any:
            with spans.tracer.start_as_current_span("careful"):
                return await ClientCallOperation("s", "e").execute(ctx, b"")

        async with Flow(rpc=rpc) as flow:
            stop = trace(flow, spans.provider)
            await flow.create_step("f", Step("a", careful))
            await flow.execute("f")
            stop()

    run_virtual(main())
    assert seen == [f"00-{hex_of(spans['careful'])}-01"] and spans.inside("careful", "f/a")


def test_what_a_step_leaves_behind_stays_in_its_trace():
    spans, later = Spans(), []

    async def work(value: Any) -> Any:
        async def after() -> None:
            await asyncio.sleep(10)
            later.append(get_current_span().is_recording())
            spans.tracer.start_span("late").end()

        later.append(asyncio.create_task(after()))

    async def main() -> None:
        async with Flow() as flow:
            stop = trace(flow, spans.provider)
            await flow.create_step("f", Step("a", work))
            await flow.execute("f")
            await later[0]
            stop()

    run_virtual(main())
    assert later[1] is False and spans.inside("late", "f/a")

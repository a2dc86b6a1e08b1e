"""The context of an execution crosses the network, and with it the trace of whoever asked."""

import pytest

pytest.importorskip("grpc")

from flow_core import ClientCallOperation, Flow, Step, errors
from flow_core.rpc import MemoryRpcClient
from tests import aio
from tests.service.loopback import serving

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def play(scenario):
    async def main():
        sent = []

        async def look(data, headers):
            sent.append(dict(headers))
            return data

        rpc = MemoryRpcClient()
        rpc.serve("shop", "look", look)
        async with serving(Flow(rpc=rpc)) as (_, client):
            await client.create_step("f", Step("a", ClientCallOperation("shop", "look")))
            await scenario(client, sent)

    aio.run(main())


def test_a_given_trace_reaches_the_called_service():
    async def scenario(client, sent):
        await client.execute("f", b"x", context={"traceparent": PARENT, "tracestate": "a=b"})
        assert (sent[0]["traceparent"], sent[0]["tracestate"]) == (PARENT, "a=b")
        await client.execute("f", b"x")
        assert "traceparent" not in sent[1]

    play(scenario)


def test_the_current_span_is_sent_along():
    trace = pytest.importorskip("opentelemetry.trace")
    span = trace.NonRecordingSpan(trace.SpanContext(0xABC, 0xDEF, False, trace.TraceFlags(1)))

    async def scenario(client, sent):
        with trace.use_span(span):
            await client.execute("f", b"x")
        assert sent[0]["traceparent"] == f"00-{0xABC:032x}-{0xDEF:016x}-01"

    play(scenario)


def test_values_that_are_no_text_are_refused():
    async def scenario(client, sent):
        with pytest.raises(errors.InvalidOption, match="can't travel"):
            await client.execute("f", b"x", context={"n": 1})
        assert sent == []

    play(scenario)

"""Trace context on the way out: from OpenTelemetry when it is loaded, else from the caller, and never made up."""

import asyncio
import subprocess
import sys

import pytest

from flow_core import ClientCallOperation, ClientPublishOperation, Flow, FlowExecuteOperation, Step
from flow_core.errors import Permanent, StepFailed
from flow_core.model.trace_context import outgoing_headers
from flow_core.pubsub import MemoryPubSubClient
from flow_core.rpc import MemoryRpcClient
from tests.aio import run_virtual
from tests.operations.fakes import FakeContext

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
IDENTITY = {"flow-name", "flow-execution", "flow-step", "flow-attempt", "flow-idempotency-key"}


def sent(context):
    """The headers of a call and of a message of one execution."""
    seen = {}

    async def reserve(data, headers):
        seen["call"] = dict(headers)
        return b""

    async def main():
        arrived = asyncio.Event()

        def mailed(message):
            seen["message"] = dict(message.headers)
            arrived.set()

        rpc, pubsub = MemoryRpcClient(), MemoryPubSubClient()
        rpc.serve("inventory", "reserve", reserve)
        async with Flow(rpc=rpc, pubsub=pubsub) as flow, await pubsub.subscribe("mail", mailed):
            steps = [
                Step("reserve", ClientCallOperation("inventory", "reserve")),
                Step("mail", ClientPublishOperation("mail"), after="reserve"),
            ]
            await flow.create_steps("order", steps)
            await flow.execute("order", id="e1", context=context)
            await arrived.wait()

    run_virtual(main())
    return seen["call"], seen["message"]


def test_every_call_and_message_says_whose_it_is():
    call, message = sent({})
    assert set(call) == set(message) == IDENTITY
    assert call["flow-execution"] == message["flow-execution"] == "e1"
    assert (call["flow-step"], message["flow-step"]) == ("reserve", "mail")
    assert call["flow-attempt"] == "1"
    assert call["flow-idempotency-key"] != message["flow-idempotency-key"]


def test_the_callers_trace_context_is_passed_on():
    for headers in sent({"traceparent": PARENT, "tracestate": "a=1,b=2"}):
        assert set(headers) == IDENTITY | {"traceparent", "tracestate"}
        assert (headers["traceparent"], headers["tracestate"]) == (PARENT, "a=1,b=2")
    for headers in sent({"traceparent": PARENT, "other": 7}):
        assert set(headers) == IDENTITY | {"traceparent"}


def test_child_executions_pass_the_callers_trace_context_on():
    seen = []

    async def main():
        rpc = MemoryRpcClient()
        rpc.serve("inventory", "reserve", lambda data, headers: seen.append(dict(headers)) or b"")
        async with Flow(rpc=rpc) as flow:
            await flow.create_step("leaf", Step("reserve", ClientCallOperation("inventory", "reserve")))
            await flow.create_step("branch", Step("sub", FlowExecuteOperation("leaf")))
            await flow.create_step("order", Step("sub", FlowExecuteOperation("branch", step="sub")))
            for context in ({"traceparent": PARENT, "tracestate": "a=1", "secret": 7}, {"secret": 7}, {}):
                await flow.execute("order", context=context)
            children = [info.execution for info in (await flow.executor.list("leaf")).items]
            given = [dict(flow.executor.find(None, one).options.context) for one in children[2:]]
            assert given == [{"traceparent": PARENT, "tracestate": "a=1"}]  # and nothing else of it

    run_virtual(main())
    assert [headers.get("traceparent") for headers in seen] == [PARENT, None, None]
    assert seen[0]["tracestate"] == "a=1"


@pytest.mark.parametrize("parent", [PARENT, "01-" + PARENT[3:], "cc-" + PARENT[3:] + "-what-comes-later"])
def test_what_is_a_traceparent(parent):
    assert outgoing_headers(FakeContext(options={"traceparent": parent}))["traceparent"] == parent


@pytest.mark.parametrize(
    "parent",
    ["", "00", PARENT.upper(), PARENT + "\r\n", PARENT[:-1], "ff" + PARENT[2:], 7, None, b"00",
     f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01"],
)  # fmt: skip
def test_what_is_none_fails_the_step_for_good(parent):
    with pytest.raises(Permanent, match="traceparent in the context of the execution"):
        outgoing_headers(FakeContext(options={"traceparent": parent}))
    with pytest.raises(StepFailed):
        sent({"traceparent": parent})


def test_a_tracestate_alone_means_nothing_and_a_broken_one_is_refused():
    assert set(outgoing_headers(FakeContext(options={"tracestate": "a=1"}))) == IDENTITY
    with pytest.raises(Permanent, match="tracestate"):
        outgoing_headers(FakeContext(options={"traceparent": PARENT, "tracestate": "a\nb"}))


def test_without_opentelemetry_nothing_of_it_is_touched(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)  # an import would raise
    assert set(outgoing_headers(FakeContext())) == IDENTITY


SPAN = """
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState
import tests.model.test_trace_context as t

context = SpanContext(0xABC, 0xDEF, False, TraceFlags(1), TraceState([("vendor", "x")]))
with trace.use_span(NonRecordingSpan(context)):
    for headers in t.sent({"traceparent": t.PARENT}):
        print(headers["traceparent"], headers["tracestate"])
for headers in t.sent({"traceparent": t.PARENT}):
    print(headers["traceparent"], headers.get("tracestate"))
for headers in t.sent({}):
    print(headers.get("traceparent"))
"""


def test_the_current_span_of_opentelemetry_goes_before_the_callers(pytestconfig):
    ran = subprocess.run(
        [sys.executable, "-c", SPAN], capture_output=True, text=True, timeout=60, check=True, cwd=pytestconfig.rootpath
    )
    span = f"00-{0xABC:032x}-{0xDEF:016x}-01 vendor=x"
    assert ran.stdout.splitlines() == [span, span, f"{PARENT} None", f"{PARENT} None", "None", "None"]

"""Each operation against fake contexts and the in-memory clients."""

import asyncio

import pytest

from flow_core.errors import DecodeError, InvalidId, InvalidStep, NoReply, PayloadError, Permanent, Unavailable
from flow_core.model.options import OperationOptions
from flow_core.operations import (
    ClientCallOperation,
    ClientPublishOperation,
    EmptyOperation,
    FlowExecuteOperation,
    OperationRegistry,
)
from flow_core.proto import flow_pb2 as pb
from flow_core.proto.encoding import encode_operation
from flow_core.pubsub import MemoryPubSubClient
from flow_core.rpc import MemoryRpcClient
from tests.aio import run_virtual
from tests.operations.fakes import FakeContext

SOME = OperationOptions(timeout=2.5, retries=4, allow_fail=False, context={"a": [1, None]})


@pytest.mark.parametrize(
    ("operation", "name", "fields"),
    [
        (ClientCallOperation("inventory", "reserve", options=SOME), "inventory.reserve",
         {"service": "inventory", "endpoint": "reserve"}),
        (ClientPublishOperation("paid", reply=True, confirm=False, options=SOME), "paid",
         {"topic": "paid", "reply": "true", "confirm": "false"}),
        (FlowExecuteOperation("refund", options=SOME), "refund", {"flow": "refund"}),
        (FlowExecuteOperation("refund", "start"), "refund.start", {"flow": "refund", "op": "start"}),
        (EmptyOperation(options=SOME), "empty", {}),
    ],
)  # fmt: skip
def test_name_fields_and_wire_form(operation, name, fields):
    assert operation.name == name
    assert operation.fields() == fields
    again = OperationRegistry().decode(encode_operation(operation))
    assert again == operation
    assert type(again) is type(operation)
    assert again.options == operation.options


def test_call_sends_data_headers_and_the_time_left():
    async def main():
        seen = []
        client = MemoryRpcClient()
        client.serve("inventory", "reserve", lambda data, headers: seen.append(dict(headers)) or b"ok " + data)
        reply = await ClientCallOperation("inventory", "reserve").execute(FakeContext(rpc=client, left=5.0), b"x")
        return reply, seen

    reply, seen = run_virtual(main())
    assert reply == b"ok x"
    assert seen == [FakeContext().headers()]


def test_call_gives_up_when_the_time_left_is_over():
    async def main():
        client = MemoryRpcClient()
        client.serve("a", "b", lambda data, headers: asyncio.sleep(10, b""))
        with pytest.raises(NoReply):
            await ClientCallOperation("a", "b").execute(FakeContext(rpc=client, left=3.0), b"")
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(3.0)


@pytest.mark.parametrize("operation", [ClientCallOperation("a", "b"), ClientPublishOperation("t")])
def test_without_a_client_it_is_useless_to_try_again(operation):
    async def main():
        await operation.execute(FakeContext(), b"")

    with pytest.raises(Permanent, match="client"):
        run_virtual(main())


@pytest.mark.parametrize("confirm", [True, False])
def test_publish_gives_empty_bytes(confirm):
    async def main():
        got = []
        client = MemoryPubSubClient()
        await client.subscribe("t", lambda message: got.append((message.data, message.headers["flow-step"])))
        output = await ClientPublishOperation("t", confirm=confirm).execute(FakeContext(pubsub=client), b"x")
        await asyncio.sleep(0)
        return output, got

    assert run_virtual(main()) == (b"", [(b"x", "s1")])


def test_publish_passes_on_a_receipt():
    class Receipts(MemoryPubSubClient):
        async def _publish(self, topic, data, headers, confirm):
            return b"seq 7"

    async def main():
        return await ClientPublishOperation("t").execute(FakeContext(pubsub=Receipts()), b"x")

    assert run_virtual(main()) == b"seq 7"


def test_unconfirmed_publish_to_nobody_is_counted_and_confirmed_is_an_error():
    async def main():
        client = MemoryPubSubClient()
        ctx = FakeContext(pubsub=client)
        assert await ClientPublishOperation("t", confirm=False).execute(ctx, b"") == b""
        with pytest.raises(Unavailable, match="unroutable"):
            await ClientPublishOperation("t").execute(ctx, b"")
        return client.statistics().unroutable

    assert run_virtual(main()) == 2


def test_two_steps_on_one_topic_get_each_their_own_reply():
    async def main():
        client = MemoryPubSubClient()

        async def answer(message):
            await asyncio.sleep(2.0 if message.data == b"slow" else 1.0)
            await message.reply(b"re " + message.data)

        await client.subscribe("t", answer)
        operation = ClientPublishOperation("t", reply=True)
        return await asyncio.gather(
            operation.execute(FakeContext(pubsub=client, step="a"), b"slow"),
            operation.execute(FakeContext(pubsub=client, step="b"), b"fast"),
        )

    assert run_virtual(main()) == [b"re slow", b"re fast"]


def test_reply_subject_belongs_to_one_attempt():
    async def main():
        subjects = []
        client = MemoryPubSubClient()

        async def answer(message):
            subjects.append(message.headers["flow-reply-to"])
            await message.reply(b"")

        await client.subscribe("t", answer)
        operation = ClientPublishOperation("t", reply=True)
        for attempt in (1, 2):
            await operation.execute(FakeContext(pubsub=client, attempt=attempt), b"")
        await operation.execute(FakeContext(pubsub=client, attempt=2, tokens=1), b"")
        return subjects

    assert run_virtual(main()) == ["t.reply.e1.s1.1.t1", "t.reply.e1.s1.2.t1", "t.reply.e1.s1.2.t2"]


def test_late_and_duplicate_replies_are_counted_and_never_fatal():
    async def main():
        client = MemoryPubSubClient()

        async def answer(message):
            if message.data == b"late":
                await asyncio.sleep(10)
            await message.reply(b"1")
            await message.reply(b"2")

        await client.subscribe("t", answer)
        operation = ClientPublishOperation("t", reply=True)
        with pytest.raises(NoReply):
            await operation.execute(FakeContext(pubsub=client, left=1.0), b"late")
        assert await operation.execute(FakeContext(pubsub=client, attempt=2), b"now") == b"1"
        await asyncio.sleep(20)
        return client.statistics()

    statistics = run_virtual(main())
    assert (statistics.replies, statistics.late_replies, statistics.duplicate_replies) == (1, 2, 1)
    assert statistics.handler_errors == 0


def test_waiting_for_a_reply_without_a_timeout_ends_with_cancellation():
    async def main():
        client = MemoryPubSubClient()
        await client.subscribe("t", lambda message: None)
        waiting = asyncio.create_task(ClientPublishOperation("t", reply=True).execute(FakeContext(pubsub=client), b""))
        await asyncio.sleep(1_000_000)
        assert not waiting.done()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run_virtual(main())


def test_flow_execute_asks_the_runtime():
    async def main():
        ctx = FakeContext()
        assert await FlowExecuteOperation("refund", "start").execute(ctx, b"x") == b"done"
        assert await FlowExecuteOperation("refund").execute(ctx, b"y") == b"done"
        return ctx.calls

    assert run_virtual(main()) == [("refund", b"x", "start"), ("refund", b"y", None)]


def test_empty_gives_its_input_back():
    async def main():
        return await EmptyOperation().execute(FakeContext(), b"x")

    assert run_virtual(main()) == b"x"


@pytest.mark.parametrize(
    "make",
    [
        lambda bad: ClientCallOperation(bad, "e"),
        lambda bad: ClientCallOperation("s", bad),
        lambda bad: ClientPublishOperation(bad),
    ],
)
@pytest.mark.parametrize("bad", ["", None, 7, b"x", "a b", "a\r\nb", "x" * 256])
def test_addresses_are_checked(make, bad):
    with pytest.raises(InvalidStep):
        make(bad)


@pytest.mark.parametrize("bad", ["", 7, "a b"])
def test_flow_and_step_names_are_checked(bad):
    with pytest.raises(InvalidId):
        FlowExecuteOperation(bad)
    with pytest.raises(InvalidId):
        FlowExecuteOperation("f", bad)


@pytest.mark.parametrize("flag", ["reply", "confirm"])
def test_flags_are_bools(flag):
    with pytest.raises(InvalidStep, match=flag):
        ClientPublishOperation("t", **{flag: 1})


def test_the_originals_publish_decodes_to_the_defaults():
    message = pb.Operation(name="paid", type="client_publish_operation", options={"topic": "paid"})
    assert OperationRegistry().decode(message) == ClientPublishOperation("paid", reply=False, confirm=True)


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("client_call_operation", {"service": "a"}, "'endpoint' is missing"),
        ("client_call_operation", {"service": "a", "endpoint": "b", "extra": "1"}, "'extra'"),
        ("client_call_operation", {"service": "a b", "endpoint": "b"}, "space"),
        ("client_publish_operation", {}, "'topic' is missing"),
        ("client_publish_operation", {"topic": "t", "reply": "yes"}, '"true" or "false"'),
        ("flow_execute_operation", {"op": "x"}, "'flow' is missing"),
        ("flow_execute_operation", {"flow": "f", "op": ""}, "op is empty"),
        ("empty_operation", {"x": ""}, "'x'"),
        ("local_operation", {"x": ""}, "'x'"),
    ],
)
def test_wrong_fields_are_refused(kind, options, says):
    with pytest.raises(DecodeError, match=says):
        OperationRegistry().decode(pb.Operation(name="n", type=kind, options=options))


def test_a_payload_that_is_not_bytes_is_an_error_of_the_payload():
    async def main():
        client = MemoryRpcClient()
        client.serve("a", "b", lambda data, headers: "text")
        await ClientCallOperation("a", "b").execute(FakeContext(rpc=client), b"")

    with pytest.raises(PayloadError, match="bytes, not str"):
        run_virtual(main())

"""What is the NATS client's own, on a real server. The contract and the rest: ``test_brokers.py``."""

import contextlib

import pytest

from flow_core.errors import AdapterError, AuthError, InvalidOption, NoReply, PayloadError, Permanent, Unavailable
from flow_core.pubsub.nats import NatsPubSubClient
from tests.aio import run
from tests.pubsub.contract import Inbox, answer
from tests.servers.nats import NatsServer, arrived

pytestmark = pytest.mark.server


@contextlib.asynccontextmanager
async def stream(url, name, subjects):
    """A JetStream stream; gives nats-py's context to look into it."""
    import nats

    connection = await nats.connect(url)
    jetstream = connection.jetstream()
    await jetstream.add_stream(name=name, subjects=subjects)
    try:
        yield jetstream
    finally:
        await jetstream.delete_stream(name)
        await connection.close()


def client_of(server, **options):
    return NatsPubSubClient(server.url(options.pop("user", "flow")), **options)


def test_a_retried_publish_is_stored_once_and_tells_where(nats_server):
    async def main():
        async with (
            stream(nats_server.url(), "ONCE", ["once", "twice"]) as jetstream,
            client_of(nats_server, stream="ONCE") as client,
        ):
            key = {"flow-idempotency-key": "execution/step"}
            receipts = [await client.publish("once", b"x", headers=key) for _ in range(3)]
            other = await client.publish("twice", b"y", headers=key)
            plain = [await client.publish("once", b"z") for _ in range(2)]
            return receipts, other, plain, (await jetstream.stream_info("ONCE")).state.messages

    receipts, other, plain, stored = run(main())
    assert receipts == [b"ONCE:1"] * 3
    assert (other, plain, stored) == (b"ONCE:2", [b"ONCE:3", b"ONCE:4"], 4)


def test_a_retried_request_is_delivered_again(nats_server):
    async def main():
        async with stream(nats_server.url(), "ASK", ["ask"]), client_of(nats_server, jetstream=True) as client:
            seen = []

            async def second_time(message):
                seen.append(message.data)
                if len(seen) == 2:
                    await message.reply(b"yes")

            await client.subscribe("ask", second_time)
            key = {"flow-idempotency-key": "execution/step"}
            with pytest.raises(NoReply):
                await client.request("ask", b"1", reply_to="ask.1", headers=key, timeout=0.05)
            return await client.request("ask", b"2", reply_to="ask.2", headers=key, timeout=5), seen

    assert run(main()) == (b"yes", [b"1", b"2"])


def test_without_a_stream_nothing_is_stored(nats_server):
    async def main():
        async with client_of(nats_server, jetstream=True) as client:
            with pytest.raises(Unavailable, match="no stream stores it"):
                await client.publish("nowhere", b"")
        async with stream(nats_server.url(), "HERE", ["here"]), client_of(nats_server, stream="THERE") as client:
            with pytest.raises(AdapterError, match="not stored") as caught:
                await client.publish("here", b"")
            assert not isinstance(caught.value, Unavailable)

    run(main())


def test_an_answer_that_is_no_acknowledgement_is_an_error(nats_server):
    import nats

    async def main():
        other = await nats.connect(nats_server.url())

        async def respond(message):
            await message.respond(message.data)

        await other.subscribe("chatty", cb=respond)
        await arrived(other)
        async with client_of(nats_server, jetstream=True) as client:
            for data in (b"hello", b"[]", b"{}", b'{"error": {"code": 503, "description": "no space"}}'):
                with pytest.raises(AdapterError, match=r"no stream answered|no space"):
                    await client.publish("chatty", data)
        await other.close()

    run(main())


@pytest.mark.parametrize("jetstream", [False, True])
def test_what_the_server_does_not_allow_is_an_auth_error(nats_server, jetstream):
    async def main():
        async with client_of(nats_server, user="guarded", jetstream=jetstream) as client:
            with pytest.raises(AuthError, match="no publish to 'Closed'"):
                await client.publish("Closed", b"", timeout=5)
            with pytest.raises(AuthError, match="no subscription to 'closed'"):
                await client.subscribe("closed", print)
            inbox = Inbox()
            await client.subscribe("open.x", inbox)
            await client.publish("open.x", b"fine", confirm=False)
            return (await inbox.next()).data

    assert run(main()) == b"fine"


def test_other_nats_programs_ask_and_answer(nats_server):
    import nats

    async def main():
        other = await nats.connect(nats_server.url())
        async with client_of(nats_server) as client:
            await client.subscribe("ours", answer)
            asked = await other.request("ours", b"x", timeout=5)

            async def respond(message):
                await message.respond(b"theirs")

            await other.subscribe("theirs", cb=respond)
            await arrived(other)
            answered = await client.request("theirs", b"", reply_to="theirs.1", timeout=5)
        await other.close()
        return asked.data, answered

    assert run(main()) == (b"re x", b"theirs")


def test_a_confirmed_message_does_not_look_like_a_question(nats_server):
    async def main():
        async with client_of(nats_server) as client:
            inbox = Inbox()
            await client.subscribe("t", inbox)
            for confirm in (True, False):
                await client.publish("t", b"", confirm=confirm)
                with pytest.raises(AdapterError, match="asks for no reply"):
                    await (await inbox.next()).reply(b"")

    run(main())


def test_patterns_and_groups(nats_server):
    async def main():
        async with client_of(nats_server, group="g") as first, client_of(nats_server, group="g") as second:
            inbox = Inbox()
            for client in (first, second):
                await client.subscribe("orders.*", inbox)
            for n in range(20):
                await first.publish(f"orders.{n}", b"%d" % n)
            topics = {(await inbox.next()).topic for _ in range(20)}
            await first.publish("orders.last", b"")
            await inbox.next()
            return topics, len(inbox.messages)

    assert run(main()) == ({f"orders.{n}" for n in range(20)}, 21)


@pytest.mark.parametrize("topic", ["", "a..b", ".a", "a b", "a.*", "a.>", "a\r\nPUB x 0"])
def test_a_topic_that_is_no_subject_is_never_retried(nats_server, topic):
    async def main():
        async with client_of(nats_server) as client:
            for confirm in (True, False):
                with pytest.raises(Permanent, match="no subject"):
                    await client.publish(topic, b"", confirm=confirm)

    run(main())


@pytest.mark.parametrize("headers", [{"a b": "c"}, {"a:": "c"}, {"a": "b\r\nc: d"}, {"": "x"}])
def test_a_header_that_can_not_be_sent_is_never_retried(nats_server, headers):
    async def main():
        async with client_of(nats_server) as client:
            with pytest.raises(Permanent, match="can't be sent"):
                await client.publish("t", b"", headers=headers)

    run(main())


@pytest.mark.parametrize("subject", ["a..b", "with space", "*", "x.>", ".", "ä/%41", "plain.one"])
def test_any_reply_subject_will_do(nats_server, subject):
    async def main():
        async with client_of(nats_server) as client:
            await client.subscribe("t", answer)
            return await client.request("t", b"x", reply_to=subject, timeout=5)

    assert run(main()) == b"re x"


def test_a_reply_goes_to_no_subject_of_the_server(nats_server):
    async def main():
        async with client_of(nats_server) as client:
            inbox = Inbox()
            await client.subscribe("t", inbox)
            await client.publish("t", b"", headers={"flow-reply-to": "$JS.API.STREAM.PURGE.ORDERS"})
            with pytest.raises(Permanent, match="no subject for replies"):
                await (await inbox.next()).reply(b"")

    run(main())


def test_a_message_over_the_limit_of_the_server_names_it_and_breaks_nothing(tmp_path):
    server = NatsServer(tmp_path, max_payload="64KB")
    server.start()

    async def main():
        async with client_of(server) as client:
            inbox = Inbox()
            await client.subscribe("t", inbox)
            with pytest.raises(PayloadError, match="the server takes 65536"):
                await client.publish("t", b"x" * 65_000, headers={"long": "y" * 1000})
            await client.publish("t", b"fits")
            return (await inbox.next()).data, client._nats._connection.connects

    try:
        assert run(main()) == (b"fits", 1)
    finally:
        server.stop()


@pytest.mark.parametrize("options", [{"stream": "a.b"}, {"stream": ""}, {"group": "a b"}, {"stream": 7}])
def test_names_are_checked(options):
    with pytest.raises(InvalidOption):
        NatsPubSubClient("nats://h", **options)

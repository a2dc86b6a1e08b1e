"""What is the Redis client's own, on a real server. The contract and the rest: ``test_brokers.py``."""

import asyncio

import pytest

from flow_core.errors import AdapterError, InvalidOption, Permanent, Unavailable
from flow_core.pubsub.redis import RedisPubSubClient
from tests.aio import run
from tests.pubsub.contract import Inbox, answer, shared

pytestmark = pytest.mark.server


def client_of(server, **options):
    return RedisPubSubClient(server.url(), **options)


def library(server):
    from redis.asyncio import Redis

    return Redis.from_url(server.url())


def test_a_stream_keeps_no_more_than_maxlen(redis_server):
    async def main():
        async with client_of(redis_server, maxlen=3, approximate=False, prefix="p:") as client:
            receipts = [await client.publish("short", b"%d" % n) for n in range(10)]
        async with library(redis_server) as redis:
            return receipts, await redis.xrange("p:short")

    receipts, entries = run(main())
    assert [entry for entry, _ in entries] == receipts[-3:]
    assert [fields for _, fields in entries] == [{b"data": b"7"}, {b"data": b"8"}, {b"data": b"9"}]


def test_many_publishers_share_round_trips(redis_server):
    async def main():
        async with client_of(redis_server) as client:
            await client.publish("shared", b"")
            trips, make = 0, client._connection.current.commands.pipeline

            def counted_pipeline(**options):
                nonlocal trips
                trips += 1
                return make(**options)

            client._connection.current.commands.pipeline = counted_pipeline
            receipts = await asyncio.gather(*(client.publish("shared", b"%d" % n) for n in range(1000)))
            return trips, len(set(receipts))

    trips, messages = run(main())
    assert messages == 1000
    assert trips <= 5


def test_a_publisher_who_gave_up_before_it_was_sent_sends_nothing(redis_server):
    async def main():
        async with client_of(redis_server) as client:
            await client.publish("gave-up", b"first")
            task = asyncio.create_task(client.publish("gave-up", b"never"))
            await asyncio.sleep(0)
            task.cancel()
            await client.publish("gave-up", b"last")
        async with library(redis_server) as redis:
            return [fields[b"data"] for _, fields in await redis.xrange("gave-up")]

    assert run(main()) == [b"first", b"last"]


async def nothing_pending(redis, stream, group):
    """Wait until the group has acknowledged all that its members were given."""
    while (await redis.xpending(stream, group))["pending"]:
        await asyncio.sleep(0.001)


def test_a_group_shares_and_misses_nothing(redis_server):
    async def main():
        async with (
            client_of(redis_server, group="g", prefetch=5) as first,
            client_of(redis_server, group="g", prefetch=5) as second,
            library(redis_server) as redis,
        ):
            result = await shared(first, second, "work")
            await nothing_pending(redis, "work", "g")
            return result

    got, delivered = run(main())
    assert got == list(range(100))
    assert sum(delivered) == 100 and min(delivered) > 0


def test_members_of_a_group_leave_no_name_behind(redis_server):
    async def main():
        async with client_of(redis_server, group="tidy") as client:
            await client.subscribe("tidy", inbox := Inbox())
            await client.publish("tidy", b"")
            await inbox.next()
            async with library(redis_server) as redis:
                await nothing_pending(redis, "tidy", "tidy")
        async with library(redis_server) as redis:
            return await redis.xinfo_consumers("tidy", "tidy")

    assert run(main()) == []


def test_what_a_member_was_given_and_never_got_comes_again(redis_server):
    async def main():
        async with client_of(redis_server, group="again") as client, library(redis_server) as redis:
            inbox = Inbox()
            await client.subscribe("again", inbox)
            await client._topics.unwatch("again")
            await client.publish("again", b"lost on the way")
            await redis.xreadgroup("again", client._group.consumer, {"again": ">"})
            await client._topics.watch("again")
            return (await inbox.next()).data

    assert run(main()) == b"lost on the way"


def test_a_message_counts_only_with_its_replicas(redis_server):
    async def main():
        async with client_of(redis_server, replicas=1, timeout=0.2) as client:
            with pytest.raises(Unavailable, match="0 replicas have it, not 1"):
                await client.publish("alone", b"", timeout=5)
            return client._connection.connects

    assert run(main()) == 1


def test_replies_are_removed_and_their_stream_ends_with_the_client(redis_server):
    async def main():
        async with library(redis_server) as redis:
            async with client_of(redis_server) as client:
                await client.subscribe("t", answer)
                for n in range(10):
                    await client.request("t", b"x", reply_to=f"r.{n}")
                while await redis.xlen(client._reply_key):
                    await asyncio.sleep(0.001)
                left = await redis.pttl(client._reply_key)
            return left, await redis.exists(client._reply_key)

    left, exists = run(main())
    assert 0 < left <= 600_000
    assert exists == 0


@pytest.mark.parametrize("address", ["orders|x", "orders", "", "|x"])
def test_a_reply_goes_to_streams_of_replies_only(redis_server, address):
    async def main():
        async with client_of(redis_server) as client:
            inbox = Inbox()
            await client.subscribe("t", inbox)
            await client.publish("t", b"", headers={"flow-reply-to": address})
            with pytest.raises((Permanent, AdapterError), match=r"no address for replies|asks for no reply"):
                await (await inbox.next()).reply(b"")

    run(main())


def test_a_key_of_another_kind_is_named_and_breaks_nothing_else(redis_server):
    async def main():
        async with library(redis_server) as redis, client_of(redis_server) as client:
            await redis.set("a-string", "x")
            wrong, fine = await asyncio.gather(
                client.publish("a-string", b""), client.publish("fine", b""), return_exceptions=True
            )
            with pytest.raises(AdapterError, match="WRONGTYPE"):
                await client.subscribe("a-string", print)
            return wrong, fine, client._connection.connects

    wrong, fine, connects = run(main())
    assert type(wrong) is AdapterError and "WRONGTYPE" in str(wrong)
    assert fine and connects == 1


def test_entries_of_others_are_read_or_passed_over(redis_server, caplog):
    async def main():
        async with library(redis_server) as redis, client_of(redis_server, group="strict") as client:
            inbox = Inbox()
            await client.subscribe("foreign", inbox)
            await redis.xadd("foreign", {"something": "else"})
            await redis.xadd("foreign", {"data": "1", "headers": "no JSON"})
            await redis.xadd("foreign", {"data": "2", "headers": '{"a": 1}'})
            messages = [await inbox.next() for _ in range(2)]
            await nothing_pending(redis, "foreign", "strict")
            return [(message.data, dict(message.headers)) for message in messages]

    assert run(main()) == [(b"1", {}), (b"2", {"a": "1"})]
    assert "has no field 'data'" in caplog.text


def test_a_group_that_is_gone_is_made_again(redis_server):
    async def main():
        async with library(redis_server) as redis, client_of(redis_server, group="gone") as client:
            inbox = Inbox()
            await client.subscribe("gone", inbox)
            await redis.delete("gone")
            await client.publish("gone", b"after")
            return (await inbox.next()).data

    assert run(main()) == b"after"


@pytest.mark.parametrize(
    "options",
    [{"maxlen": 0}, {"maxlen": "1"}, {"replicas": -1}, {"prefetch": 0}, {"timeout": 0}, {"claim": -1}, {"group": ""}],
)
def test_options_are_checked(options):
    with pytest.raises(InvalidOption):
        RedisPubSubClient("redis://h", **options)

"""What is the RabbitMQ client's own, on a real server. The contract and the rest: ``test_brokers.py``."""

import asyncio
import contextlib

import pytest

from flow_core.errors import AdapterError, InvalidOption, Unavailable
from flow_core.pubsub.rabbitmq import RabbitMqPubSubClient
from tests.aio import run
from tests.pubsub.contract import Inbox, answer, counted, eventually, shared

pytestmark = pytest.mark.server


def client_of(server, **options):
    return RabbitMqPubSubClient(server.url(), **options)


@contextlib.asynccontextmanager
async def channel_of(server):
    import aio_pika

    async with await aio_pika.connect(server.url()) as connection:
        yield await connection.channel()


async def count(channel, queue):
    return (await channel.declare_queue(queue, passive=True)).declaration_result.message_count


def test_a_group_shares_one_durable_queue(rabbitmq_server):
    async def main():
        async with (
            client_of(rabbitmq_server, group="g", prefetch=5) as first,
            client_of(rabbitmq_server, group="g", prefetch=5) as second,
        ):
            got, delivered = await shared(first, second, "work")
        async with client_of(rabbitmq_server) as client:
            await client.publish("work", b"kept")  # nobody is there, but the queue is
        async with client_of(rabbitmq_server, group="g") as client:
            await client.subscribe("work", inbox := Inbox())
            return got, delivered, (await inbox.next()).data

    got, delivered, kept = run(main())
    assert got == list(range(100))
    assert sum(delivered) == 100 and min(delivered) > 0
    assert kept == b"kept"


def test_a_message_whose_handler_raised_is_dead_lettered(rabbitmq_server):
    async def main():
        async with channel_of(rabbitmq_server) as channel, client_of(rabbitmq_server, group="dead") as client:
            await channel.declare_queue(
                "dead.letter",
                durable=True,
                arguments={"x-dead-letter-exchange": "amq.topic", "x-dead-letter-routing-key": "graveyard"},
            )
            inbox = Inbox()
            await client.subscribe("graveyard", inbox)

            async def broken(message):
                raise ValueError("boom")

            async with client_of(rabbitmq_server, exchange="") as direct:
                await direct.subscribe("dead.letter", broken)
                await direct.publish("dead.letter", b"poison")
                assert (await inbox.next()).data == b"poison"
                return direct.statistics().handler_errors, await count(channel, "dead.letter")

    assert run(main()) == (1, 0)


def test_patterns(rabbitmq_server):
    async def main():
        async with client_of(rabbitmq_server) as client:
            one, all_of_them = Inbox(), Inbox()
            await client.subscribe("orders.*", one)
            await client.subscribe("orders.#", all_of_them)
            await client.publish("orders.paid", b"")
            await client.publish("orders.paid.twice", b"")
            return (await one.next()).topic, [(await all_of_them.next()).topic for _ in range(2)], len(one.messages)

    assert run(main()) == ("orders.paid", ["orders.paid", "orders.paid.twice"], 1)


def test_an_exchange_of_its_own_is_declared_and_a_conflict_is_named(rabbitmq_server):
    async def main():
        async with channel_of(rabbitmq_server) as channel, client_of(rabbitmq_server, exchange="shop") as client:
            inbox = Inbox()
            await client.subscribe("t", inbox)
            await client.publish("t", b"x")
            exchange = await channel.declare_exchange("shop", "topic", durable=True)  # as it is
            await inbox.next()
            await exchange.delete()
            await channel.declare_exchange("shop-fanout", "fanout")
        async with client_of(rabbitmq_server, exchange="shop-fanout") as client:
            with pytest.raises(AdapterError, match="PRECONDITION_FAILED") as caught:
                await client.publish("t", b"")
            return caught.value.fix

    assert "other settings" in run(main())


def test_an_exchange_that_is_deleted_costs_one_error_and_comes_back(rabbitmq_server):
    async def main():
        async with channel_of(rabbitmq_server) as channel, client_of(rabbitmq_server, exchange="brief") as client:
            inbox = Inbox()
            await client.subscribe("t", inbox)
            await (await channel.get_exchange("brief")).delete()
            with pytest.raises(Unavailable, match="NOT_FOUND"):
                await client.publish("t", b"lost")
            async with asyncio.timeout(20):
                while True:
                    try:
                        await client.publish("t", b"again")
                        break
                    except Unavailable as error:
                        await asyncio.sleep(error.retry_after or 0.01)
            return (await inbox.next()).data, client._connection.connects

    assert run(main()) == (b"again", 2)


def test_publishers_who_give_up_break_nothing(rabbitmq_server):
    async def main():
        async with client_of(rabbitmq_server) as client:
            await client.publish("warm-up", b"", confirm=False)
            await eventually(lambda: counted(client, "unroutable"), (1,))
            for turns in range(20):
                task = asyncio.create_task(client.publish("nobody", b""))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            inbox = Inbox()
            await client.subscribe("t", inbox)
            await client.publish("t", b"fine")
            return (await inbox.next()).data, client._connection.connects

    assert run(main()) == (b"fine", 1)


def test_messages_with_one_idempotency_key_do_not_get_mixed_up(rabbitmq_server):
    async def main():
        async with client_of(rabbitmq_server) as client:
            await client.subscribe("somebody", print_nothing)
            key = {"flow-idempotency-key": "execution/step"}
            return await asyncio.gather(
                *(client.publish(("somebody", "nobody")[n % 2], b"", headers=key) for n in range(50)),
                return_exceptions=True,
            )

    results = run(main())
    assert [type(result) for result in results] == [bytes, Unavailable] * 25


def print_nothing(message):
    pass


def test_order_holds_with_and_without_confirmation(rabbitmq_server):
    async def main():
        async with client_of(rabbitmq_server) as client:
            inbox = Inbox()
            await client.subscribe("t", inbox)
            for n in range(100):
                await client.publish("t", b"%d" % n, confirm=n % 3 == 0)
            return [int((await inbox.next()).data) for _ in range(100)]

    assert run(main()) == list(range(100))


def test_other_amqp_programs_ask_and_answer(rabbitmq_server):
    import aio_pika

    async def main():
        async with channel_of(rabbitmq_server) as channel, client_of(rabbitmq_server) as client:
            await client.subscribe("ours", answer)
            replies, reply = await channel.declare_queue(exclusive=True), asyncio.get_running_loop().create_future()

            async def resolve(message):
                reply.set_result(message)

            await replies.consume(resolve, no_ack=True)
            exchange = await channel.get_exchange("amq.topic")
            await exchange.publish(aio_pika.Message(b"x", reply_to=replies.name, correlation_id="7"), "ours")

            async def serve(message):
                await channel.default_exchange.publish(
                    aio_pika.Message(b"theirs", correlation_id=message.correlation_id), message.reply_to
                )

            queue = await channel.declare_queue(exclusive=True)
            await queue.bind(exchange, "theirs")
            await queue.consume(serve, no_ack=True)
            answered = await client.request("theirs", b"", reply_to="theirs.1", timeout=5)
            message = await reply
            return message.body, message.correlation_id, answered

    assert run(main()) == (b"re x", "7", b"theirs")


def test_messages_are_persistent_unless_told(rabbitmq_server):
    async def main():
        async with channel_of(rabbitmq_server) as channel:
            queue = await channel.declare_queue("modes")
            for persistent in (True, False):
                async with client_of(rabbitmq_server, exchange="", persistent=persistent) as client:
                    await client.publish("modes", b"")
            modes = [int((await queue.get(no_ack=True)).delivery_mode) for _ in range(2)]
            await queue.delete()
            return modes

    assert run(main()) == [2, 1]


@pytest.mark.parametrize("options", [{"exchange": None}, {"group": ""}, {"prefetch": 0}, {"timeout": -1}])
def test_options_are_checked(options):
    with pytest.raises(InvalidOption):
        RabbitMqPubSubClient("amqp://h", **options)

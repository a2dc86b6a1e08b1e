"""The network brokers behind one interface, for tests that hold for all of them and for ``benchmarks/brokers.py``.

Lives here: how to make a client, how to have a broker keep messages, how to read what it kept. Does not live here: what
is tried (`load.py`, `test_brokers.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import ClassVar

from flow_core.pubsub.nats import NatsPubSubClient
from flow_core.pubsub.rabbitmq import RabbitMqPubSubClient
from flow_core.pubsub.redis import RedisPubSubClient


class Core:
    """NATS without JetStream: nothing is kept."""

    name = "nats"
    server = "nats_server"
    keeps = False
    #: Options with which a member of a group soon takes over what another did not finish.
    heir: ClassVar[dict[str, float]] = {}

    def __init__(self, server):
        self.process = server

    @contextlib.asynccontextmanager
    async def keeping(self, *topics):
        """Messages of ``topics`` survive a restart of the broker as long as this lasts, where a broker can do that."""
        if self.keeps:
            for topic in topics:
                await self.keep(topic)
        try:
            yield
        finally:
            if self.keeps:
                for topic in topics:
                    await self.forget(topic)

    def client(self, url=None, **options):
        return NatsPubSubClient(url or self.process.url(), **options)

    async def keep(self, topic):
        """From now on messages of ``topic`` survive a restart of the broker."""
        raise NotImplementedError

    async def kept(self, topic, count):
        """All messages that the broker kept; wait for ``count`` different ones where it does not say how many."""
        raise NotImplementedError

    async def forget(self, topic):
        """Undo `keep`."""


class JetStream(Core):
    name = "jetstream"
    keeps = True

    def client(self, url=None, **options):
        return NatsPubSubClient(url or self.process.url(), jetstream=True, **options)

    async def _with(self, work):
        import nats

        connection = await nats.connect(self.process.url(), allow_reconnect=False)  # a test that failed leaves it dead
        try:
            return await work(connection.jetstream())
        finally:
            await connection.close()

    async def keep(self, topic):
        await self._with(lambda jetstream: jetstream.add_stream(name=f"KEEP_{topic}", subjects=[topic]))

    async def kept(self, topic, count):
        async def read(jetstream):
            state = (await jetstream.stream_info(f"KEEP_{topic}")).state
            return [
                (await jetstream.get_msg(f"KEEP_{topic}", seq)).data
                for seq in range(state.first_seq, state.last_seq + 1)
            ]

        return await self._with(read)

    async def forget(self, topic):
        await self._with(lambda jetstream: jetstream.delete_stream(f"KEEP_{topic}"))


class Redis(Core):
    name = "redis"
    server = "redis_server"
    keeps = True
    heir: ClassVar[dict[str, float]] = {"claim": 0.05}

    def client(self, url=None, **options):
        return RedisPubSubClient(url or self.process.url(), **options)

    async def keep(self, topic):
        pass  # streams keep

    async def kept(self, topic, count):
        from redis.asyncio import Redis as Library

        async with Library.from_url(self.process.url()) as redis:
            return [fields[b"data"] for _, fields in await redis.xrange(topic)]


class RabbitMq(Core):
    name = "rabbitmq"
    server = "rabbitmq_server"

    def client(self, url=None, **options):
        return RabbitMqPubSubClient(url or self.process.url(), **options)

    async def keep(self, topic):
        async with self.client(group="keep") as client:  # its durable queue stays
            await client.subscribe(topic, lambda message: None)

    async def kept(self, topic, count):
        messages, enough = [], asyncio.Event()

        def take(message):
            messages.append(message.data)
            if len(set(messages)) >= count:
                enough.set()

        async with self.client(group="keep") as client:
            await client.subscribe(topic, take)
            try:
                async with asyncio.timeout(30):
                    await enough.wait()
            except TimeoutError:
                pass  # what is missing is missing
        return messages


ALL = (Core, JetStream, Redis, RabbitMq)
KEEPING = (JetStream, Redis, RabbitMq)
QUEUEING = (Redis, RabbitMq)  # their groups have what they did not finish given to others

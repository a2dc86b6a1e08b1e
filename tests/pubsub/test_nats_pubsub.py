"""The NATS client against the contract and a real server, and what is its own."""

import contextlib

import pytest

from flow_core.pubsub.nats import NatsPubSubClient
from tests.aio import run
from tests.pubsub.contract import PubSubContract, Setup

pytestmark = pytest.mark.server


class CoreSetup(Setup):
    def __init__(self, server):
        self.server = server

    def run(self, main):
        return run(main)

    async def client(self):
        return NatsPubSubClient(self.server.url())


class JetStreamSetup(CoreSetup):
    keeps = True

    def run(self, main):
        async def with_stream():
            async with stream(self.server.url(), "CONTRACT", ["t", "u"]):
                return await main

        return run(with_stream())

    async def client(self):
        return NatsPubSubClient(self.server.url(), jetstream=True)


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


@pytest.fixture(params=[CoreSetup, JetStreamSetup])
def setup(request, nats_server):
    return request.param(nats_server)


class TestContract(PubSubContract):
    """All promises of ``contract.py``."""

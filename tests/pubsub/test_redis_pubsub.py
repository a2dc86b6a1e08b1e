"""The Redis client against the contract and a real server, and what is its own."""

import pytest

from flow_core.pubsub.redis import RedisPubSubClient
from tests.aio import run
from tests.pubsub.contract import PubSubContract, Setup

pytestmark = pytest.mark.server


class StreamSetup(Setup):
    keeps = True

    def __init__(self, server):
        self.server = server

    def run(self, main):
        return run(main)

    async def client(self):
        return RedisPubSubClient(self.server.url())


@pytest.fixture(params=[StreamSetup])
def setup(request, redis_server):
    return request.param(redis_server)


class TestContract(PubSubContract):
    """All promises of ``contract.py``."""

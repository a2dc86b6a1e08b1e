"""The RabbitMQ client against the contract and a real server, and what is its own."""

import pytest

from flow_core.pubsub.rabbitmq import RabbitMqPubSubClient
from tests.aio import run
from tests.pubsub.contract import PubSubContract, Setup

pytestmark = pytest.mark.server


class TopicSetup(Setup):
    def __init__(self, server):
        self.server = server

    def run(self, main):
        return run(main)

    async def client(self):
        return RabbitMqPubSubClient(self.server.url())


@pytest.fixture(params=[TopicSetup])
def setup(request, rabbitmq_server):
    return request.param(rabbitmq_server)


class TestContract(PubSubContract):
    """All promises of ``contract.py``."""

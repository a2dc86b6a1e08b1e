"""The NATS rpc client against the contract and a real server, and what is its own."""

import pytest

from flow_core.rpc.nats import NatsRpcClient
from tests.aio import run
from tests.rpc.contract import RpcContract, Setup

pytestmark = pytest.mark.server


class NatsSetup(Setup):
    """The services are at the other end of a second connection."""

    def __init__(self, server):
        self.server = server
        self.services = None

    def run(self, main):
        async def with_services():
            async with NatsRpcClient(self.server.url()) as self.services:
                return await main

        return run(with_services())

    async def client(self):
        return NatsRpcClient(self.server.url())

    async def serve(self, client, service, endpoint, handler):
        await self.services.serve(service, endpoint, handler)

    async def withdraw(self, client, service, endpoint):
        assert await self.services.withdraw(service, endpoint)


@pytest.fixture(params=[NatsSetup])
def setup(request, nats_server):
    return request.param(nats_server)


class TestContract(RpcContract):
    """All promises of ``contract.py``."""

"""The in-memory rpc client against the contract, and what is its own."""

import pytest

from flow_core.errors import InvalidOption, RegistrationError, Unavailable
from flow_core.rpc import MemoryRpcClient
from tests.aio import run_virtual
from tests.rpc.contract import RpcContract, Setup


class MemorySetup(Setup):
    def run(self, main):
        return run_virtual(main)

    async def client(self):
        return MemoryRpcClient()

    async def serve(self, client, service, endpoint, handler):
        client.serve(service, endpoint, handler)

    async def withdraw(self, client, service, endpoint):
        client.withdraw(service, endpoint)


@pytest.fixture(params=[MemorySetup])
def setup(request):
    return request.param()


class TestContract(RpcContract):
    """All promises of ``contract.py``."""


def test_a_sync_handler_will_do():
    async def main():
        client = MemoryRpcClient()
        client.serve("a", "b", lambda data, headers: data.upper())
        return await client.call("a", "b", b"x")

    assert run_virtual(main()) == b"X"


def test_an_endpoint_has_one_handler():
    client = MemoryRpcClient()
    client.serve("a", "b", lambda data, headers: b"")
    with pytest.raises(RegistrationError, match="served already"):
        client.serve("a", "b", lambda data, headers: b"")
    assert client.withdraw("a", "b") is True
    assert client.withdraw("a", "b") is False


def test_a_handler_must_be_callable():
    with pytest.raises(InvalidOption):
        MemoryRpcClient().serve("a", "b", b"reply")


def test_a_near_miss_is_suggested():
    async def main():
        client = MemoryRpcClient()
        client.serve("inventory", "reserve", lambda data, headers: b"")
        await client.call("inventory", "reserv", b"")

    with pytest.raises(Unavailable, match=r"did you mean 'inventory\.reserve'"):
        run_virtual(main())

"""The clients of networks against the contract, and what else holds for each of them: the connection, TLS, secrets."""

import asyncio

import pytest

from flow_core.errors import NoReply, NotServed, Rejected, Unavailable
from flow_core.net.tls import Tls
from tests.aio import run
from tests.rpc.contract import Never, RpcContract, echo
from tests.rpc.network import NETWORKS, NetworkSetup, buy
from tests.servers.chaos import ChaosProxy


@pytest.fixture(params=NETWORKS)
def network(request):
    return NETWORKS[request.param]


@pytest.fixture(params=["asyncio", "uvloop"])
def setup(request, network):
    return NetworkSetup(network, request.param)


class TestContract(RpcContract):
    """All promises of ``contract.py``."""


# --- the connection ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_a_call_that_is_given_up_is_given_up_at_the_other_end(network, until, how):
    async def scenario(client, server):
        server.serve("shop", "wait", never := Never())
        task = await never.called(client, timeout=0.05 if how == "timeout" else None)
        if how == "cancel":
            task.cancel()
        with pytest.raises(asyncio.CancelledError if how == "cancel" else NoReply):
            await task
        await until(lambda: network.given_up(server))

    network.play(scenario)


def test_closing_closes_the_connection_and_ends_calls_as_unavailable(network, until):
    async def main():
        async with network.server() as server, ChaosProxy(server.port) as proxy:
            server.serve("shop", "wait", never := Never())
            client = network.client(network.url(proxy.port))
            task = await never.called(client)
            await client.close()
            with pytest.raises(Unavailable, match="closed"):
                await task
            await until(lambda: proxy.open == 0)

    run(main())


def test_a_server_that_comes_back_is_found_again(network):
    async def scenario(client, server):
        await client.call("shop", "buy", b"")
        await server.stop()
        for kind in (network.lost, Unavailable):
            with pytest.raises(kind):
                await client.call("shop", "buy", b"")
        await server.start()
        while True:  # the engine's retry
            try:
                return await client.call("shop", "buy", b"again")
            except Unavailable as error:
                await asyncio.sleep(error.retry_after or 0.01)

    assert network.play(scenario, echo) == b"again"


# --- TLS --------------------------------------------------------------------------------------------------------------


def test_tls_trusts_the_authority_given_and_no_other(network, certificates):
    secure = network.secure(certificates)
    assert network.play(buy, echo, secure=secure, tls=Tls(certificates.ca)) == b""
    assert isinstance(network.caught(echo, secure=secure), Unavailable)


def test_the_name_in_the_certificate_must_be_that_of_the_url(network, certificates):
    secure = network.secure(certificates)
    assert isinstance(network.caught(echo, secure=secure, tls=Tls(certificates.ca, server_name="other")), Unavailable)
    assert network.play(buy, echo, secure=secure, tls=Tls(certificates.ca, server_name="localhost")) == b""


def test_mutual_tls_needs_the_clients_certificate(network, certificates):
    secure = network.secure(certificates, mutual=True)
    tls = Tls(certificates.ca, certificates.client, certificates.client_key)
    assert network.play(buy, echo, secure=secure, tls=tls) == b""
    assert isinstance(network.caught(echo, secure=secure, tls=Tls(certificates.ca)), network.unproven)


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_neither_repr_nor_errors_tell_headers(network):
    async def scenario(client, server):
        said = [repr(client)]
        for endpoint, kind in (("none", NotServed), ("buy", Rejected)):
            with pytest.raises(kind) as error:
                await client.call("shop", endpoint, b"")
            said += [str(error.value), repr(error.value.__cause__)]
        return said

    said = network.play(scenario, network.refuse, headers={"authorization": "Bearer s3cret"})
    assert "s3cret" not in " ".join(said)

"""Where services are called: the contract through the routing, sharing of clients, trust, and schemes."""

import subprocess
import sys

import pytest

from flow_core import ClientCallOperation, Flow, Step
from flow_core.errors import InvalidOption, RegistrationError, TargetRefused, Unavailable
from flow_core.net.egress import Targets
from flow_core.rpc import Clients, MemoryRpcClient, RpcStatistics
from flow_core.rpc.grpc import GrpcRpcClient
from flow_core.rpc.http import HttpRpcClient
from flow_core.rpc.router import client_of
from flow_core.urls import rpc_client
from tests.aio import run, run_virtual
from tests.plugin_kit import Installer
from tests.rpc.contract import RpcContract, Setup, echo
from tests.servers.grpc_server import GrpcServer
from tests.servers.http_server import HttpServer


class ClientsSetup(Setup):
    """Two services, each with a client of its own."""

    def run(self, main):
        return run_virtual(main)

    async def client(self):
        self.memory = MemoryRpcClient()
        return Clients({"shop": self.memory, "other": MemoryRpcClient()})

    async def serve(self, client, service, endpoint, handler):
        self.memory.serve(service, endpoint, handler)

    async def withdraw(self, client, service, endpoint):
        self.memory.withdraw(service, endpoint)


@pytest.fixture
def setup():
    return ClientsSetup()


class TestContract(RpcContract):
    """All promises of ``contract.py``, through the routing."""


@pytest.fixture
def install(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    return Installer(tmp_path)


def test_each_service_is_called_where_its_url_says():
    async def main():
        async with GrpcServer() as inventory, HttpServer() as payment:
            inventory.serve("inventory", "reserve", echo)
            payment.serve("payment", "charge", echo)
            async with Flow(rpc=rpc_client({"inventory": inventory.url, "payment": payment.url})) as flow:
                steps = [
                    Step("reserve", ClientCallOperation("inventory", "reserve")),
                    Step("charge", ClientCallOperation("payment", "charge"), after="reserve"),
                ]
                await flow.create_steps("order", steps)
                result = await flow.call("order", {"tea": 1})
            return result, len(inventory.calls), len(payment.requests)

    assert run(main()) == (b'{"tea":1}', 1, 1)


def test_services_of_one_url_share_one_client_and_its_connection():
    async def main():
        async with HttpServer() as server, Clients({"a": server.url, "b": server.url}) as clients:
            clients.register("c", server.url, trusted=True)
            for service in "abc":
                server.serve(service, "x", echo)
                await clients.call(service, "x", b"")
            assert clients.statistics() == RpcStatistics(calls=3, replies=3)
            return len(server.peers)

    assert run(main()) == 1


def test_nothing_is_connected_before_the_first_call():
    async def main():
        async with HttpServer() as server, Clients({"a": server.url}):
            pass
        return server.peers

    assert run(main()) == set()


def test_services_come_and_go_while_it_runs():
    async def main():
        async with Clients({"inventory": MemoryRpcClient()}) as clients:
            with pytest.raises(Unavailable, match="did you mean 'inventory'"):
                await clients.call("inventori", "x", b"")
            memory = MemoryRpcClient()
            memory.serve("payment", "charge", echo)
            clients.register("payment", memory)
            assert await clients.call("payment", "charge", b"1") == b"1"
            with pytest.raises(RegistrationError, match="withdraw it first"):
                clients.register("payment", "http://127.0.0.1:1", trusted=True)
            assert list(clients.services()) == ["inventory", "payment"]
            assert await clients.withdraw("payment") is True
            assert await clients.withdraw("payment") is False
            with pytest.raises(Unavailable, match="nobody said where"):
                await clients.call("payment", "charge", b"")
            with pytest.raises(Unavailable, match="closed"):
                await memory.call("payment", "charge", b"")
            return clients.statistics()

    # The two calls of unknown services, and the one of the client that is closed by now.
    assert run_virtual(main()) == RpcStatistics(calls=3, replies=1, failures=2)


def test_a_client_that_another_service_uses_is_not_closed():
    async def main():
        memory = MemoryRpcClient()
        memory.serve("b", "x", echo)
        async with Clients({"a": memory, "b": memory}) as clients:
            await clients.withdraw("a")
            return await clients.call("b", "x", b"1")

    assert run_virtual(main()) == b"1"


def test_the_default_takes_what_has_no_place():
    async def main():
        memory = MemoryRpcClient()
        memory.serve("anything", "x", echo)
        clients = Clients({"a": memory}, default=memory)
        await clients.withdraw("a")
        assert await clients.call("anything", "x", b"1") == b"1"
        await clients.close()
        with pytest.raises(Unavailable, match="closed"):
            await clients.call("anything", "x", b"1")
        with pytest.raises(Unavailable, match="closed"):
            await memory.call("anything", "x", b"1")
        with pytest.raises(Unavailable, match="closed"):
            clients.register("b", memory)

    run_virtual(main())


def test_closing_closes_all_though_one_fails():
    class Stuck(MemoryRpcClient):
        async def _close(self):
            raise ConnectionError("stuck")

    async def main():
        others = [MemoryRpcClient(), MemoryRpcClient()]
        clients = Clients({"a": others[0], "stuck": Stuck(), "b": others[1]})
        with pytest.raises(ConnectionError):
            await clients.close()
        for other in others:
            with pytest.raises(Unavailable, match="closed"):
                await other.call("a", "x", b"")

    run_virtual(main())


# --- trust ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "grpc://[::1]:50051", "https://169.254.169.254"])
def test_a_place_that_others_registered_is_checked_and_your_own_is_not(url):
    async def main():
        async with Clients({"mine": url}) as clients:
            with pytest.raises(TargetRefused):
                clients.register("theirs", url)
            assert list(clients.services()) == ["mine"]

    run(main())


def test_what_others_may_name_is_a_list_of_your_own():
    async def main():
        async with HttpServer() as server, Clients(targets=Targets(networks=["127.0.0.1"])) as clients:
            server.serve("theirs", "x", echo)
            clients.register("theirs", server.url)
            assert await clients.call("theirs", "x", b"1") == b"1"
            with pytest.raises(TargetRefused):
                clients.register("others", "http://10.0.0.1")

    run(main())


def test_a_client_that_checks_no_addresses_is_refused_for_others(install):
    install(
        "flow_core.rpc",
        "acme = acme_flow_ops:Acme\n",
        "from flow_core.rpc import MemoryRpcClient\n"
        "class Acme(MemoryRpcClient):\n"
        "    def __init__(self, url):\n"
        "        super().__init__()\n",
    )
    assert type(client_of("acme://u:s3cret@shop")).__name__ == "Acme"
    with pytest.raises(InvalidOption, match="Acme can't check the addresses of acme://shop") as caught:
        client_of("acme://u:s3cret@shop", Targets())
    assert "s3cret" not in str(caught.value)


# --- schemes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "cls"),
    [
        ("grpc://shop:1", GrpcRpcClient),
        ("GRPCS://shop:1", GrpcRpcClient),
        ("http://shop", HttpRpcClient),
        ("https://shop", HttpRpcClient),
    ],
)
def test_the_scheme_chooses_the_client(url, cls):
    assert type(client_of(url)) is cls


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("grcp://shop:1", "did you mean 'grpc'"),
        ("gopher://shop:1", r"known are grpc, .*entry point in the group flow_core\.rpc"),
        ("shop:50051", "no rpc client for the scheme 'shop'"),
        ("shop", "is given by no URL"),
        ("", "is given by no URL"),
        (7, "must be a client, a URL or a mapping"),
        (["http://shop"], "must be a client, a URL or a mapping"),
        ({"a": 7}, "a target is a URL or an RpcClient, not int"),
        ({"": "http://shop"}, "named by a str that is not empty"),
        ({"a": "http://ann:s3cret@shop"}, "holds credentials"),
    ],
)
def test_what_leads_to_no_client_is_refused(spec, match):
    with pytest.raises(InvalidOption, match=match) as caught:
        rpc_client(spec)
    assert "s3cret" not in str(caught.value)


def test_what_is_a_client_already_stays_it():
    client = MemoryRpcClient()
    assert rpc_client(client) is client
    assert rpc_client(None) is None


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ("Acme = 7", "no subclass of RpcClient"),
        ("from flow_core.rpc import RpcClient as Acme", "RpcClient lacks _call"),
        ("", "AttributeError"),
        ("import no_such_module", "ModuleNotFoundError"),
    ],
)
def test_a_plugin_that_brings_no_client_is_named(install, source, match):
    install("flow_core.rpc", "acme = acme_flow_ops:Acme\n", source)
    with pytest.raises(InvalidOption, match=rf"'acme_flow_ops:Acme' of acme.*{match}"):
        client_of("acme://shop")


def test_two_plugins_of_one_scheme_are_refused(install):
    install("flow_core.rpc", "acme = acme_flow_ops:Acme\n")
    install("flow_core.rpc", "acme = zeta_flow_ops:Acme\n", name="zeta")
    with pytest.raises(InvalidOption, match=r"acme.*zeta|zeta.*acme"):
        client_of("acme://shop")


def test_a_plugin_takes_no_scheme_that_is_built_in(install):
    install("flow_core.rpc", "http = acme_flow_ops:Acme\n")
    assert type(client_of("http://shop")) is HttpRpcClient


@pytest.mark.parametrize(
    ("library", "url", "extra"),
    [("grpc", "grpc://shop:1", "grpc"), ("aiohttp", "http://shop", "http"), ("yarl", "https://shop", "http")],
)
def test_a_missing_library_is_told_with_its_extra(library, url, extra):
    script = f"""
import sys
sys.modules[{library!r}] = None
from flow_core.urls import rpc_client
try:
    rpc_client({{"a": {url!r}}})
except ImportError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert f"pip install 'flow-core[{extra}]'" in ran.stdout

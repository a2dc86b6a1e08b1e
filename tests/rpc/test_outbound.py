"""Targets that others registered: each address of a name is checked, and it is the checked one that is connected to."""

import asyncio
import socket

import grpc
import pytest

from flow_core.errors import AdapterError, InvalidOption, TargetRefused, Unavailable
from flow_core.net.egress import Target, Targets
from flow_core.net.resolve import resolve
from flow_core.net.tls import Tls
from flow_core.rpc.grpc import GrpcRpcClient
from tests.aio import run
from tests.rpc.contract import echo
from tests.rpc.network import NETWORKS
from tests.servers.grpc_server import GrpcServer

LOOPBACK = Targets(hosts=["shop.test"], networks=["127.0.0.1"])


class Names:
    """Stands in for the system's look-up; ``answers`` is what the names are now, ``asked`` how often it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host, port, *, type=0, family=0, proto=0, flags=0):
        self.asked += 1
        if not self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        await asyncio.sleep(0)
        return [
            (socket.AF_INET6 if ":" in answer else socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, port))
            for answer in self.answers
        ]

    def install(self):
        asyncio.get_running_loop().getaddrinfo = self


def play(kind, scenario, names, targets=LOOPBACK):
    """``scenario(client, server)`` with a client of ``shop.test``, which is at the server's port."""

    async def main():
        network = NETWORKS[kind]
        async with network.server() as server:
            names.install()
            server.serve("shop", "buy", echo)
            async with network.client(f"{kind}://shop.test:{server.port}", targets=targets) as client:
                return await scenario(client, server)

    return run(main())


async def buy(client, server):
    return await client.call("shop", "buy", b"x", timeout=30)


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_checked_address_is_connected_to_after_one_look_up(kind):
    names = Names("127.0.0.1")
    assert play(kind, buy, names) == b"x"
    assert names.asked == 1  # no second one whose answer nobody checked


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("second", ["10.0.0.1", "::1", "169.254.169.254", "127.0.0.2", "::ffff:10.0.0.1"])
def test_one_refused_address_among_several_refuses_the_target(kind, second):
    async def scenario(client, server):
        for order in (["127.0.0.1", second], [second, "127.0.0.1"]):
            names.answers = order
            with pytest.raises(TargetRefused, match=r"the target \w+://shop.test:\d+ is refused"):
                await buy(client, server)
        return getattr(server, "peers", set()), getattr(server, "calls", [])

    names = Names()
    assert play(kind, scenario, names) == (set(), [])


@pytest.mark.parametrize("kind", NETWORKS)
def test_an_unknown_name_is_unavailable_and_may_become_known(kind):
    async def scenario(client, server):
        with pytest.raises(Unavailable, match="can't be looked up"):
            await buy(client, server)
        names.answers = ["127.0.0.1"]
        return await buy(client, server)

    names = Names()
    assert play(kind, scenario, names) == b"x"


def test_http_checks_each_new_connection_again():
    async def scenario(client, server):
        await buy(client, server)
        names.answers = ["10.0.0.1"]
        assert await buy(client, server) == b"x"  # over the connection that was checked
        await server.stop()
        with pytest.raises(AdapterError):
            await buy(client, server)
        await server.start()
        with pytest.raises(TargetRefused, match=r"10\.0\.0\.1 is private"):
            await buy(client, server)

    names = Names("127.0.0.1")
    play("http", scenario, names)


def test_grpc_looks_up_again_when_the_target_is_gone(monkeypatch):
    monkeypatch.setattr("flow_core.rpc.grpc.LOOK_UP_AGAIN", 0.0)

    async def scenario(client, server):
        await buy(client, server)
        await server.stop()
        with pytest.raises(Unavailable):
            await buy(client, server)
        names.answers = ["10.0.0.1"]
        with pytest.raises(TargetRefused, match=r"10\.0\.0\.1 is private"):
            await buy(client, server)
        await server.start()
        names.answers = ["127.0.0.1"]
        while True:
            try:
                return await buy(client, server)
            except Unavailable:
                await asyncio.sleep(0.01)

    names = Names("127.0.0.1")
    assert play("grpc", scenario, names) == b"x"


def test_grpc_does_not_look_up_with_each_call_of_a_dead_target():
    async def scenario(client, server):
        await server.stop()
        for _ in range(50):
            with pytest.raises(Unavailable):
                await buy(client, server)

    names = Names("127.0.0.1")
    play("grpc", scenario, names)
    assert names.asked == 1


def test_http_asks_the_checked_address_for_the_host_of_the_url():
    async def scenario(client, server):
        await buy(client, server)
        return server.requests[0].host == f"shop.test:{server.port}"

    assert play("http", scenario, Names("127.0.0.1"))


def test_grpc_checks_the_certificate_for_the_host_of_the_url(certificates):
    async def main():
        pair = certificates.server_key.read_bytes(), certificates.server.read_bytes()
        async with GrpcServer(grpc.ssl_server_credentials([pair])) as server:
            Names("127.0.0.1").install()
            server.serve("shop", "buy", echo)
            targets = Targets(networks=["127.0.0.1"])
            # The certificate is for localhost and 127.0.0.1, which is connected to; shop.test is not in it.
            for host, fits in (("localhost", True), ("shop.test", False)):
                url = f"grpcs://{host}:{server.port}"
                async with GrpcRpcClient(url, tls=Tls(certificates.ca), targets=targets) as client:
                    if fits:
                        assert await buy(client, server) == b"x"
                    else:
                        with pytest.raises(Unavailable):
                            await buy(client, server)

    run(main())


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "0x7f000001", "2130706433", "017700000001", "127.0.0.1.", "[::1]", "[::ffff:127.0.0.1]",
     "[::ffff:7f00:1]", "169.254.169.254", "[fd00:ec2::254]", "10.0.0.1", "0", "\uff11\uff12\uff17.0.0.1"],
)  # fmt: skip
def test_an_address_in_the_url_is_refused_at_once_however_it_is_spelled(kind, host):
    client_class = NETWORKS[kind].client
    with pytest.raises(TargetRefused):
        client_class(f"{kind}://{host}:80", targets=Targets())
    assert client_class(f"{kind}://{host}:80").target.port == 80  # in your own code: trusted


@pytest.mark.parametrize("kind", NETWORKS)
def test_hosts_and_ports_off_the_list_are_refused_at_once(kind):
    client_class = NETWORKS[kind].client
    with pytest.raises(TargetRefused, match="its host"):
        client_class(f"{kind}://other.test:80", targets=Targets(hosts=["shop.test"]))
    with pytest.raises(TargetRefused, match="port 22"):
        client_class(f"{kind}://shop.test:22", targets=Targets(ports=[80]))


def test_the_probe_of_a_dead_target_is_checked_too():
    async def scenario(client, server):
        await server.stop()
        with pytest.raises(Unavailable):
            await buy(client, server)
        names.answers = ["10.0.0.1"]
        with pytest.raises(TargetRefused):
            await client._probe()

    names = Names("127.0.0.1")
    play("http", scenario, names)


def test_a_name_without_an_address_is_unavailable():
    async def nothing(*_, **__):
        return []

    async def main():
        asyncio.get_running_loop().getaddrinfo = nothing
        with pytest.raises(Unavailable, match="no address"):
            await resolve(Target("http", "shop.test", 80), Targets())

    run(main())


def test_a_redirect_to_a_forbidden_place_is_not_followed():
    from aiohttp import web

    async def moved(data, headers):
        return web.Response(status=307, headers={"location": "http://169.254.169.254/latest/meta-data/"})

    async def scenario(client, server):
        server.serve("shop", "moved", moved)
        with pytest.raises(AdapterError, match="not followed"):
            await client.call("shop", "moved", b"")
        return names.asked

    names = Names("127.0.0.1")
    assert play("http", scenario, names) == 1


def test_targets_is_no_other_thing():
    with pytest.raises(InvalidOption):
        Targets(hosts="*.test")

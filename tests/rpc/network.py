"""`Network`: a protocol with its server and its client, so that one test holds for all of them.

Lives here: a scenario against a real server on loopback, in real time, and where protocols differ in what each of them
promises. Does not live here: what is tried (``test_network_rpc.py``), the servers (``tests/servers``).
"""

import ssl

import grpc
import pytest
from aiohttp import web

import flow_core
from flow_core import ClientCallOperation, Flow, Retry, Step
from flow_core.errors import AdapterError, Rejected, StepFailed, Unavailable
from flow_core.rpc.grpc import GrpcRpcClient
from flow_core.rpc.http import HttpRpcClient
from tests.aio import run
from tests.rpc.contract import Setup
from tests.servers.grpc_server import GrpcServer, Status
from tests.servers.http_server import HttpServer


async def buy(client, server):
    return await client.call("shop", "buy", b"")


class Network:
    """``server`` is a class with ``start``, ``stop``, ``serve``, ``withdraw`` and ``url``; ``client`` takes the URL."""

    name = ""
    server = None
    client = None
    #: What a call becomes whose connection turns out to be lost, and one whose client owes the server a certificate.
    lost = unproven = Unavailable

    def url(self, port):
        return f"{self.name}://127.0.0.1:{port}"

    def secure(self, certificates, *, mutual=False):
        """What makes a server one with TLS; ``mutual``: that wants a certificate of its clients."""
        raise NotImplementedError

    def given_up(self, server):
        """Whether the only call is over at the other end, too."""
        return server.cancelled == 1

    async def refuse(self, data, headers):
        """A handler that does not know who calls."""
        raise NotImplementedError

    def play(self, scenario, handler=None, *, secure=None, base="", **options):
        """Run ``scenario(client, server)`` with a server whose ``shop/buy`` is ``handler``.

        ``secure`` goes to the server, ``base`` to the end of its URL, other options to the client.
        """

        async def main():
            async with self.server(secure) as server:
                if handler is not None:
                    server.serve("shop", "buy", handler)
                async with self.client(server.url + base, **options) as client:
                    return await scenario(client, server)

        return run(main())

    def caught(self, handler, kind=AdapterError, **options):
        """The error of a call that ``handler`` gets."""
        with pytest.raises(kind) as error:
            self.play(buy, handler, **options)
        return error.value

    def tries(self, handler):
        """The numbers of the attempts that the engine makes where it may make two and ``handler`` gives no reply."""
        seen = []

        async def counting(data, headers):
            seen.append(headers["flow-attempt"])
            return await handler(data, headers)

        async def scenario(client, server):
            async with Flow(rpc=client) as flow:
                step = Step("buy", ClientCallOperation("shop", "buy"), retry=Retry(1, initial=0.001))
                await flow.create_step("order", step)
                with pytest.raises(StepFailed):
                    await flow.execute("order")

        self.play(scenario, counting)
        return seen


class Grpc(Network):
    name = "grpc"
    server = GrpcServer
    client = GrpcRpcClient

    def secure(self, certificates, *, mutual=False):
        pair = certificates.server_key.read_bytes(), certificates.server.read_bytes()
        ca = certificates.ca.read_bytes() if mutual else None
        return grpc.ssl_server_credentials([pair], root_certificates=ca, require_client_auth=mutual)

    async def refuse(self, data, headers):
        raise Status(grpc.StatusCode.UNAUTHENTICATED, "why")


class Http(Network):
    name = "http"
    server = HttpServer
    client = HttpRpcClient
    lost = unproven = AdapterError

    def secure(self, certificates, *, mutual=False):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.server, certificates.server_key)
        if mutual:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(certificates.ca)
        return context

    def given_up(self, server):
        return super().given_up(server) and server.connections == 0

    async def refuse(self, data, headers):
        return web.Response(status=401, body=b"why")


GRPC, HTTP = Grpc(), Http()
NETWORKS = {network.name: network for network in (GRPC, HTTP)}


class NetworkSetup(Setup):
    """How the contract is run: client and server live within one loop."""

    permanent = Rejected

    def __init__(self, network, loop):
        self.network = network
        self.server = None
        self.start = {"asyncio": run, "uvloop": flow_core.run}[loop]

    def run(self, main):
        async def whole():
            try:
                return await main
            finally:
                if self.server is not None:
                    await self.server.stop()

        return self.start(whole())

    async def client(self):
        self.server = await self.network.server().start()
        return self.network.client(self.server.url)

    async def serve(self, client, service, endpoint, handler):
        self.server.serve(service, endpoint, handler)

    async def withdraw(self, client, service, endpoint):
        self.server.withdraw(service, endpoint)

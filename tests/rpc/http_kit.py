"""What the tests of the HTTP client share: a server and a client for one scenario, and handlers with a status."""

import pytest
from aiohttp import web

from flow_core.errors import AdapterError
from flow_core.rpc.http import HttpRpcClient
from tests.aio import run
from tests.servers.http_server import HttpServer


def play(scenario, handler=None, *, context=None, base="", **options):
    """Run ``scenario(client, server)`` with a server whose ``shop/buy`` is ``handler``."""

    async def main():
        async with HttpServer(context) as server:
            if handler is not None:
                server.serve("shop", "buy", handler)
            async with HttpRpcClient(server.url + base, **options) as client:
                return await scenario(client, server)

    return run(main())


def answering(status, body=b"why", **headers):
    async def handler(data, given):
        return web.Response(status=status, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return handler


async def buy(client, server):
    return await client.call("shop", "buy", b"")


def caught(handler, kind=AdapterError, **options):
    with pytest.raises(kind) as error:
        play(buy, handler, **options)
    return error.value

"""`HttpServer`: a real HTTP server on loopback whose paths are handlers of the rpc contract.

Lives here: the server of tests. Handlers get (data, headers) and return bytes, or an `aiohttp.web.StreamResponse`.
"""

from __future__ import annotations

from types import MappingProxyType

from aiohttp import web

from flow_core.errors import Permanent
from flow_core.model.ids import MAX_PAYLOAD


class HttpServer:
    """``async with HttpServer() as server``; ``server.url`` is where it listens.

    Attributes:
        requests: each `aiohttp.web.Request` that a handler was there for.
        cancelled: how many handlers were cancelled, as their connection went away.
        peers: the (address, port) of everybody who connected.
    """

    def __init__(self, tls=None):
        self.handlers = {}
        self.requests = []
        self.cancelled = 0
        self.peers = set()
        self.tls = tls
        self.port = 0

    @property
    def url(self):
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    async def start(self):
        app = web.Application(client_max_size=4 * MAX_PAYLOAD)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self.tls).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def stop(self):
        await self._runner.cleanup()

    async def __aenter__(self):
        return await self.start()

    async def __aexit__(self, *_):
        await self.stop()

    @property
    def connections(self):
        """How many connections are open."""
        return len(self._runner.server.connections)

    def serve(self, service, endpoint, handler):
        self.handlers[f"/{service}/{endpoint}"] = handler

    def withdraw(self, service, endpoint):
        del self.handlers[f"/{service}/{endpoint}"]

    async def _answer(self, request):
        self.peers.add(request.transport.get_extra_info("peername"))
        handler = self.handlers.get(request.path)
        if handler is None:
            return web.Response(status=404, text=f"nothing at {request.path}")
        self.requests.append(request)
        try:
            body = await handler(await request.read(), MappingProxyType(dict(request.headers)))
        except Permanent as error:
            return web.Response(status=422, text=str(error))
        except Exception as error:
            return web.Response(status=500, text=repr(error))
        except BaseException:
            self.cancelled += 1
            raise
        return body if isinstance(body, web.StreamResponse) else web.Response(body=body)

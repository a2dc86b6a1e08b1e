"""`GrpcServer`: a real gRPC server on loopback whose methods are handlers of the rpc contract.

Lives here: the server of tests. Handlers get (data, headers) and return bytes; what they raise becomes a status.
"""

from __future__ import annotations

from types import MappingProxyType

import grpc
import grpc.aio

from flow_core.errors import Permanent
from flow_core.model.ids import MAX_PAYLOAD

ROOM = 4 * MAX_PAYLOAD


class Status(Exception):
    """Raise it in a handler to end the call with a status of your choice."""

    def __init__(self, code, details="", trailers=()):
        super().__init__(code, details)
        self.code, self.details, self.trailers = code, details, tuple(trailers)


class GrpcServer(grpc.GenericRpcHandler):
    """``async with GrpcServer() as server``; ``server.url`` is where it listens.

    Attributes:
        calls: (path, headers, seconds left) of each call.
        cancelled: how many handlers were cancelled by their caller.
    """

    def __init__(self, credentials=None):
        self.handlers = {}
        self.calls = []
        self.cancelled = 0
        self.credentials = credentials
        self.port = 0

    @property
    def url(self):
        return f"grpc{'s' if self.credentials else ''}://127.0.0.1:{self.port}"

    async def start(self):
        options = [("grpc.max_receive_message_length", ROOM), ("grpc.max_send_message_length", ROOM)]
        options += [("grpc.so_reuseport", 0)]
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers((self,))
        where = f"127.0.0.1:{self.port}"
        if self.credentials is None:
            self.port = self._server.add_insecure_port(where)
        else:
            self.port = self._server.add_secure_port(where, self.credentials)
        await self._server.start()
        return self

    async def stop(self):
        await self._server.stop(None)

    async def __aenter__(self):
        return await self.start()

    async def __aexit__(self, *_):
        await self.stop()

    def serve(self, service, endpoint, handler):
        self.handlers[f"/{service}/{endpoint}"] = handler

    def withdraw(self, service, endpoint):
        del self.handlers[f"/{service}/{endpoint}"]

    def service(self, details):
        handler = self.handlers.get(details.method)
        if handler is None:
            return None

        async def answer(data, context):
            headers = MappingProxyType(dict(context.invocation_metadata()))
            self.calls.append((details.method, headers, context.time_remaining()))
            try:
                return await handler(data, headers)
            except Status as error:
                await context.abort(error.code, error.details, error.trailers)
            except Permanent as error:
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
            except Exception as error:
                await context.abort(grpc.StatusCode.UNKNOWN, repr(error))
            except BaseException:
                self.cancelled += 1
                raise

        return grpc.unary_unary_rpc_method_handler(answer)

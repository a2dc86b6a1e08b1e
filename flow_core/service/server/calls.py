"""From bytes to handlers: how one call of the service runs, whatever its method.

A stranger's bytes are parsed here and not by gRPC, which would answer INTERNAL to bytes that are no message.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError as ProtobufError

from flow_core.errors import DecodeError, FlowError, InternalError, Unavailable
from flow_core.proto.errors import details_of, status_of, trailers_of
from flow_core.proto.methods import Method
from flow_core.proto.wire import first_fault
from flow_core.service.server.context import ServerContext

__all__ = ["handler_of"]

#: Seconds that the last message of a stream may take once the stream has failed.
SETTLE: Final = 5.0

log = logging.getLogger(__name__)
Context = Any


def handler_of(server: ServerContext, method: Method, handle: Callable[..., Any]) -> Any:
    """gRPC's handler for a method that ``handle`` carries out."""
    if method.stream_in:
        return grpc.stream_stream_rpc_method_handler(_both_ways(server, method, handle), response_serializer=_bytes)
    if method.stream_out:
        return grpc.unary_stream_rpc_method_handler(_outwards(server, method, handle), response_serializer=_bytes)
    return grpc.unary_unary_rpc_method_handler(_unary(server, method, handle))


def _bytes(reply: Any) -> bytes:
    data: bytes = reply.SerializeToString()
    return data


def _unary(
    server: ServerContext, method: Method, handle: Callable[..., Awaitable[Any]]
) -> Callable[..., Awaitable[Any]]:
    name, parse, allow, throttle = method.name, method.request.FromString, server.guard.allow, server.throttle
    changes = method.changes

    async def call(data: bytes, context: Context) -> bytes | None:
        try:
            if changes:  # before the guard: between its look at the quotas and the change nothing may come
                await throttle.turn()
            try:
                request = parse(data)
            except (ProtobufError, ValueError) as error:
                raise _malformed(method, data, error) from None
            principal = await allow(context, name, request)
            if server.draining:
                _refuse_new(method)
            reply = await handle(principal, request)
            return reply if type(reply) is bytes else reply.SerializeToString()
        except Exception as error:
            await _fail(method, context, error)
            return None

    return call


def _outwards(
    server: ServerContext, method: Method, handle: Callable[..., AsyncIterator[Any]]
) -> Callable[..., Awaitable[None]]:
    async def call(data: bytes, context: Context) -> None:
        try:
            request = _parsed(method, data)
            principal = await server.guard.allow(context, method.name, request)
            async for reply in handle(principal, request):
                await _write(context, reply)
        except Exception as error:
            await _fail(method, context, error)

    return call


def _both_ways(
    server: ServerContext, method: Method, handle: Callable[..., Awaitable[None]]
) -> Callable[..., Awaitable[None]]:
    async def call(_: Any, context: Context) -> None:
        async def read() -> Any:
            data = await context.read()
            return None if data is grpc.aio.EOF else _parsed(method, data)

        out = _Out(context)
        try:
            principal = await server.guard.allow(context, method.name, None)
            if server.draining:
                _refuse_new(method)
            await handle(server, principal, read, out.write)
            await out.settle()
        except Exception as error:
            await out.settle()
            await _fail(method, context, error)

    return call


class _GoneError(Exception):
    """The client has hung up: nobody is left to be told of an error."""


async def _write(context: Context, reply: Any) -> None:
    try:
        await context.write(reply)
    except Exception as error:  # of grpc's core, of a class that has no public name
        raise _GoneError from error


class _Out:
    """The way out of a stream on which tasks write. A write that was begun ends, whatever becomes of its task.

    gRPC takes no status while a message is on its way.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._last: asyncio.Task[None] | None = None

    async def write(self, reply: Any) -> None:
        """Write a message; one at a time."""
        self._last = asyncio.get_running_loop().create_task(_write(self._context, reply))
        self._last.add_done_callback(_heard)
        await asyncio.shield(self._last)

    async def settle(self) -> None:
        """Wait for the last write, for as long as a client may reasonably take to read."""
        if self._last is not None and not self._last.done():
            await asyncio.wait((self._last,), timeout=SETTLE)


def _heard(task: asyncio.Task[None]) -> None:
    """Whoever waited for it may be gone: its error is not news then."""
    if not task.cancelled():
        task.exception()


def _parsed(method: Method, data: bytes) -> Any:
    try:
        return method.request.FromString(data)
    except (ProtobufError, ValueError) as error:
        raise _malformed(method, data, error) from None


def _malformed(method: Method, data: bytes, error: Exception) -> DecodeError:
    descriptor = method.request.DESCRIPTOR
    return DecodeError(first_fault(data, descriptor) or f"{descriptor.name}: {error}", fix="see flow.proto")


def _refuse_new(method: Method) -> None:
    if method.starts:
        raise Unavailable("the server is shutting down and takes no new work", fix="retry against another server")


async def _fail(method: Method, context: Context, error: Exception) -> None:
    """End the call with the status of an error."""
    if isinstance(error, _GoneError):
        return
    if not isinstance(error, FlowError):
        log.error("%s failed", method.name, exc_info=error)
        error = InternalError(
            f"{method.name} failed inside of the server", fix="its log has the reason; please report it"
        )
    await context.abort(getattr(grpc.StatusCode, status_of(error)), details_of(error), trailers_of(error))

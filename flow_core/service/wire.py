"""From bytes to handlers: how one call of the service runs, whatever its method.

Lives here: parsing, asking the guard, refusing while draining, turning errors into statuses. Does not live here: the
handlers, and the server that they belong to (``server.py``).

A stranger's bytes are parsed here and not by gRPC, which would answer INTERNAL to bytes that are no message.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError as ProtobufError

from flow_core.errors import DecodeError, FlowError, InternalError, Unavailable
from flow_core.proto.wire import first_fault
from flow_core.service.errors import details_of, status_of, trailers_of
from flow_core.service.hub import Hub
from flow_core.service.methods import Method

__all__ = ["handler_of"]

log = logging.getLogger(__name__)
Context = Any


def handler_of(hub: Hub, method: Method, handle: Callable[..., Any]) -> Any:
    """gRPC's handler for a method that ``handle`` carries out."""
    if method.stream_in:
        return grpc.stream_stream_rpc_method_handler(_both_ways(hub, method, handle), response_serializer=_bytes)
    if method.stream_out:
        return grpc.unary_stream_rpc_method_handler(_outwards(hub, method, handle), response_serializer=_bytes)
    return grpc.unary_unary_rpc_method_handler(_unary(hub, method, handle), response_serializer=_bytes)


def _bytes(reply: Any) -> bytes:
    return reply if type(reply) is bytes else reply.SerializeToString()


def _unary(hub: Hub, method: Method, handle: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    name, parse, allow = method.name, method.request.FromString, hub.guard.allow

    async def call(data: bytes, context: Context) -> Any:
        try:
            try:
                request = parse(data)
            except (ProtobufError, ValueError) as error:
                raise _malformed(method, data, error) from None
            principal = await allow(context, name, request)
            if hub.draining:
                _refuse_new(method)
            return await handle(principal, request)
        except Exception as error:
            return await _fail(method, context, error)

    return call


def _outwards(hub: Hub, method: Method, handle: Callable[..., AsyncIterator[Any]]) -> Callable[..., Awaitable[None]]:
    async def call(data: bytes, context: Context) -> None:
        try:
            request = _parsed(method, data)
            principal = await hub.guard.allow(context, method.name, request)
            async for reply in handle(principal, request):
                await context.write(reply)
        except Exception as error:
            await _fail(method, context, error)

    return call


def _both_ways(hub: Hub, method: Method, handle: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def call(_: Any, context: Context) -> None:
        async def read() -> Any:
            data = await context.read()
            return None if data is grpc.aio.EOF else _parsed(method, data)

        try:
            principal = await hub.guard.allow(context, method.name, None)
            _refuse_new(method) if hub.draining else None
            await handle(hub, principal, read, context.write)
        except Exception as error:
            await _fail(method, context, error)

    return call


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
        raise Unavailable("the server is shutting down and takes no new work", fix="try again, at another one")


async def _fail(method: Method, context: Context, error: Exception) -> None:
    """End the call with the status of an error."""
    if isinstance(error, grpc.RpcError | grpc.aio.AbortError | grpc.aio.UsageError):
        raise error  # the other end has gone
    if not isinstance(error, FlowError):
        log.error("%s failed", method.name, exc_info=error)
        error = InternalError(
            f"{method.name} failed inside of the server", fix="its log has the reason; please report it"
        )
    await context.abort(getattr(grpc.StatusCode, status_of(error)), details_of(error), trailers_of(error))

"""The method `Serve`: a service offers endpoints, and is called over the stream that it opened."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from flow_core.errors import InvalidOption, PermissionDenied, Unauthenticated
from flow_core.model.ids import check_address, check_id
from flow_core.proto import flow_pb2 as pb
from flow_core.service.security.guard import Principal
from flow_core.service.server.context import ServerContext
from flow_core.service.workers.stream import CONCURRENCY, MOST_CONCURRENCY, WorkerStream

__all__ = ["serve"]

#: Endpoints that one stream may offer.
MOST_ENDPOINTS = 1_000


async def serve(
    server: ServerContext, principal: Principal, read: Callable[[], Awaitable[pb.ServeRequest | None]],
    write: Callable[[Any], Awaitable[None]],
) -> None:  # fmt: skip
    """Talk to one service until its stream ends.

    Raises:
        InvalidId, InvalidOption, InvalidStep: the hello is wrong, or is not the first message.
        PermissionDenied, Unauthenticated.
    """
    stream = _greeted(server, principal, await read())
    stream.send(pb.ServeReply(welcome=True))
    writer = asyncio.create_task(_write(stream, write))
    try:
        server.router.opened(stream)
        try:
            while (request := await read()) is not None:
                if not server.guard.valid(principal):
                    raise Unauthenticated("this key is not valid any more", fix="connect again, with another one")
                _take_in(server, stream, request)
        finally:
            server.router.closed(stream)
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)


def _greeted(server: ServerContext, principal: Principal, first: pb.ServeRequest | None) -> WorkerStream:
    if first is None or first.WhichOneof("what") != "hello":
        raise InvalidOption("the first message of Serve has to be a hello", fix="send ServeRequest{hello} first")
    hello = first.hello
    service = check_id(hello.service, "service")
    if not server.guard.may_serve(principal, service):
        raise PermissionDenied(
            f"{principal.name!r} may not serve as {service!r}",
            fix="a service serves under the name of its own key; an admin under any",
        )
    if len(hello.endpoints) > MOST_ENDPOINTS:
        raise InvalidOption(f"{len(hello.endpoints)} endpoints, MOST_ENDPOINTS is {MOST_ENDPOINTS}")
    endpoints = frozenset(check_address(endpoint, "endpoint") for endpoint in hello.endpoints)
    concurrency = hello.concurrency or CONCURRENCY
    if not 0 < concurrency <= MOST_CONCURRENCY:
        raise InvalidOption(f"concurrency must be 1 to {MOST_CONCURRENCY}, not {concurrency}")
    return WorkerStream(service, endpoints, concurrency, lambda: server.guard.valid(principal))


def _take_in(server: ServerContext, stream: WorkerStream, request: pb.ServeRequest) -> None:
    what = request.WhichOneof("what")
    if what == "answer":
        stream.answered(request.answer)
    elif what == "draining":
        stream.send(pb.ServeReply(instances=server.router.drain(stream)))
    elif what == "hello":
        raise InvalidOption("a second hello", fix="open another stream")


async def _write(stream: WorkerStream, write: Callable[[Any], Awaitable[None]]) -> None:
    """Write what is to be written, in order. Ends when it is cancelled, or can't write any more."""
    while True:
        while stream.outbox:
            await write(stream.outbox.popleft())
        stream.wake.clear()
        await stream.wake.wait()

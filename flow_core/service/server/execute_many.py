"""The method `ExecuteMany`: executions in batches over one stream, answered in batches, in any order.

Most executions of short flows are over when they have started. They cost no task, no future and no turn of the loop
here: the stream is read, the core is called, and the reply is written into the batch that goes out next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from flow_core.errors import FlowError, LimitExceeded
from flow_core.proto import flow_pb2 as pb
from flow_core.proto.errors import info_of
from flow_core.service.security.guard import Principal
from flow_core.service.server.context import ServerContext
from flow_core.service.server.executions import fill_reply, options_of, value_of

__all__ = ["execute_many"]

#: Executions of one stream that are under way, or answered and not yet sent, before no more is read.
WINDOW: Final = 10_000
#: Requests in one message.
MOST_REQUESTS: Final = 10_000
#: Replies in one message, and bytes after which it goes out.
REPLIES, BYTES = 512, 1 << 20
#: So many requests are taken before other tasks of the loop get their turn.
TURN: Final = 64


class _Stream:
    """One stream: what is under way on it, and what is to be sent."""

    def __init__(self, server: ServerContext, principal: Principal, write: Callable[[Any], Awaitable[None]]) -> None:
        self._server = server
        self._principal = principal
        self._write = write
        self._durable = server.flow.options.store not in (None, "memory:")
        self._full: list[pb.ExecuteBatchReply] = []
        self._open = pb.ExecuteBatchReply()
        self._count = self._bytes = 0
        #: Executions that were started and are not over; replies that are not sent.
        self._under_way = self._waiting = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self.ended = False

    # --- in -----------------------------------------------------------------------------------------------------------

    async def take(self, batch: pb.ExecuteBatch) -> None:
        """Start the executions of a batch."""
        if len(batch.requests) > MOST_REQUESTS:
            raise LimitExceeded(f"{len(batch.requests)} requests in a message, MOST_REQUESTS is {MOST_REQUESTS}")
        self._server.guard.charge(self._principal, len(batch.requests))
        for index, tagged in enumerate(batch.requests, 1):
            request = tagged.request
            if self._durable or request.unresolved_wait:
                # What waits for the store, or for a step, must not keep the others from it.
                self._under_way += 1
                task = asyncio.get_running_loop().create_task(self._start_later(tagged.tag, request))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            else:
                await self._start(tagged.tag, request)
            if not index % TURN:
                self._news.set()
                await asyncio.sleep(0)
            while self._under_way + self._waiting >= WINDOW:
                self._news.set()
                self._room.clear()
                await self._room.wait()
        self._news.set()

    async def _start(self, tag: int, request: pb.ExecuteRequest) -> None:
        try:
            execution = await self._server.flow.execute(
                request.flow, value_of(request), async_=True, **options_of(request)
            )
        except FlowError as error:
            self._reply(tag).error.CopyFrom(info_of(error))
            return
        if not execution.over:
            self._server.guard.started(self._principal, execution)
            if request.wait:
                self._under_way += 1
                execution.when_over(lambda over: self._over(tag, over))
                return
        self._bytes += len(fill_reply(self._reply(tag), execution).data)

    async def _start_later(self, tag: int, request: pb.ExecuteRequest) -> None:
        try:
            await self._start(tag, request)
        finally:
            self._under_way -= 1
            self._news.set()
            self._room.set()

    def _over(self, tag: int, execution: Any) -> None:
        self._under_way -= 1
        if not self._closed:
            self._bytes += len(fill_reply(self._reply(tag), execution).data)
            self._news.set()
            self._room.set()

    # --- out ----------------------------------------------------------------------------------------------------------

    def _reply(self, tag: int) -> pb.ExecuteReply:
        """Where the reply for a tag is to be written."""
        if self._count >= REPLIES or self._bytes >= BYTES:
            self._cut()
        self._count += 1
        self._waiting += 1
        return self._open.replies.add(tag=tag).reply

    def _cut(self) -> None:
        self._full.append(self._open)
        self._open = pb.ExecuteBatchReply()
        self._count = self._bytes = 0

    async def send(self) -> None:
        """Send replies until the input has ended and nothing is under way."""
        while True:
            await self._news.wait()
            self._news.clear()
            if self._count:
                self._cut()
            full, self._full = self._full, []
            for batch in full:
                await self._write(batch)
                self._waiting -= len(batch.replies)
                self._room.set()
            if self.ended and not (self._under_way or self._waiting):
                return

    def end(self) -> None:
        """Nothing more comes."""
        self.ended = True
        self._news.set()

    def close(self) -> None:
        """Nobody reads any more: what is under way goes on, unanswered."""
        self._closed = True


async def execute_many(
    server: ServerContext, principal: Principal, read: Callable[[], Awaitable[pb.ExecuteBatch | None]],
    write: Callable[[Any], Awaitable[None]],
) -> None:  # fmt: skip
    """Serve one stream. What can't start is answered with its error, the stream goes on.

    Raises:
        LimitExceeded: a message has too many requests. Unauthenticated, QuotaExceeded: see `Guard.charge`.
    """
    stream = _Stream(server, principal, write)
    sender = asyncio.get_running_loop().create_task(stream.send())
    try:
        while (batch := await read()) is not None:
            if sender.done():
                break
            await stream.take(batch)
        stream.end()
        await sender
    finally:
        stream.close()
        if not sender.done():
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

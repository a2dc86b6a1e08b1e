"""`execute_many`: the client's side of `ExecuteMany`, one stream of batches and their outcomes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Any, NamedTuple

from flow_core.client.channel import EOF, CallError, Channel, failure
from flow_core.errors import FlowError
from flow_core.model.ids import check_count
from flow_core.model.payload import decode_outcome, encode_outcome
from flow_core.model.status import Status
from flow_core.proto import flow_pb2 as pb
from flow_core.proto.errors import error_of

__all__ = ["Outcome", "execute_many"]

#: Bytes of payload after which a batch goes out: messages are bounded. What an iterator gives when it has ended.
BYTES = 1 << 20
END = object()
SUCCESS = int(Status.SUCCESS)


class Outcome(NamedTuple):
    """How one execution ended. ``number``: of its request, from 0; ``error``: None when it succeeded."""

    number: int
    id: str
    status: Status
    value: Any
    error: FlowError | None


async def execute_many(
    channel: Channel, template: pb.ExecuteRequest, requests: Iterable[Any] | AsyncIterable[Any], batch: int, window: int
) -> AsyncIterator[Outcome]:
    """See `RemoteFlow.execute_many`."""
    check_count(batch, "batch", least=1)
    check_count(window, "window", least=1)
    feeder = _Feeder(channel.stream("ExecuteMany"), template, batch, window)
    task = asyncio.get_running_loop().create_task(feeder.feed(requests))
    try:
        while (replies := await feeder.call.read()) is not EOF:
            feeder.answered(len(replies.replies))
            for tagged in replies.replies:
                yield _outcome(tagged.tag, tagged.reply)
        await task
    except asyncio.CancelledError:
        if feeder.failed is None:
            raise
        raise feeder.failed from None
    except CallError as error:
        raise failure(channel.target, error) from None
    finally:
        task.cancel()
        feeder.call.cancel()
        await asyncio.gather(task, return_exceptions=True)


class _Feeder:
    """Writes requests, as many as the window lets."""

    def __init__(self, call: Any, template: pb.ExecuteRequest, batch: int, window: int) -> None:
        self.call = call
        self._template = template
        self._plain = template == pb.ExecuteRequest(flow=template.flow, wait=template.wait)
        self._most, self._window = min(batch, window), window
        self._under_way = 0
        self._room = asyncio.Event()
        self._message = pb.ExecuteBatch()
        self._bytes = 0
        self.failed: Exception | None = None

    async def feed(self, requests: Iterable[Any] | AsyncIterable[Any]) -> None:
        """Write all of them. What the iterable raises ends the stream."""
        try:
            if isinstance(requests, AsyncIterable):
                await self._feed_slowly(aiter(requests))
            else:
                for index, request in enumerate(requests):
                    await self._add(index, request)
            await self._flush()
            await self.call.done_writing()
        except (asyncio.InvalidStateError, CallError):
            pass  # the stream is over; who reads it hears why
        except Exception as error:  # of the iterable, or a request that can't be encoded
            self.failed = error
            self.call.cancel()

    async def _feed_slowly(self, requests: AsyncIterator[Any]) -> None:
        """What is there goes out before the next one is waited for."""
        for index in itertools.count():
            coming = asyncio.ensure_future(anext(requests, END))
            try:
                await asyncio.sleep(0)
                if not coming.done():
                    await self._flush()
                request = await coming
            finally:
                coming.cancel()
            if request is END:
                return
            await self._add(index, request)

    async def _add(self, index: int, request: Any) -> None:
        data, json = (request, False) if type(request) is bytes else encode_outcome(request, f"request {index}")
        tagged = self._message.requests.add(tag=index)
        message = tagged.request
        if self._plain:
            message.flow, message.wait = self._template.flow, self._template.wait
        else:
            message.CopyFrom(self._template)
        message.data = data
        if json:
            message.json = True
        self._bytes += len(data)
        if len(self._message.requests) >= self._most or self._bytes >= BYTES:
            await self._flush()

    async def _flush(self) -> None:
        message, self._message, self._bytes = self._message, pb.ExecuteBatch(), 0
        count = len(message.requests)
        if not count:
            return
        while self._under_way and self._under_way + count > self._window:
            self._room.clear()
            await self._room.wait()
        self._under_way += count
        await self.call.write(message)

    def answered(self, count: int) -> None:
        """So many are over."""
        self._under_way -= count
        self._room.set()


def _outcome(index: int, reply: pb.ExecuteReply) -> Outcome:
    if int(reply.status) == SUCCESS and not reply.HasField("error"):
        value = decode_outcome(reply.data, True) if reply.json else reply.data
        return Outcome(index, reply.id, Status.SUCCESS, value, None)
    error = error_of(reply.error) if reply.HasField("error") else None
    return Outcome(index, reply.id, Status(reply.status), None, error)

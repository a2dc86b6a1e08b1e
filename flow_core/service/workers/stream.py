"""`WorkerStream`: the calls that a server makes over the stream that a service opened to it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping

from flow_core.errors import AdapterError, Permanent, Unavailable
from flow_core.proto import flow_pb2 as pb

__all__ = ["CONCURRENCY", "MOST_CONCURRENCY", "WorkerStream"]

#: Calls that a stream takes at the same time, where its hello does not say, and at most.
CONCURRENCY, MOST_CONCURRENCY = 100, 10_000


class WorkerStream:
    """One open stream of a service: the calls under way on it, and the messages to write to it.

    Args:
        valid: whether its principal may still be called.
    """

    __slots__ = (
        "_number", "calls", "concurrency", "draining", "endpoints", "load", "outbox", "service", "valid", "wake",
    )  # fmt: skip

    def __init__(self, service: str, endpoints: frozenset[str], concurrency: int, valid: Callable[[], bool]) -> None:
        self.service = service
        self.endpoints = endpoints
        self.concurrency = concurrency
        self.valid = valid
        #: Calls that were given to it and are not over, and those that are about to be.
        self.load = 0
        self.calls: dict[int, asyncio.Future[bytes]] = {}
        self.draining = False
        self.outbox: deque[pb.ServeReply] = deque()
        self.wake = asyncio.Event()
        self._number = 0

    def send(self, reply: pb.ServeReply) -> None:
        """Write a message, later."""
        self.outbox.append(reply)
        self.wake.set()

    async def call(self, endpoint: str, data: bytes, headers: Mapping[str, str], timeout: float | None) -> bytes:
        """Make a call, and wait for its answer. Cancelling this tells the service."""
        self._number += 1
        number = self._number
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.calls[number] = answer
        self.send(
            pb.ServeReply(call=pb.Call(number=number, endpoint=endpoint, data=data, headers=headers, timeout=timeout))
        )
        try:
            return await answer
        except asyncio.CancelledError:
            if number in self.calls:
                self.send(pb.ServeReply(cancelled=pb.CallCancelled(number=number)))
            raise
        finally:
            self.calls.pop(number, None)

    def answered(self, answer: pb.CallAnswer) -> None:
        """An answer came. One to a call that is over is dropped."""
        waiting = self.calls.get(answer.number)
        if waiting is None or waiting.done():
            return
        outcome = answer.WhichOneof("outcome")
        if outcome == "data":
            waiting.set_result(answer.data)
        elif outcome == "error":
            waiting.set_exception(_error_of(answer.error))
        else:
            waiting.set_exception(AdapterError(f"service {self.service!r} answered without data and without error"))

    def broken(self) -> None:
        """The stream is over: the calls under way fail, and may be tried again."""
        for waiting in self.calls.values():
            if not waiting.done():
                waiting.set_exception(Unavailable(f"service {self.service!r} went away during the call"))
        self.calls.clear()
        self.outbox.clear()


def _error_of(error: pb.CallError) -> Exception:
    message = error.message[:4_000] or "the service gave no reason"
    if error.permanent:
        return Permanent(message)
    retry_after = error.retry_after if error.HasField("retry_after") and 0 <= error.retry_after < 1e9 else None
    return AdapterError(message, retry_after=retry_after)

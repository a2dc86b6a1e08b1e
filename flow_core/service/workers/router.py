"""`WorkerRouter`: the rpc client of a server, which calls services over the streams that they opened to it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Final, Literal

from flow_core.errors import InvalidOption, Unavailable, did_you_mean
from flow_core.rpc.base import Caller, RpcClient
from flow_core.service.workers.presence import Presence
from flow_core.service.workers.stream import WorkerStream

__all__ = ["WorkerRouter"]


class _Waiter:
    """A call that waits for a stream, or for the absent owner of its step."""

    __slots__ = ("endpoint", "owner", "service", "turn")

    def __init__(self, service: str, endpoint: str, owner: str | None) -> None:
        self.service = service
        self.endpoint = endpoint
        self.owner = owner
        #: A stream that has a place for it; None: look again.
        self.turn: asyncio.Future[WorkerStream | None] = asyncio.get_running_loop().create_future()


class WorkerRouter(RpcClient):
    """Calls services over the streams that they opened to a server; no port of a service has to be reachable.

    A call goes to the stream of its service that has the least to do. Without one it goes to the fallback client, if
    there is one and the service was never here; else it waits for the service to come back, or fails.

    Example::

        async with Flow(rpc=WorkerRouter()) as flow, FlowServer(flow) as server:
            print(server.url)

    Args:
        fallback: calls services that open no streams, e.g. ``Clients({...})`` with their URLs. Closed with this one.
        unavailable: what a call does while its service, or the owner of its step, is away: ``"wait"`` (as long as the
            timeouts of the step allow), or ``"fail"`` with `Unavailable`, which is retried as the step says.
    """

    def __init__(self, fallback: RpcClient | None = None, *, unavailable: Literal["wait", "fail"] = "wait") -> None:
        super().__init__()
        if unavailable not in ("wait", "fail"):
            raise InvalidOption(f'unavailable must be "wait" or "fail", not {unavailable!r:.80}')
        self.fallback: Final = fallback
        self.unavailable: Final = unavailable
        self.presence: Final = Presence()
        self._streams: dict[str, list[WorkerStream]] = {}
        #: Service -> endpoint -> calls that wait for a place, first come first served.
        self._queues: dict[str, dict[str, deque[_Waiter]]] = {}
        #: Owner -> calls of its steps that wait for it.
        self._gated: dict[str, set[_Waiter]] = {}
        #: (execution, step) -> what it waits for.
        self._waits: dict[tuple[str, str], _Waiter] = {}
        self._owner_of: Callable[[str, str], str] = lambda flow, step: ""
        self.presence.listen(self._owner_moved)

    def attached(self, owner_of: Callable[[str, str], str]) -> None:
        """The flows are known: calls that came before are looked at again. ``owner_of``: (flow, step) -> its owner."""
        self._owner_of = owner_of
        for service in tuple(self._queues):
            self._look_again(service)

    # --- streams ------------------------------------------------------------------------------------------------------

    def opened(self, stream: WorkerStream) -> None:
        """A service opened a stream."""
        self._streams.setdefault(stream.service, []).append(stream)
        self.presence.joined(stream.service)
        self._look_again(stream.service)

    def closed(self, stream: WorkerStream) -> None:
        """A stream is over."""
        streams = self._streams[stream.service]
        streams.remove(stream)
        if not streams:
            del self._streams[stream.service]
        stream.broken()
        if not stream.draining:
            self.presence.left(stream.service)
        self._look_again(stream.service)

    def drain(self, stream: WorkerStream) -> int:
        """Give a stream no further calls. Returns how many others of its service take calls."""
        if not stream.draining:
            stream.draining = True
            self.presence.left(stream.service)
            self._look_again(stream.service)
        return sum(not other.draining for other in self._streams.get(stream.service, ()))

    def instances(self, service: str) -> int:
        """How many streams of a service are open."""
        return len(self._streams.get(service, ()))

    # --- calls --------------------------------------------------------------------------------------------------------

    async def _call(
        self, service: str, endpoint: str, data: bytes, headers: Mapping[str, str], timeout: float | None
    ) -> bytes:
        return await self._call_by(None, service, endpoint, data, headers, timeout)

    async def _call_by(  # noqa: PLR0917 - as `RpcClient._call_by`
        self, caller: Caller | None, service: str, endpoint: str, data: bytes, headers: Mapping[str, str],
        timeout: float | None,
    ) -> bytes:  # fmt: skip
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        while True:
            owner = self._absent_owner(caller)
            stream = None if owner is not None else self._take(service, endpoint)
            if stream is None:
                if owner is None and self._elsewhere(service, endpoint):
                    assert self.fallback is not None
                    left = None if end is None else max(0.0, end - loop.time())
                    return await self.fallback.call(
                        service, endpoint, data, headers=headers, timeout=left, caller=caller
                    )
                stream = await self._queue_up(_Waiter(service, endpoint, owner), caller)
                if stream is None:
                    continue
            try:
                return await stream.call(endpoint, data, headers, None if end is None else max(0.0, end - loop.time()))
            finally:
                stream.load -= 1
                self._call_next(service)

    def _absent_owner(self, caller: Caller | None) -> str | None:
        """The owner of the step that calls, when it is away."""
        owner = None if caller is None else self._owner_of(caller.flow, caller.step)
        return owner if owner and not self.presence.available(owner) else None

    def _take(self, service: str, endpoint: str) -> WorkerStream | None:
        """A place on the least loaded stream that serves this; the longest unused of several. None: there is none."""
        best: WorkerStream | None = None
        streams = self._streams.get(service, ())
        for stream in streams:
            if stream.draining or endpoint not in stream.endpoints or stream.load >= stream.concurrency:
                continue
            if (best is None or stream.load * best.concurrency < best.load * stream.concurrency) and stream.valid():
                best = stream
        if best is not None:
            best.load += 1
            if len(streams) > 1:  # to the end, for the round
                self._streams[service] = [stream for stream in streams if stream is not best] + [best]
        return best

    def _elsewhere(self, service: str, endpoint: str) -> bool:
        """Whether the fallback is to be asked. Raises `Unavailable` when waiting makes no sense."""
        streams = [stream for stream in self._streams.get(service, ()) if not stream.draining]
        if streams:
            served = {name for stream in streams for name in stream.endpoints}
            if endpoint not in served:
                raise Unavailable(
                    f"service {service!r} is here, and does not serve {endpoint!r}", fix=did_you_mean(endpoint, served)
                )
            return False
        known = self.presence.known(service) or not self.presence.attached
        if not known:
            if self.fallback is not None:
                return True
            raise Unavailable(
                f"nobody serves {service}.{endpoint}",
                fix=did_you_mean(service, self._streams) or "start the service, or register it under its own name",
            )
        return False

    async def _queue_up(self, waiter: _Waiter, caller: Caller | None) -> WorkerStream | None:
        """Wait for a place; None: something has changed, look again. Raises `Unavailable` when calls don't wait."""
        if self.unavailable == "fail" and (waiter.owner is not None or not self._present(waiter.service)):
            raise Unavailable(self._text(waiter, "is"))
        if waiter.owner is not None:
            self._gated.setdefault(waiter.owner, set()).add(waiter)
        else:
            self._queues.setdefault(waiter.service, {}).setdefault(waiter.endpoint, deque()).append(waiter)
        place = None if caller is None else (caller.execution, caller.step)
        if place is not None:
            self._waits[place] = waiter
        try:
            with nullcontext() if caller is None else caller.without_slot():
                return await waiter.turn
        except asyncio.CancelledError:
            if waiter.turn.done() and not waiter.turn.cancelled():  # the place was given: the next one takes it
                stream = waiter.turn.result()
                if stream is not None:
                    stream.load -= 1
                    self._call_next(stream.service)
            raise
        finally:
            if place is not None and self._waits.get(place) is waiter:
                del self._waits[place]
            if waiter.owner is not None:
                self._gated.get(waiter.owner, set()).discard(waiter)

    def _present(self, service: str) -> bool:
        return any(not stream.draining for stream in self._streams.get(service, ()))

    def _call_next(self, service: str) -> None:
        """Give the places that there are to those who wait for them."""
        queues = self._queues.get(service)
        for endpoint, queue in tuple(queues.items()) if queues else ():
            while queue:
                if queue[0].turn.done():  # cancelled
                    queue.popleft()
                    continue
                stream = self._take(service, endpoint)
                if stream is None:
                    break
                queue.popleft().turn.set_result(stream)
            if not queue and queues is not None:
                queues.pop(endpoint, None)
        if queues is not None and not queues:
            self._queues.pop(service, None)

    def _look_again(self, service: str) -> None:
        """Streams came or went. Those who wait get places as far as there are; without any stream, they decide anew."""
        self._call_next(service)
        streams = [stream for stream in self._streams.get(service, ()) if not stream.draining]
        served = {name for stream in streams for name in stream.endpoints}
        for endpoint, queue in tuple(self._queues.get(service, {}).items()):
            hopeless = (
                endpoint not in served if streams else self.unavailable == "fail" or not self.presence.known(service)
            )
            if hopeless:
                del self._queues[service][endpoint]
                for waiter in queue:
                    if not waiter.turn.done():
                        waiter.turn.set_result(None)

    def _owner_moved(self, owner: str, here: bool) -> None:
        for waiter in self._gated.pop(owner, ()) if here else ():
            if not waiter.turn.done():
                waiter.turn.set_result(None)

    # --- explaining ---------------------------------------------------------------------------------------------------

    def waits_for(self, execution: str, step: str) -> str | None:
        """Whom a call of a step waits for, in words."""
        waiter = self._waits.get((execution, step))
        return None if waiter is None else self._text(waiter, "")

    def _text(self, waiter: _Waiter, verb: str) -> str:
        """``service 'payment', away for 12 s``; with a verb, as a sentence."""
        name = waiter.owner or waiter.service
        between = f" {verb} " if verb else ", "
        if waiter.owner is None and self._present(name):
            streams = [stream for stream in self._streams[name] if not stream.draining]
            return (
                f"service {name!r}{between}busy with {sum(stream.load for stream in streams)} calls, all that it takes"
            )
        return f"service {name!r}{between}away for {self.presence.away(name):.3g} s"

    async def _close(self) -> None:
        for streams in tuple(self._streams.values()):
            for stream in streams:
                stream.broken()
        for queues in self._queues.values():
            for queue in queues.values():
                for waiter in queue:
                    if not waiter.turn.done():
                        waiter.turn.set_exception(Unavailable("the client is closed"))
        if self.fallback is not None:
            await self.fallback.close()

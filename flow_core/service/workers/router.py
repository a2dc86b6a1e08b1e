"""`ServedClients`: the rpc client of a server: it calls services over the streams that they opened to it.

No port of a service has to be reachable: presence is the stream. A call goes to the least loaded stream of its service;
without one, to the fallback client when there is one and the service was never here; else it waits for the service
to come back, or fails, as the option says.

Lives here: routing, lines, and the calls of one stream (`Link`). Does not live here: reading and writing the stream
(``serve_stream.py``), presence (``owners.py``), retries (the engine's).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Final, Literal

from flow_core.errors import AdapterError, InvalidOption, Permanent, Unavailable, did_you_mean
from flow_core.proto import flow_pb2 as pb
from flow_core.rpc.base import Caller, RpcClient
from flow_core.service.workers.presence import Owners

__all__ = ["Link", "ServedClients"]

#: Calls that a stream takes at the same time, where its hello does not say, and at most.
CONCURRENCY, MOST_CONCURRENCY = 100, 10_000


class Link:
    """One open stream of a service: the calls under way on it, and what is to be written to it.

    Args:
        valid: whether its principal may still be called.
    """

    __slots__ = (
        "_number",
        "calls",
        "concurrency",
        "draining",
        "endpoints",
        "load",
        "outbox",
        "service",
        "valid",
        "wake",
    )

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


class _Waiter:
    """A call that waits for a stream, or (without one) for the owner of its step."""

    __slots__ = ("endpoint", "owner", "service", "turn")

    def __init__(self, service: str, endpoint: str, owner: str | None) -> None:
        self.service = service
        self.endpoint = endpoint
        self.owner = owner
        #: A stream that has a place for it; None: look again.
        self.turn: asyncio.Future[Link | None] = asyncio.get_running_loop().create_future()


class ServedClients(RpcClient):
    """See the module. Give it to the flow of a server: ``Flow(rpc=ServedClients())``.

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
        self.owners: Final = Owners()
        self._links: dict[str, list[Link]] = {}
        #: Service -> endpoint -> calls that wait for a place, first come first served.
        self._lines: dict[str, dict[str, deque[_Waiter]]] = {}
        #: Owner -> calls of its steps that wait for it.
        self._gated: dict[str, set[_Waiter]] = {}
        #: (execution, step) -> what it waits for.
        self._waits: dict[tuple[str, str], _Waiter] = {}
        self._owner_of: Callable[[str, str], str] = lambda flow, step: ""
        self.owners.listen(self._owner_moved)

    def attached(self, owner_of: Callable[[str, str], str]) -> None:
        """The flows are known: calls that came before are looked at again. ``owner_of``: (flow, step) -> its owner."""
        self._owner_of = owner_of
        for service in tuple(self._lines):
            self._look_again(service)

    # --- streams ------------------------------------------------------------------------------------------------------

    def opened(self, link: Link) -> None:
        """A service opened a stream."""
        self._links.setdefault(link.service, []).append(link)
        self.owners.joined(link.service)
        self._look_again(link.service)

    def closed(self, link: Link) -> None:
        """A stream is over."""
        links = self._links[link.service]
        links.remove(link)
        if not links:
            del self._links[link.service]
        link.broken()
        if not link.draining:
            self.owners.left(link.service)
        self._look_again(link.service)

    def drain(self, link: Link) -> int:
        """Give a stream no further calls. Returns how many others of its service take calls."""
        if not link.draining:
            link.draining = True
            self.owners.left(link.service)
            self._look_again(link.service)
        return sum(not other.draining for other in self._links.get(link.service, ()))

    def instances(self, service: str) -> int:
        """How many streams of a service are open."""
        return len(self._links.get(service, ()))

    # --- calls --------------------------------------------------------------------------------------------------------

    async def _call(
        self, service: str, endpoint: str, data: bytes, headers: Mapping[str, str], timeout: float | None
    ) -> bytes:
        return await self._call_by(None, service, endpoint, data, headers, timeout)

    async def _call_by(  # noqa: PLR0917 - as `RpcClient._call_by`
        self,
        caller: Caller | None,
        service: str,
        endpoint: str,
        data: bytes,
        headers: Mapping[str, str],
        timeout: float | None,
    ) -> bytes:
        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        while True:
            owner = self._absent_owner(caller)
            link = None if owner is not None else self._take(service, endpoint)
            if link is None:
                if owner is None and self._elsewhere(service, endpoint):
                    assert self.fallback is not None
                    left = None if end is None else max(0.0, end - loop.time())
                    return await self.fallback.call(
                        service, endpoint, data, headers=headers, timeout=left, caller=caller
                    )
                link = await self._line_up(_Waiter(service, endpoint, owner), caller)
                if link is None:
                    continue
            try:
                return await link.call(endpoint, data, headers, None if end is None else max(0.0, end - loop.time()))
            finally:
                link.load -= 1
                self._call_next(service)

    def _absent_owner(self, caller: Caller | None) -> str | None:
        """The owner of the step that calls, when it is away."""
        owner = None if caller is None else self._owner_of(caller.flow, caller.step)
        return owner if owner and not self.owners.available(owner) else None

    def _take(self, service: str, endpoint: str) -> Link | None:
        """A place on the least loaded stream that serves this; the longest unused of several. None: there is none."""
        best: Link | None = None
        links = self._links.get(service, ())
        for link in links:
            if link.draining or endpoint not in link.endpoints or link.load >= link.concurrency:
                continue
            if (best is None or link.load * best.concurrency < best.load * link.concurrency) and link.valid():
                best = link
        if best is not None:
            best.load += 1
            if len(links) > 1:  # to the end, for the round
                self._links[service] = [link for link in links if link is not best] + [best]
        return best

    def _elsewhere(self, service: str, endpoint: str) -> bool:
        """Whether the fallback is to be asked. Raises `Unavailable` when waiting makes no sense."""
        links = [link for link in self._links.get(service, ()) if not link.draining]
        if links:
            served = {name for link in links for name in link.endpoints}
            if endpoint not in served:
                raise Unavailable(
                    f"service {service!r} is here, and does not serve {endpoint!r}", fix=did_you_mean(endpoint, served)
                )
            return False
        known = self.owners.known(service) or not self.owners.attached
        if not known:
            if self.fallback is not None:
                return True
            raise Unavailable(
                f"nobody serves {service}.{endpoint}",
                fix=did_you_mean(service, self._links) or "start the service, or register it under its own name",
            )
        return False

    async def _line_up(self, waiter: _Waiter, caller: Caller | None) -> Link | None:
        """Wait for a place; None: something has changed, look again. Raises `Unavailable` when calls don't wait."""
        if self.unavailable == "fail" and (waiter.owner is not None or not self._present(waiter.service)):
            raise Unavailable(self._text(waiter, "is"))
        if waiter.owner is not None:
            self._gated.setdefault(waiter.owner, set()).add(waiter)
        else:
            self._lines.setdefault(waiter.service, {}).setdefault(waiter.endpoint, deque()).append(waiter)
        place = None if caller is None else (caller.execution, caller.step)
        if place is not None:
            self._waits[place] = waiter
        try:
            with nullcontext() if caller is None else caller.without_slot():
                return await waiter.turn
        except asyncio.CancelledError:
            if waiter.turn.done() and not waiter.turn.cancelled():  # the place was given: the next one takes it
                link = waiter.turn.result()
                if link is not None:
                    link.load -= 1
                    self._call_next(link.service)
            raise
        finally:
            if place is not None and self._waits.get(place) is waiter:
                del self._waits[place]
            if waiter.owner is not None:
                self._gated.get(waiter.owner, set()).discard(waiter)

    def _present(self, service: str) -> bool:
        return any(not link.draining for link in self._links.get(service, ()))

    def _call_next(self, service: str) -> None:
        """Give the places that there are to those who wait for them."""
        lines = self._lines.get(service)
        for endpoint, line in tuple(lines.items()) if lines else ():
            while line:
                if line[0].turn.done():  # cancelled
                    line.popleft()
                    continue
                link = self._take(service, endpoint)
                if link is None:
                    break
                line.popleft().turn.set_result(link)
            if not line and lines is not None:
                lines.pop(endpoint, None)
        if lines is not None and not lines:
            self._lines.pop(service, None)

    def _look_again(self, service: str) -> None:
        """Streams came or went. Those who wait get places as far as there are; without any stream, they decide anew."""
        self._call_next(service)
        links = [link for link in self._links.get(service, ()) if not link.draining]
        served = {name for link in links for name in link.endpoints}
        for endpoint, line in tuple(self._lines.get(service, {}).items()):
            hopeless = endpoint not in served if links else self.unavailable == "fail" or not self.owners.known(service)
            if hopeless:
                del self._lines[service][endpoint]
                for waiter in line:
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
            links = [link for link in self._links[name] if not link.draining]
            return f"service {name!r}{between}busy with {sum(link.load for link in links)} calls, all that it takes"
        return f"service {name!r}{between}away for {self.owners.away(name):.3g} s"

    async def _close(self) -> None:
        for links in tuple(self._links.values()):
            for link in links:
                link.broken()
        for lines in self._lines.values():
            for line in lines.values():
                for waiter in line:
                    if not waiter.turn.done():
                        waiter.turn.set_exception(Unavailable("the client is closed"))
        if self.fallback is not None:
            await self.fallback.close()


def _error_of(error: pb.CallError) -> Exception:
    message = error.message[:4_000] or "the service gave no reason"
    if error.permanent:
        return Permanent(message)
    retry_after = error.retry_after if error.HasField("retry_after") and 0 <= error.retry_after < 1e9 else None
    return AdapterError(message, retry_after=retry_after)

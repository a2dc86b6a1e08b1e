"""`Worker`: a Python service that runs steps of flows, as one context manager."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Protocol, Self

from flow_core.client.channel import EOF, CallError, Channel, failure
from flow_core.client.handlers import Handler, answer_of, served
from flow_core.errors import (
    AuthError,
    DuplicateStep,
    FlowError,
    QuotaExceeded,
    RegistrationError,
    Unavailable,
    UnknownFlow,
    UnknownStep,
)
from flow_core.model.backoff import Backoff
from flow_core.model.ids import check_count, check_id
from flow_core.model.step import Step
from flow_core.proto import flow_pb2 as pb

__all__ = ["Worker"]

#: Delays between attempts to come back.
BACKOFF: Final = Backoff(0.05, 5.0)
#: Seconds that leaving waits for the server's answer.
FAREWELL: Final = 2.0

log = logging.getLogger(__name__)


class Registration(Protocol):
    """How steps get into a flow of the server, and out of it: methods of `RemoteFlow`."""

    async def create_steps(self, flow: str, steps: Iterable[Step], *, owner: str = "") -> int:
        """Add steps in one revision."""

    async def lookup(self, flow: str) -> list[Step]:
        """The steps of a flow."""

    async def replace_step(self, flow: str, old: str | Step, new: Step) -> int:
        """Put one step in the place of another."""

    async def delete_step(self, flow: str, step: str | Step) -> int:
        """Take a step out of a flow."""


class Worker:
    """A service whose steps run in this process; made by `RemoteFlow.serve`. An async context manager::

        async with connect(url, service="payment").serve("checkout", Step("charge", charge)) as worker:
            await worker.forever()

    Entering returns as soon as the server can call the service. A lost connection is made again, and the steps are
    registered again. Leaving takes the steps out of the flow (not with ``keep``, and not while another instance of the
    service is connected), lets calls under way end, and closes the connection.
    """

    def __init__(
        self, channel: Channel, registration: Registration, release: Callable[[], Awaitable[None]], *, service: str,
        flow: str, steps: Sequence[Step], handler: Callable[..., Any] | None,
        handlers: Mapping[str, Callable[..., Any]] | None, keep: bool, concurrency: int, drain: float,
    ) -> None:  # fmt: skip
        self.service: Final = check_id(service, "service")
        self.flow: Final = check_id(flow, "flow name") if flow or steps else ""
        check_count(concurrency, "concurrency", least=1)
        self._channel, self._registration, self._release = channel, registration, release
        self.steps, self._handlers = served(service, steps, handler, handlers or {})
        self._keep, self._concurrency, self._drain = keep, concurrency, drain
        self._call: Any = None
        self._writing = asyncio.Lock()
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._ready: asyncio.Future[None] | None = None
        self._instances: asyncio.Future[int] | None = None
        self._task: asyncio.Task[None] | None = None
        self._leaving = False
        self._asked = asyncio.Event()

    # --- life ---------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        self._task = loop.create_task(self._stay())
        try:
            await self._ready
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving = True
        try:
            others = await self._farewell()
            if not self._keep and others == 0:
                await self._unregister()
            if self._under_way:
                await asyncio.wait(self._under_way.values(), timeout=self._drain)
        finally:
            await self._end()

    async def forever(self) -> None:
        """Wait for SIGTERM or SIGINT, or for `leave`. Leave the ``async with`` then, and the process exits 0."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self._asked.set)
        try:
            await self._asked.wait()
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def leave(self) -> None:
        """Let `forever` return."""
        self._asked.set()

    @property
    def connected(self) -> bool:
        """Whether calls can come now."""
        return self._call is not None

    async def _end(self) -> None:
        calls = list(self._under_way.values())
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        if self._task is not None:
            if self._call is not None:  # the server ends the stream when it hears the end of ours
                self._ignored(await asyncio.gather(self._call.done_writing(), return_exceptions=True))
                await asyncio.wait([self._task], timeout=FAREWELL)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._release()

    @staticmethod
    def _ignored(_: Any) -> None:
        """What closing raises, of a stream that is lost already."""

    async def _farewell(self) -> int | None:
        """Ask for no further calls. How many other instances are there; None: nobody says."""
        if self._call is None:
            return None
        self._instances = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(FAREWELL):
                await self._write(self._call, pb.ServeRequest(draining=True))
                return await self._instances
        except (TimeoutError, CallError, asyncio.InvalidStateError, Unavailable):
            return None

    async def _unregister(self) -> None:
        for step in self.steps:
            try:
                await self._registration.delete_step(self.flow, step)
            except (UnknownFlow, UnknownStep):
                pass
            except FlowError as error:
                log.warning("step %r of flow %r could not be removed: %s", step.id, self.flow, error.message)

    # --- the stream ---------------------------------------------------------------------------------------------------

    async def _stay(self) -> None:
        """Be there; come back when the connection is lost."""
        attempt = 0
        while not self._leaving:
            try:
                await self._talk()
                lost: FlowError = Unavailable("the server has ended the stream")
            except CallError as error:
                lost = failure(self._channel.target, error)
            except FlowError as error:
                lost = error
            finally:
                was_there, self._call = self._call is not None, None
            if self._leaving:
                return
            assert self._ready is not None
            if not self._ready.done() and _hopeless(lost):
                self._ready.set_exception(lost)
                return
            attempt = 0 if was_there else attempt + 1
            log.log(
                logging.INFO if attempt < 2 else logging.DEBUG, "service %r is away: %s", self.service, lost.message
            )
            await asyncio.sleep(BACKOFF.delay(attempt + 1, random.random()))

    async def _talk(self) -> None:
        """One stream, from hello to its end."""
        call = self._channel.stream("Serve")
        try:
            hello = pb.Hello(service=self.service, endpoints=sorted(self._handlers), concurrency=self._concurrency)
            await call.write(pb.ServeRequest(hello=hello))
            first = await call.read()
            if first is EOF or not first.welcome:
                raise Unavailable("the server did not welcome this service")
            await self._register()
            self._call = call
            assert self._ready is not None
            if not self._ready.done():
                self._ready.set_result(None)
            else:
                log.info("service %r is back", self.service)
            while (reply := await call.read()) is not EOF:
                self._take_in(call, reply)
        finally:
            call.cancel()
            for running in self._under_way.values():  # nobody hears their answers; their steps are retried
                running.cancel()

    async def _register(self) -> None:
        """Register the steps, or put them in the place of those that an earlier version of this service registered."""
        if not self.steps:
            return
        try:
            await self._registration.create_steps(self.flow, self.steps, owner=self.service)
            return
        except DuplicateStep:
            there = {step.id: step for step in await self._registration.lookup(self.flow)}
        for step in self.steps:
            if step.id in there and there[step.id] != step:
                await self._registration.replace_step(self.flow, step.id, step)
        await self._registration.create_steps(self.flow, self.steps, owner=self.service)

    def _take_in(self, call: Any, reply: pb.ServeReply) -> None:
        what = reply.WhichOneof("what")
        if what == "call":
            number = reply.call.number
            task = asyncio.get_running_loop().create_task(self._answer(call, reply.call))
            self._under_way[number] = task
            task.add_done_callback(lambda _: self._under_way.pop(number, None))
        elif what == "cancelled":
            running = self._under_way.get(reply.cancelled.number)
            if running is not None:
                running.cancel()
        elif what == "instances" and self._instances is not None and not self._instances.done():
            self._instances.set_result(reply.instances)

    async def _answer(self, call: Any, asked: pb.Call) -> None:
        handler: Handler | None = self._handlers.get(asked.endpoint)
        answer = await answer_of(handler, asked)
        try:
            await self._write(call, pb.ServeRequest(answer=answer))
        except (CallError, asyncio.InvalidStateError):
            pass  # the stream is lost: the server knows, and the step is retried

    async def _write(self, call: Any, request: pb.ServeRequest) -> None:
        async with self._writing:
            await call.write(request)

    def __repr__(self) -> str:
        return f"<Worker {self.service} {sorted(self._handlers)} {'connected' if self.connected else 'away'}>"


def _hopeless(error: FlowError) -> bool:
    """Whether the first attempt failed in a way that the next ones would, too."""
    return isinstance(error, (AuthError, RegistrationError)) and not isinstance(error, QuotaExceeded)

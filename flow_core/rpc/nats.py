"""`NatsRpcClient`: calls over NATS request/reply, and the other end of them.

A call of ``service``/``endpoint`` is a request on the subject ``<prefix>service.endpoint``. Any NATS program can serve
or call, with these headers:

* ``flow-timeout`` (request): seconds that the caller goes on waiting.
* ``flow-error`` (reply): ``permanent`` (do not try again) or ``retryable``; the body is then a text for people, UTF-8.
  ``flow-error-code`` refines it with the code of a `FlowError`, ``flow-retry-after`` gives the seconds to wait.
* A caller that gives up publishes its reply subject to ``<prefix>flow-cancel.<service>``; those who serve may stop.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any, Final

from flow_core.errors import (
    AdapterError,
    AuthError,
    FlowError,
    InvalidOption,
    PayloadError,
    Permanent,
    RegistrationError,
    Unavailable,
)
from flow_core.model.ids import check_count
from flow_core.model.payload import check_payload
from flow_core.net.nats import NatsConnection, NatsSubscription
from flow_core.rpc.base import RpcClient

__all__ = ["Handler", "NatsRpcClient", "ServiceError"]

#: What serves an endpoint: ``(data, headers) -> reply``, async or not. A sync one runs on the loop: it must be quick.
Handler = Callable[[bytes, Mapping[str, str]], bytes | Awaitable[bytes]]

TIMEOUT: Final = "flow-timeout"
ERROR: Final = "flow-error"
CODE: Final = "flow-error-code"
RETRY_AFTER: Final = "flow-retry-after"
PERMANENT: Final = "permanent"
RETRYABLE: Final = "retryable"
CANCEL: Final = "flow-cancel"
CALL: Final = "flow-call"
#: Longest error text that is sent, characters.
MAX_TEXT: Final = 4096

#: Errors that keep their class on the way. Others arrive as Permanent or AdapterError.
_BY_CODE: Final[Mapping[str, type[FlowError]]] = {kind.code: kind for kind in (AuthError, PayloadError, Unavailable)}
_FINAL: Final = (Permanent, PayloadError)


class ServiceError(Exception):
    """What went wrong at the other end, in its own words: the cause of the `AdapterError` that a call raises."""


class NatsRpcClient(RpcClient):
    """Calls services over NATS, and serves endpoints to others.

    Example::

        network = NatsRpcClient("nats://broker:4222")
        await network.serve("mail", "confirm", confirm)  # in the service
        flow = Flow(rpc=network)                         # in the process that calls it

    Args:
        url: ``nats://host:4222``, ``nats://user:password@host``, ``tls://...``; more servers after commas. Connected on
            first use, and again after a loss, with backoff.
        prefix: put before every subject, e.g. ``"prod."``.
        concurrency: most calls that `serve` handles at a time, all endpoints together.
        tls: an ``ssl.SSLContext``. credentials: path of a ``.creds`` file.
        connect_timeout: seconds that connecting may take.

    Raises:
        InvalidOption: the URL or a number will not do.
        ImportError: nats-py is missing.
    """

    def __init__(
        self, url: str, *, prefix: str = "", concurrency: int = 1000, tls: Any = None, credentials: str | None = None,
        connect_timeout: float = 5.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self._nats = NatsConnection(url, type(self).__name__, tls=tls, credentials=credentials, timeout=connect_timeout)
        self._prefix = prefix
        check_count(concurrency, "concurrency", least=1)
        self._room = asyncio.Semaphore(concurrency)
        self._served: dict[tuple[str, str], NatsSubscription] = {}
        self._cancels: dict[str, NatsSubscription] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, service: str, endpoint: str, handler: Handler, *, group: str | None = None) -> None:
        """Let ``handler`` answer the calls of ``service``/``endpoint`` from now on, over all reconnections.

        Several processes that serve the same share the calls. What ``handler`` raises reaches the caller: `Permanent`
        is not retried, ``retry_after`` is honoured, anything else is retried. It is cancelled when the caller has given
        up or its time is over.

        Args:
            group: those of one group share the calls; default: the service's name.

        Raises:
            InvalidOption: ``handler`` is not callable.
            RegistrationError: this client serves the endpoint already.
            Unavailable: there is no connection now.
        """
        if not callable(handler):
            raise InvalidOption(f"handler of {service}.{endpoint} must be callable, not {type(handler).__name__}")
        key = (service, endpoint)
        if key in self._served:
            raise RegistrationError(f"{service}.{endpoint} is served already", fix="withdraw it first")

        async def called(message: Any) -> None:
            await self._room.acquire()
            self._start(message, handler)

        async def cancelled(message: Any) -> None:
            task = self._running.get(message.data.decode(errors="replace"))
            if task is not None:
                task.cancel()

        listener = self._served[key] = NatsSubscription(self._subject(service, endpoint), group or service, called)
        try:
            if service not in self._cancels:
                self._cancels[service] = NatsSubscription(self._subject(CANCEL, service), "", cancelled)
                await self._nats.subscribe(self._cancels[service])
            await self._nats.subscribe(listener)
        except BaseException:
            await self.withdraw(service, endpoint)
            raise

    async def withdraw(self, service: str, endpoint: str) -> bool:
        """Stop serving the endpoint; calls under way finish. Returns whether it was served."""
        listener = self._served.pop((service, endpoint), None)
        if listener is not None:
            await self._nats.unsubscribe(listener)
        if all(other != service for other, _ in self._served) and service in self._cancels:
            await self._nats.unsubscribe(self._cancels.pop(service))
        return listener is not None

    def __repr__(self) -> str:
        return f"<NatsRpcClient {self._nats.address}>"

    # --- calling ----------------------------------------------------------------------------------------------------

    async def _call(
        self, service: str, endpoint: str, data: bytes, headers: Mapping[str, str], timeout: float | None
    ) -> bytes:
        sent = dict(headers)
        if timeout is not None:
            sent[TIMEOUT] = f"{timeout:.6f}"
        back = self._nats.fresh(CALL)
        try:
            message = await self._nats.ask(self._subject(service, endpoint), data, sent, back)
        except asyncio.CancelledError:
            if self._nats.connected:
                self._spawn(self._give_up(service, back))  # in a task: what is cancelled must not wait
            raise
        if message is None:
            raise Unavailable(f"nobody serves {service}.{endpoint} at {self._nats.address}")
        got: Mapping[str, str] = message.headers or {}
        if ERROR in got:
            raise _error_of(f"{service}.{endpoint}", got, message.data)
        reply: bytes = message.data
        return reply

    async def _give_up(self, service: str, back: str) -> None:
        """Tell those who serve."""
        try:
            await self._nats.send(self._subject(CANCEL, service), back.encode(), {})
        except FlowError:
            pass  # lost in this moment: the deadline ends the handler

    def _subject(self, *parts: str) -> str:
        return self._prefix + ".".join(parts)

    # --- serving ----------------------------------------------------------------------------------------------------

    def _start(self, message: Any, handler: Handler) -> None:
        task = self._spawn(self._serve(message, handler))
        self._running[message.reply or f"{id(task)}"] = task
        task.add_done_callback(lambda _: self._room.release())

    async def _serve(self, message: Any, handler: Handler) -> None:
        got: Mapping[str, str] = MappingProxyType(dict(message.headers or {}))
        task = asyncio.current_task()
        try:
            async with asyncio.timeout(_seconds(got.get(TIMEOUT))):
                result = handler(message.data, got)
                reply = check_payload(await result if inspect.isawaitable(result) else result, "reply")
            await self._answer(message.reply, reply, {})
        except Exception as error:
            await self._answer_error(message.reply, error)
        finally:
            self._running.pop(message.reply or f"{id(task)}", None)

    async def _answer_error(self, reply: str, error: Exception) -> None:
        headers = {ERROR: PERMANENT if isinstance(error, _FINAL) else RETRYABLE}
        text = f"{error}" if isinstance(error, FlowError) else f"{type(error).__name__}: {error}"
        if isinstance(error, FlowError):
            headers[CODE] = error.code
        retry_after = getattr(error, "retry_after", None)
        if isinstance(retry_after, (int, float)) and math.isfinite(retry_after):
            headers[RETRY_AFTER] = f"{retry_after:.6f}"
        try:
            await self._answer(reply, text[:MAX_TEXT].encode(errors="replace"), headers)
        except FlowError:
            pass  # nobody to tell: the caller's timeout ends its call

    async def _answer(self, reply: str, data: bytes, headers: Mapping[str, str]) -> None:
        if reply:  # else it was published, not requested
            await self._nats.send(reply, data, headers)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _close(self) -> None:
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._nats.close()


def _error_of(what: str, headers: Mapping[str, str], data: bytes) -> FlowError:
    """The error that a reply tells of. Whatever is not known is retryable."""
    text = data.decode(errors="replace")
    cause = ServiceError(text)
    kind = _BY_CODE.get(headers.get(CODE, ""))
    if headers[ERROR] == PERMANENT and kind is not PayloadError:
        kind = Permanent
    message = f"call of {what} failed: {text}"
    error: FlowError
    if kind is None or issubclass(kind, AdapterError):
        error = (kind or AdapterError)(message, retry_after=_seconds(headers.get(RETRY_AFTER)))
    else:
        error = kind(message)
    error.__cause__ = cause
    return error


def _seconds(text: str | None) -> float | None:
    """A header's number of seconds; None when there is none, or nonsense."""
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and math.isfinite(value) and value >= 0 else None

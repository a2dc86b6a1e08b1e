"""`PubSubClient`: what a client of a message broker promises.

A new client implements `_publish`, `_subscribe`, and where its broker needs it `_listen` and `_close`. It does not
retry: the engine does, and both together would multiply.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeVar

from flow_core.errors import AdapterError, FlowError, InvalidOption, NoReply, Unavailable
from flow_core.model.payload import check_payload
from flow_core.net.closing import Client, Closing
from flow_core.pubsub.replies import Replies

__all__ = ["REPLY_TO", "Message", "MessageHandler", "PubSubClient", "PubSubStatistics", "Subscription"]

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Header that says where a reply is awaited: the client's own address of the reply subject.
REPLY_TO: Final = "flow-reply-to"
NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PubSubStatistics:
    """What a client did so far.

    ``published``: messages the broker took, requests included, replies not. ``delivered``: messages handed to handlers.
    ``replies``: taken by a request. ``late_replies``: came after their request gave up. ``duplicate_replies``: came
    after the first. ``unroutable``: nobody was there for them. ``handler_errors``: raised by handlers. ``lost``: sent
    without confirmation, and the broker refused them or the connection broke. What a network client knows only later
    (of messages without confirmation, and of replies) is counted when it knows.
    """

    published: int = 0
    delivered: int = 0
    replies: int = 0
    late_replies: int = 0
    duplicate_replies: int = 0
    unroutable: int = 0
    handler_errors: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """A message, as a handler gets it: ``topic``, ``data``, and read-only ``headers``."""

    topic: str
    data: bytes
    headers: Mapping[str, str]
    client: PubSubClient

    async def reply(self, data: bytes, *, headers: Mapping[str, str] = NO_HEADERS) -> None:
        """Answer the one who sent this. Raises `AdapterError` when no reply was asked for, and like `publish`."""
        subject = self.headers.get(REPLY_TO)
        if not subject:
            raise AdapterError(f"message on {self.topic!r} asks for no reply", fix=f"look for the header {REPLY_TO}")
        check_payload(data, f"reply on {self.topic!r}")
        await self.client._reply(subject, data, headers)


#: What gets messages: async or not. A sync one runs on the loop: it must be quick.
MessageHandler = Callable[[Message], Awaitable[None] | None]
#: Tells the broker that a handler is done with a message, and whether it ended well. Must not raise.
Settle = Callable[[bool], Awaitable[None]]


class Subscription(Closing):
    """Gives the messages of one topic to one handler until it is closed. An async context manager.

    Each message runs in a task of its own with the context variables of the one who subscribed: handlers of one
    subscription may overlap, they start in the order of the messages.
    """

    def __init__(self, client: PubSubClient, topic: str, handler: MessageHandler) -> None:
        self.client = client
        self.topic = topic
        self.handler = handler
        self.closed = False
        self._context = contextvars.copy_context()

    def deliver(self, message: Message, settle: Settle | None = None) -> None:
        """Start the handler on ``message``; for clients, from the event loop.

        ``settle`` is awaited once the handler has ended, with whether it ended well. A handler that is cancelled, as
        the client is closing, settles nothing: the broker may give the message to somebody else.
        """
        if not self.closed:
            self.client._start(self._handle(message, settle), self._context.copy())

    async def _handle(self, message: Message, settle: Settle | None) -> None:
        well = True
        try:
            result = self.handler(message)
            if inspect.isawaitable(result):
                await result
        except Exception:
            well = False
            self.client._handler_errors += 1
            log.exception("handler of topic %r failed", self.topic)
        if settle is not None:
            await settle(well)

    async def close(self) -> None:
        """No new message starts the handler; messages under way finish. Closing twice is fine."""
        if not self.closed:
            self.closed = True
            await self.client._unsubscribe(self)


class PubSubClient(Client):
    """Publishes and receives messages. One client serves one event loop; use it in ``async with``, or `close` it.

    Closing it refuses new messages, ends waiting requests with `Unavailable`, and cancels handlers.

    Example::

        async with NatsPubSubClient("nats://broker:4222") as client:
            await client.subscribe("orders.placed", print)
            await client.publish("orders.placed", b"{}")
    """

    def __init__(self) -> None:
        super().__init__()
        self._replies = Replies()
        self._tasks: set[asyncio.Task[None]] = set()
        self._published = self._delivered = self._unroutable = self._handler_errors = self._lost = 0

    async def publish(
        self, topic: str, data: bytes, *, headers: Mapping[str, str] = NO_HEADERS, confirm: bool = True,
        timeout: float | None = None,
    ) -> bytes:  # fmt: skip
        """Publish ``data``; returns what the broker gives as a receipt, usually nothing.

        Args:
            topic: where to.
            data: at most `MAX_PAYLOAD` bytes.
            headers: sent along.
            confirm: return when the broker has taken the message and somebody is there for it: a subscriber, or where
                the broker keeps messages for those who come later, what keeps them. False: fire and forget; a message
                that nobody gets is counted as unroutable.
            timeout: seconds until `NoReply`; 0 or less fails at once, None waits until cancelled.

        Raises:
            Unavailable: confirmed, and nobody is there; the broker can't be reached; or the client is closed.
            NoReply: no confirmation in time.
            AdapterError: the broker failed; the cause is ``__cause__``.
            PayloadError: ``data`` is not bytes or too large.
        """
        self._check(topic, data)
        return await self._within(timeout, f"publish to {topic!r}", self._send(topic, data, headers, confirm))

    async def request(
        self, topic: str, data: bytes, *, reply_to: str, headers: Mapping[str, str] = NO_HEADERS,
        timeout: float | None = None,
    ) -> bytes:  # fmt: skip
        """Publish ``data`` and return the first reply, which is awaited on the subject ``reply_to``.

        ``reply_to`` must be new for each request: replies that come late or twice are then told from those to others.
        They are counted and dropped. Raises like a confirmed `publish`, and `NoReply` when no reply came in time.
        """
        self._check(topic, data)
        return await self._within(timeout, f"request to {topic!r}", self._ask(topic, data, reply_to, headers))

    async def subscribe(self, topic: str, handler: MessageHandler) -> Subscription:
        """Give the messages of ``topic`` to ``handler`` from now on, until the subscription is closed.

        What ``handler`` raises is logged and counted, and ends nothing else. Raises `InvalidOption` when it is not
        callable, `Unavailable` when the client is closed or the broker can't be reached. When a connection is lost, the
        client subscribes again by itself; what comes meanwhile is missed, unless the broker keeps it.
        """
        if not callable(handler):
            raise InvalidOption(f"handler of topic {topic!r} must be callable, not {type(handler).__name__}")
        if self._closed:
            raise Unavailable(f"subscribe to {topic!r}: the client is closed")
        subscription = Subscription(self, topic, handler)
        await self._within(None, f"subscribe to {topic!r}", self._subscribe(subscription))
        return subscription

    def statistics(self) -> PubSubStatistics:
        """A snapshot of the counters."""
        replies = self._replies
        return PubSubStatistics(
            published=self._published, delivered=self._delivered, replies=replies.taken, late_replies=replies.late,
            duplicate_replies=replies.duplicate, unroutable=self._unroutable, handler_errors=self._handler_errors,
            lost=self._lost,
        )  # fmt: skip

    # --- for implementors -------------------------------------------------------------------------------------------

    @abstractmethod
    async def _publish(self, topic: str, data: bytes, headers: Mapping[str, str], confirm: bool) -> bytes:
        """Hand one message to the broker. Nobody there: raise `Unavailable` when ``confirm``; always count it."""

    @abstractmethod
    async def _subscribe(self, subscription: Subscription) -> None:
        """Let messages of ``subscription.topic`` reach ``subscription.deliver``."""

    @abstractmethod
    async def _unsubscribe(self, subscription: Subscription) -> None:
        """Undo `_subscribe`."""

    @abstractmethod
    async def _reply(self, subject: str, data: bytes, headers: Mapping[str, str]) -> None:
        """Send a reply to ``subject``, a value of `REPLY_TO`, so that it reaches the asker's ``_replies.deliver``."""

    async def _listen(self, subject: str) -> str:
        """Make replies on ``subject`` reach ``_replies.deliver``. Returns where they are to be sent: for `REPLY_TO`."""
        return subject

    async def _unlisten(self, subject: str) -> None:
        """Undo `_listen`. Called on every way out, cancellation included."""

    # --- inner ------------------------------------------------------------------------------------------------------

    async def _end(self) -> None:
        self._replies.fail("the client was closed")
        tasks = self._tasks - {asyncio.current_task()}  # a handler may close its own client
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _check(self, topic: str, data: bytes) -> None:
        check_payload(data, f"message to {topic!r}")
        if self._closed:
            raise Unavailable(f"publish to {topic!r}: the client is closed")

    async def _send(self, topic: str, data: bytes, headers: Mapping[str, str], confirm: bool) -> bytes:
        receipt = await self._publish(topic, data, MappingProxyType(dict(headers)), confirm)
        self._published += 1
        return receipt

    async def _ask(self, topic: str, data: bytes, reply_to: str, headers: Mapping[str, str]) -> bytes:
        future, taken = self._replies.expect(reply_to), False
        try:
            address = await self._listen(reply_to)
            await self._send(topic, data, {**headers, REPLY_TO: address}, True)
            reply = await future
            taken = True
            return reply
        finally:
            self._replies.release(reply_to, taken)
            await self._unlisten(reply_to)

    async def _within(self, timeout: float | None, what: str, work: Coroutine[Any, Any, T]) -> T:
        """Await ``work`` for at most ``timeout`` seconds, with every failure as a `FlowError`."""
        if timeout is not None and timeout <= 0:
            work.close()
            raise NoReply(f"{what}: no time is left")
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                return await work
        except Exception as error:
            if limit.expired():
                raise NoReply(f"{what}: nothing came back within {timeout:g} s") from error
            if isinstance(error, FlowError):
                raise
            raise AdapterError(f"{what} failed: {type(error).__name__}: {error}") from error

    def _start(self, work: Coroutine[Any, Any, None], context: contextvars.Context) -> None:
        if self._closed:
            work.close()
            return
        self._delivered += 1
        task = asyncio.get_running_loop().create_task(work, context=context)
        self._tasks.add(task)  # the loop itself holds tasks weakly only
        task.add_done_callback(self._tasks.discard)

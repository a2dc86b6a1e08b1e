"""`RabbitMqPubSubClient`: messages through a RabbitMQ exchange.

A topic is a routing key of one exchange of type topic, so `subscribe` also takes patterns (``orders.*``, ``orders.#``).
A confirmation means that a queue has the message; a durable queue has it on disk then, as messages are persistent.
A message that no queue takes is unroutable, which is an error when it was to be confirmed.

Replies come to one queue per client, exclusive to its connection, with the subject of their attempt as
``correlation_id``; other AMQP programs can serve and ask, with ``reply_to`` and ``correlation_id`` as usual. When the
connection is lost that queue is gone: requests end with `Unavailable`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from flow_core.errors import FlowError, InvalidOption, Unavailable
from flow_core.model.ids import check_count, seconds
from flow_core.net.address import Address
from flow_core.pubsub.base import REPLY_TO, Message, PubSubClient, Subscription
from flow_core.pubsub.rabbitmq.wire import RabbitMqSession, Sender, Unroutable, open_connection

__all__ = ["RabbitMqPubSubClient"]

log = logging.getLogger(__name__)

DEFAULT_EXCHANGE: Final = "amq.topic"


class RabbitMqPubSubClient(PubSubClient):
    """Publishes to RabbitMQ and receives from it.

    Example::

        flow = Flow(pubsub=RabbitMqPubSubClient("amqp://user:password@broker/", exchange="orders"))

    Args:
        url: ``amqp://user:password@host:5672/vhost``, ``amqps://...``. Connected on first use, and again after a loss,
            with backoff.
        exchange: declared (durable, topic) unless it is one of RabbitMQ's own, ``amq.*``. ``""``: the default exchange,
            where a topic is the name of a queue that exists.
        group: clients of one group share the messages of a topic: they go to the durable queue ``group.topic``, which
            keeps them while nobody is there. A message is acknowledged when its handler has ended, and rejected
            (dead-lettered, where the queue has a policy for it) when the handler raised. None: each subscription gets
            all that come from now on.
        persistent: messages survive a restart of the broker in durable queues.
        prefetch: messages under way at a time, all subscriptions together.
        timeout: seconds that connecting may take.

    Raises:
        InvalidOption: the URL or an option will not do.
        ImportError: aio-pika is missing.
    """

    def __init__(
        self, url: str, *, exchange: str = DEFAULT_EXCHANGE, group: str | None = None, persistent: bool = True,
        prefetch: int = 100, timeout: float = 5.0,
    ) -> None:  # fmt: skip
        super().__init__()
        check_count(prefetch, "prefetch", least=1)
        seconds(timeout, "timeout")
        if not isinstance(exchange, str):
            raise InvalidOption(f"exchange must be a str, not {exchange!r:.80}")
        if group is not None and (not isinstance(group, str) or not group):
            raise InvalidOption(f"group must be a name, not {group!r:.80}")
        owner = type(self).__name__
        self._address = Address(url, ("amqp", "amqps"), owner)
        self._connection = open_connection(
            self._address, owner, exchange=exchange, prefetch=prefetch, timeout=timeout, resume=self._resume,
            lost=self._replies.fail,
        )  # fmt: skip
        self._sender = Sender(self._connection, self._address)
        self._exchange = exchange
        self._group = group
        self._persistent = persistent
        self._subscriptions: set[Subscription] = set()

    def __repr__(self) -> str:
        return f"<RabbitMqPubSubClient {self._address}>"

    # --- what goes --------------------------------------------------------------------------------------------------

    async def _publish(self, topic: str, data: bytes, headers: Mapping[str, str], confirm: bool) -> bytes:
        task = await self._sender.send(self._message(data, headers), topic)
        if not confirm:
            task.add_done_callback(self._sent)
            return b""
        try:
            await asyncio.shield(task)
        except Unroutable:
            self._unroutable += 1
            raise Unavailable(f"message to {topic!r} is unroutable: no queue is bound to it") from None
        return b""

    def _message(self, data: bytes, headers: Mapping[str, str], correlation_id: str | None = None) -> Any:
        # No message_id: aio-pika tells by it which message was given back, so it must be new for each.
        from aio_pika import DeliveryMode
        from aio_pika import Message as AmqpMessage

        reply_to = None
        if correlation_id is None and REPLY_TO in headers:
            reply_to, _, correlation_id = headers[REPLY_TO].partition("|")
        mode = DeliveryMode.PERSISTENT if self._persistent else DeliveryMode.NOT_PERSISTENT
        return AmqpMessage(
            data, headers=dict(headers), delivery_mode=mode, reply_to=reply_to, correlation_id=correlation_id
        )

    def _sent(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Unroutable):
            self._unroutable += 1
        elif error is not None:
            self._lost += 1
            log.warning("a message without confirmation was lost: %s", error)

    async def _listen(self, subject: str) -> str:
        session = await self._connection.get()
        if session.reply_queue is None:
            session.reply_queue = asyncio.ensure_future(self._open_reply_queue(session))
        return f"{await asyncio.shield(session.reply_queue)}|{subject}"

    async def _open_reply_queue(self, session: RabbitMqSession) -> str:
        async def arrived(message: Any) -> None:
            self._unroutable += not self._replies.deliver(message.correlation_id or "", message.body)

        try:
            queue = await session.taking.declare_queue(exclusive=True, auto_delete=True)
            await queue.consume(arrived, no_ack=True)
        except asyncio.CancelledError:
            raise Unavailable(f"connection to {self._address} lost") from None
        except Exception as error:
            session.reply_queue = None
            raise Unavailable(f"{self._address} gives no queue for replies: {type(error).__name__}") from error
        name: str = queue.name
        return name

    async def _reply(self, subject: str, data: bytes, headers: Mapping[str, str]) -> None:
        queue, _, correlation_id = subject.partition("|")
        message = self._message(data, headers, correlation_id)
        try:
            await asyncio.shield(await self._sender.send(message, queue, direct=True))
        except Unroutable:
            self._unroutable += 1

    # --- what comes -------------------------------------------------------------------------------------------------

    async def _subscribe(self, subscription: Subscription) -> None:
        session = await self._connection.get()
        self._subscriptions.add(subscription)
        try:
            if subscription not in session.consumers:
                await self._consume(session, subscription)
        except BaseException as error:
            await self._unsubscribe(subscription)
            if isinstance(error, (FlowError, asyncio.CancelledError)) or not isinstance(error, Exception):
                raise
            text = self._address.hide(f"{type(error).__name__}: {error}")
            raise Unavailable(f"subscribe to {subscription.topic!r}: {text}") from self._address.cause(error)
        self._connection.keep(True)

    async def _resume(self, session: RabbitMqSession) -> None:
        for subscription in tuple(self._subscriptions):
            await self._consume(session, subscription)

    async def _consume(self, session: RabbitMqSession, subscription: Subscription) -> None:
        topic, channel = subscription.topic, session.taking
        if not self._exchange:
            queue = await channel.declare_queue(topic, passive=True)
        elif self._group is not None:
            queue = await channel.declare_queue(f"{self._group}.{topic}", durable=True)
            await queue.bind(session.exchange, topic)
        else:
            queue = await channel.declare_queue(exclusive=True, auto_delete=True)
            await queue.bind(session.exchange, topic)

        async def arrived(incoming: Any) -> None:
            if subscription.closed:
                await _settled(incoming.nack)
                return

            async def settle(well: bool) -> None:
                await _settled(incoming.ack) if well else await _settled(incoming.reject)

            headers = {name: str(value) for name, value in (incoming.headers or {}).items()}
            if incoming.reply_to and REPLY_TO not in headers:
                headers[REPLY_TO] = f"{incoming.reply_to}|{incoming.correlation_id or ''}"
            message = Message(incoming.routing_key or topic, incoming.body, MappingProxyType(headers), self)
            subscription.deliver(message, settle)

        session.consumers[subscription] = (queue, await queue.consume(arrived))

    async def _unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)
        if not self._subscriptions:
            self._connection.keep(False)
        session = self._connection.current
        queue, tag = session.consumers.pop(subscription, (None, None)) if session is not None else (None, None)
        if queue is None:
            return
        try:
            await queue.cancel(tag)
            if queue.exclusive:  # at once: a message that comes now is unroutable
                await queue.delete(if_unused=False, if_empty=False)
        except Exception as error:  # the connection is lost, and both are gone with it
            log.debug("unsubscribe from %r: %s", subscription.topic, type(error).__name__)

    async def _close(self) -> None:
        self._subscriptions.clear()
        await self._connection.close()
        await self._sender.close()


async def _settled(settle: Any) -> None:
    """Acknowledge or reject; on a channel that is gone the broker gives the message to somebody else anyway."""
    try:
        await settle()
    except Exception as error:
        log.debug("a message could not be settled: %s", type(error).__name__)

"""`NatsPubSubClient`: messages over NATS, with or without JetStream.

A topic is a subject; `subscribe` also takes patterns (``orders.*``, ``orders.>``). What a confirmation means:

* core NATS: the server has the message and knows somebody who listens to it now. Nothing is kept.
* JetStream: a stream has stored the message, as safely as that stream stores (the PubAck). The receipt is
  ``stream:sequence``. The header ``Nats-Msg-Id`` is made of ``flow-idempotency-key`` and the topic, so that within the
  stream's duplicate window a retried publish is stored once. A request has its own reply subject there instead: each
  attempt is a message of its own, else the retry of a lost request would be dropped and wait for ever.

`subscribe` listens to subjects: it gets what is published from now on, whether a stream keeps it or not. Consumers of
what a stream kept are made with nats-py.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote, unquote

import orjson

from flow_core.errors import AdapterError, InvalidOption, Permanent, Unavailable
from flow_core.net.nats import ACK, NOBODY, NatsConnection, NatsSubscription, asks_for_reply, is_nobody
from flow_core.pubsub.base import REPLY_TO, Message, PubSubClient, Subscription

__all__ = ["NatsPubSubClient"]

MSG_ID: Final = "Nats-Msg-Id"
EXPECTED_STREAM: Final = "Nats-Expected-Stream"
IDEMPOTENCY_KEY: Final = "flow-idempotency-key"
#: Subjects that only the server itself serves: no handler may be made to send there.
RESERVED: Final = "$"


class NatsPubSubClient(PubSubClient):
    """Publishes to NATS and receives from it, with or without JetStream.

    Example::

        flow = Flow(pubsub=NatsPubSubClient("nats://broker:4222", stream="ORDERS"))

    Args:
        url: ``nats://host:4222``, ``nats://user:password@host``, ``tls://...``; more servers after commas. Connected on
            first use, and again after a loss, with backoff.
        jetstream: confirmed messages and requests must be stored by a stream.
        stream: name of the stream that must store them; implies ``jetstream``.
        group: subscriptions of all clients with this queue group share the messages of a topic. None: each gets all.
        tls: an ``ssl.SSLContext``. credentials: path of a ``.creds`` file.
        connect_timeout: seconds that connecting may take.

    Raises:
        InvalidOption: the URL or a name will not do.
        ImportError: nats-py is missing.
    """

    def __init__(
        self, url: str, *, jetstream: bool = False, stream: str | None = None, group: str | None = None,
        tls: Any = None, credentials: str | None = None, connect_timeout: float = 5.0,
    ) -> None:  # fmt: skip
        super().__init__()
        for what, value in (("stream", stream), ("group", group)):
            if value is not None and (not isinstance(value, str) or not value or set(value) & set(" \t\r\n.*>")):
                raise InvalidOption(f"{what} must be a name without spaces . * >, not {value!r:.80}")
        self._nats = NatsConnection(url, type(self).__name__, tls=tls, credentials=credentials, timeout=connect_timeout)
        self._nats.on_answer = self._answered
        self._nats.on_lost = self._replies.fail
        self._jetstream = jetstream or stream is not None
        self._stream = stream
        self._group = group or ""
        self._reply_base = f"{self._nats.inbox}.flow-reply."
        self._nowhere = f"{self._nats.inbox}.{NOBODY}"
        self._listeners: dict[Subscription, NatsSubscription] = {}

    def __repr__(self) -> str:
        return f"<NatsPubSubClient {self._nats.address}{' JetStream' * self._jetstream}>"

    async def _publish(self, topic: str, data: bytes, headers: Mapping[str, str], confirm: bool) -> bytes:
        if not confirm:
            # Whether anybody listens the server tells later: as an answer to the reply subject.
            await self._nats.send(topic, data, headers, self._nowhere)
            return b""
        if self._jetstream:
            return await self._store(topic, data, headers)
        if not await self._nats.confirm(topic, data, headers, headers.get(REPLY_TO)):
            self._unroutable += 1
            raise Unavailable(f"message to {topic!r} is unroutable: nobody is subscribed")
        return b""

    async def _store(self, topic: str, data: bytes, headers: Mapping[str, str]) -> bytes:
        sent = dict(headers)
        reply_to, key = headers.get(REPLY_TO), headers.get(IDEMPOTENCY_KEY)
        if reply_to is not None:
            sent.setdefault(MSG_ID, reply_to)
        elif key:
            sent.setdefault(MSG_ID, f"{key}/{topic}")
        if self._stream is not None:
            sent[EXPECTED_STREAM] = self._stream
        message = await self._nats.ask(topic, data, sent, self._nats.fresh(ACK))
        if message is None:
            self._unroutable += 1
            raise Unavailable(
                f"message to {topic!r} is unroutable: no stream stores it", fix="add one for this subject"
            )
        return _receipt(topic, message.data)

    async def _subscribe(self, subscription: Subscription) -> None:
        async def arrived(message: Any) -> None:
            headers = dict(message.headers or {})
            if REPLY_TO not in headers and asks_for_reply(message.reply):
                headers[REPLY_TO] = message.reply  # a request of another NATS program
            subscription.deliver(Message(message.subject, message.data, MappingProxyType(headers), self))

        listener = self._listeners[subscription] = NatsSubscription(subscription.topic, self._group, arrived)
        try:
            await self._nats.subscribe(listener)
        except BaseException:
            self._listeners.pop(subscription, None)
            raise

    async def _unsubscribe(self, subscription: Subscription) -> None:
        listener = self._listeners.pop(subscription, None)
        if listener is not None:
            await self._nats.unsubscribe(listener)

    async def _listen(self, subject: str) -> str:
        return self._reply_base + _quoted(subject)

    async def _reply(self, subject: str, data: bytes, headers: Mapping[str, str]) -> None:
        if subject.startswith(RESERVED):
            raise Permanent(f"{subject!r:.80} is no subject for replies")
        await self._nats.send(subject, data, headers)

    def _answered(self, message: Any) -> None:
        subject: str = message.subject
        if is_nobody(message):
            self._unroutable += subject == self._nowhere
        elif subject.startswith(self._reply_base):
            taken = self._replies.deliver(unquote(subject.removeprefix(self._reply_base)), message.data)
            self._unroutable += not taken

    async def _close(self) -> None:
        self._listeners.clear()
        await self._nats.close()


def _quoted(subject: str) -> str:
    """``subject`` as tokens of a NATS subject; `unquote` gives it back."""
    text = quote(subject, safe=":@!$&'()+,;=")
    return text if all(text.split(".")) else text.replace(".", "%2E")


def _receipt(topic: str, data: bytes) -> bytes:
    """``stream:sequence`` of a PubAck, or the error that it tells of."""
    try:
        ack = orjson.loads(data)
        error = ack.get("error")
        if error is None:
            return f"{ack['stream']}:{ack['seq']}".encode()
        code, text = error.get("code"), error.get("description")
    except (orjson.JSONDecodeError, AttributeError, KeyError):
        raise AdapterError(f"message to {topic!r}: no stream answered, but something else") from None
    kind = Unavailable if code == 503 else AdapterError
    raise kind(f"message to {topic!r} was not stored: {text} ({code})")

"""`RedisPubSubClient`: messages in Redis streams.

A topic is a stream: the key is ``prefix`` + topic, an entry has the fields ``data`` and, where there are any,
``headers`` (a JSON object). A confirmation means that Redis has stored the entry (as safely as its ``appendfsync``
says) and with ``replicas`` that so many replicas have it, too; the receipt is the entry's id. **A stream keeps messages
for those who come later**: a message without subscribers is not unroutable, and a request that nobody serves waits for
its timeout. Redis does not recognise a message that is published again; handlers do, by ``flow-idempotency-key``.

Replies come to one stream per client, ``<prefix>flow:replies:<random>``, each with the subject of its own attempt. They
survive a lost connection, are removed once read, and the stream expires when nobody replies for ten minutes.

Needs Redis 6.2. Not for Redis Cluster: one read waits for several keys.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections.abc import Coroutine, Mapping
from types import MappingProxyType
from typing import Any, Final

import orjson

from flow_core.errors import FlowError, InvalidOption, Permanent
from flow_core.model.ids import check_count, seconds
from flow_core.net.address import Address
from flow_core.pubsub.base import Message, PubSubClient, Subscription
from flow_core.pubsub.redis.reader import START, Group, Reader
from flow_core.pubsub.redis.wire import Command, CommandBatcher, open_connection

__all__ = ["RedisPubSubClient"]

log = logging.getLogger(__name__)

REPLIES: Final = "flow:replies:"
#: Milliseconds that a stream of replies outlives the last reply.
REPLY_TTL: Final = 600_000
#: Bytes that an entry takes besides its data, for batches; a guess.
OVERHEAD: Final = 256


class RedisPubSubClient(PubSubClient):
    """Publishes to Redis streams and receives from them.

    Example::

        flow = Flow(pubsub=RedisPubSubClient("redis://broker:6379/0", maxlen=100_000))

    Args:
        url: ``redis://:password@host:6379/0``, ``rediss://...`` (TLS) or ``unix:///path``. Connected on first use, and
            again after a loss, with backoff.
        maxlen: entries that a stream keeps; older ones are dropped as new ones come, read or not. None: all, for ever.
        approximate: let Redis drop whole blocks of entries only, which is much cheaper.
        replicas: a confirmed message must have reached so many replicas (WAIT).
        group: clients of one group share the messages of a topic, each goes to one of them, and is acknowledged when
            its handler has ended, however. None: each subscription gets all that come from now on.
        claim: seconds after which a message that another member of the group took and did not acknowledge is given
            again; longer than any handler takes.
        prefetch: messages of the group under way at a time.
        prefix: put before every key.
        timeout: seconds that connecting, and one round trip, may take.

    Raises:
        InvalidOption: the URL or a number will not do.
        ImportError: redis-py is missing.
    """

    def __init__(
        self, url: str, *, maxlen: int | None = 1_000_000, approximate: bool = True, replicas: int = 0,
        group: str | None = None, claim: float = 60.0, prefetch: int = 100, prefix: str = "", timeout: float = 5.0,
    ) -> None:  # fmt: skip
        super().__init__()
        for what, number, least in (("maxlen", maxlen, 1), ("replicas", replicas, 0), ("prefetch", prefetch, 1)):
            check_count(number, what, least=least)
        seconds(timeout, "timeout")
        seconds(claim, "claim")
        if group is not None and (not isinstance(group, str) or not group):
            raise InvalidOption(f"group must be a name, not {group!r:.80}")
        owner = type(self).__name__
        self._address = Address(url, ("redis", "rediss", "unix"), owner)
        self._connection = open_connection(self._address, owner, timeout)
        self._writer = CommandBatcher(self._connection, self._address, timeout, replicas)
        self._prefix = prefix
        self._limit: Command = () if maxlen is None else ("MAXLEN", "~" if approximate else "=", maxlen)
        token = secrets.token_hex(16)
        self._group = None if group is None else Group(group, token, claim, prefetch)
        self._topics = Reader(self._connection, self._address, self._arrived, self._group)
        self._answers = Reader(self._connection, self._address, self._answered)
        self._reply_key = f"{prefix}{REPLIES}{token}"
        self._subscriptions: dict[str, dict[Subscription, tuple[int, int]]] = {}  # key -> those, and what they had seen
        self._turns = itertools.count()
        self._read_until = b""
        self._trimming = False
        self._chores: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<RedisPubSubClient {self._address}>"

    async def _publish(self, topic: str, data: bytes, headers: Mapping[str, str], confirm: bool) -> bytes:
        fields: list[Any] = ["data", data]
        if headers:
            fields += "headers", orjson.dumps(dict(headers))
        command = ("XADD", self._prefix + topic, *self._limit, "*", *fields)
        future = await self._writer.put([command], len(data) + OVERHEAD)
        if not confirm:
            future.add_done_callback(self._sent)
            return b""
        receipt: bytes = await future
        return receipt

    def _sent(self, future: asyncio.Future[Any]) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None:
            self._lost += 1
            log.warning("a message without confirmation was lost: %s", error)

    async def _subscribe(self, subscription: Subscription) -> None:
        key = self._prefix + subscription.topic
        seen = START
        if self._group is None:
            last = await (await self._writer.put([("XREVRANGE", key, "+", "-", "COUNT", 1)], OVERHEAD))
            seen = last[0][0] if last else START
        self._subscriptions.setdefault(key, {})[subscription] = _order(seen)
        try:
            await self._topics.watch(key, seen)
        except BaseException:
            await self._unsubscribe(subscription)
            raise

    async def _unsubscribe(self, subscription: Subscription) -> None:
        key = self._prefix + subscription.topic
        subscriptions = self._subscriptions.get(key, {})
        subscriptions.pop(subscription, None)
        if not subscriptions and self._subscriptions.pop(key, None) is not None:
            await self._topics.unwatch(key)

    async def _listen(self, subject: str) -> str:
        await self._answers.watch(self._reply_key)
        return f"{self._reply_key}|{subject}"

    async def _reply(self, subject: str, data: bytes, headers: Mapping[str, str]) -> None:
        key, _, name = subject.partition("|")
        if not key.startswith(self._prefix + REPLIES):  # else a message could have us write to any stream
            raise Permanent(f"{subject!r:.80} is no address for replies", fix="use one prefix on both sides")
        add = ("XADD", key, "*", "subject", name, "data", data)
        await (await self._writer.put([add, ("PEXPIRE", key, REPLY_TTL)], len(data) + OVERHEAD))

    # --- what comes -------------------------------------------------------------------------------------------------

    def _arrived(self, key: str, entry: bytes, fields: dict[bytes, bytes]) -> None:
        order = _order(entry)
        takers = [one for one, seen in self._subscriptions.get(key, {}).items() if seen < order and not one.closed]
        data = fields.get(b"data")
        group = self._group
        if data is None:
            log.warning("entry %s of %r has no field 'data'", entry.decode(), key)
            if group is not None:
                self._spawn(self._acknowledge(key, entry))  # nobody could do more with it
            return
        if group is not None:
            if not takers:
                group.done(key, entry)  # unacknowledged: it will be given to somebody else
                return
            takers = [takers[next(self._turns) % len(takers)]]
        headers = MappingProxyType(_headers(fields))
        for subscription in takers:
            message = Message(subscription.topic, data, headers, self)

            async def settle(_: bool) -> None:
                await self._acknowledge(key, entry)

            subscription.deliver(message, None if group is None else settle)

    async def _acknowledge(self, key: str, entry: bytes) -> None:
        assert self._group is not None
        try:
            await (await self._writer.put([("XACK", key, self._group.name, entry)], OVERHEAD))
        except FlowError as error:
            log.warning("entry %s of %r will come again: %s", entry.decode(), key, error.message)
        finally:
            self._group.done(key, entry)

    def _answered(self, key: str, entry: bytes, fields: dict[bytes, bytes]) -> None:
        subject = fields.get(b"subject", b"").decode(errors="replace")
        self._unroutable += not self._replies.deliver(subject, fields.get(b"data", b""))
        self._read_until = entry
        if not self._trimming:
            self._trimming = True
            self._spawn(self._trim())

    async def _trim(self) -> None:
        """Remove replies that were read."""
        try:
            done = b""
            while done != self._read_until:
                done = self._read_until
                milliseconds, number = _order(done)
                command = ("XTRIM", self._reply_key, "MINID", f"{milliseconds}-{number + 1}")
                await (await self._writer.put([command], OVERHEAD))
        except FlowError:
            pass  # the next reply tries again
        finally:
            self._trimming = False

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    # --- the end ----------------------------------------------------------------------------------------------------

    async def _close(self) -> None:
        await self._topics.close()
        await self._answers.close()
        for task in self._chores:
            task.cancel()
        if self._connection.current is not None:
            try:
                async with asyncio.timeout(1.0):
                    await self._tidy()
            except (FlowError, TimeoutError):
                pass  # the stream of replies expires by itself
        await self._writer.close()
        await self._connection.close()
        self._subscriptions.clear()

    async def _tidy(self) -> None:
        commands: list[Command] = [("DEL", self._reply_key)]
        group = self._group
        if group is not None:
            for key in self._subscriptions:
                left = await (await self._writer.put([("XPENDING", key, group.name)], OVERHEAD))
                mine = {member["name"]: member["pending"] for member in left.get("consumers") or ()}
                if not mine.get(group.consumer.encode()):  # else they could not be taken over
                    commands.append(("XGROUP", "DELCONSUMER", key, group.name, group.consumer))
        for command in commands:
            await (await self._writer.put([command], OVERHEAD))


def _order(entry: bytes) -> tuple[int, int]:
    """An entry's id as numbers that compare in order of time."""
    milliseconds, _, number = entry.partition(b"-")
    return int(milliseconds), int(number)


def _headers(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    """Headers of an entry; those that are not ours to read count as none."""
    try:
        found = orjson.loads(fields.get(b"headers", b"{}"))
    except orjson.JSONDecodeError:
        return {}
    return {name: str(value) for name, value in found.items()} if isinstance(found, dict) else {}

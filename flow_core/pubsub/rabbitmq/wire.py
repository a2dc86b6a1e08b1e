"""How messages reach RabbitMQ: a connection with a channel for what goes and one for what comes.

aio-pika's robust connections are not used: they hold back work while they reconnect, `Connection` answers at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from flow_core.errors import AdapterError, AuthError, FlowError, Unavailable
from flow_core.net.address import Address
from flow_core.net.connection import Connection

__all__ = ["RabbitMqSession", "Sender", "Unroutable", "open_connection"]

#: Seconds between heartbeats, unless the URL says otherwise: a peer that vanished is noticed after half a minute.
HEARTBEAT: Final = 10
#: Most messages whose confirmation is awaited; further ones wait for their turn.
IN_FLIGHT: Final = 1000


class Unroutable(Exception):
    """RabbitMQ gave a message back: no queue takes it."""


@dataclass(slots=True, eq=False)
class RabbitMqSession:
    """A connection and what is open on it; the parts are aio-pika's."""

    connection: Any
    sending: Any
    taking: Any
    exchange: Any
    reply_queue: asyncio.Future[str] | None = None
    consumers: dict[Any, Any] = field(default_factory=dict)

    async def close(self) -> None:
        """Disconnect, channels included."""
        await self.connection.close()


def open_connection(
    address: Address, owner: str, *, exchange: str, prefetch: int, timeout: float,
    resume: Callable[[RabbitMqSession], Awaitable[None]], lost: Callable[[str], None],
) -> Connection[RabbitMqSession]:  # fmt: skip
    """Sessions with their channels open and their subscriptions made (``resume``).

    ``lost`` is called with the reason when one is lost. Raises ImportError when aio-pika is missing.
    """
    try:
        import aio_pika
    except ImportError as error:
        raise ImportError(f"{owner} needs aio-pika: pip install 'flow-core[rabbitmq]'") from error
    url = _beating(address.urls[0])

    async def connect() -> RabbitMqSession:
        connection = None
        try:
            connection = await aio_pika.connect(
                url, timeout=timeout, client_properties={"connection_name": "flow-core"}
            )
            session = await _opened(connection, exchange, prefetch)
            for part in (parts := (connection, session.sending, session.taking)):
                part.close_callbacks.add(lambda _, error=None, *__: ended(session, error))
            await resume(session)
            if any(part.is_closed for part in parts):
                raise ConnectionError("closed while it was opened")
        except BaseException as error:
            if connection is not None:
                await _shut(connection)
            if not isinstance(error, Exception):
                raise
            failure = _refusal(error, address)
            raise failure from failure.__cause__
        return session

    def ended(session: RabbitMqSession, error: Any) -> None:
        if session is shared.current:
            reason = address.hide(error or "closed")
            shared.lost(session, reason)
            lost(f"connection to {address} lost ({reason})")

    shared: Connection[RabbitMqSession] = Connection(address.shown, connect, RabbitMqSession.close, timeout=timeout)
    return shared


def _beating(url: str) -> str:
    """The URL with our heartbeat, unless it asks for another."""
    return url if "heartbeat=" in url else f"{url}{'&' if '?' in url else '?'}heartbeat={HEARTBEAT}"


async def _opened(connection: Any, exchange: str, prefetch: int) -> RabbitMqSession:
    """Channels for what goes and for what comes: the broker closes a channel for a mistake made on it."""
    sending = await connection.channel(on_return_raises=True)
    taking = await connection.channel()
    await taking.set_qos(prefetch_count=prefetch)
    return RabbitMqSession(connection, sending, taking, await _exchange(sending, exchange))


async def _exchange(channel: Any, name: str) -> Any:
    """The exchange to publish to. RabbitMQ's own are there, others are declared: durable, of type topic."""
    import aio_pika

    if not name:
        return channel.default_exchange
    if name.startswith("amq."):
        return await channel.get_exchange(name, ensure=False)
    return await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, durable=True)


async def _shut(connection: Any) -> None:
    try:
        await connection.close()
    except Exception:
        pass  # it is of no use any more


def _refusal(error: Exception, address: Address) -> FlowError:
    names = {kind.__name__ for kind in type(error).__mro__}
    text = address.hide(f"{type(error).__name__}: {error}")
    failure: FlowError
    if names & {"AuthenticationError", "ProbableAuthenticationError"} or "ACCESS_REFUSED" in text:
        failure = AuthError(f"{address} refuses this user: {text}", fix="check user, password and permissions")
    elif "PRECONDITION_FAILED" in text:
        failure = AdapterError(f"{address}: {text}", fix="an exchange or queue of this name exists with other settings")
    else:
        failure = Unavailable(text)
    failure.__cause__ = address.cause(error)
    return failure


class Sender:
    """Publishes with confirmation. Every message goes in a task of its own: aio-pika must not be cancelled meanwhile,
    a message given back to nobody would take its channel down."""

    def __init__(self, connection: Connection[RabbitMqSession], address: Address) -> None:
        self._connection = connection
        self._address = address
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self._tasks: set[asyncio.Task[None]] = set()

    async def send(self, message: Any, routing_key: str, *, direct: bool = False) -> asyncio.Task[None]:
        """Start sending; await the task (shielded) for the confirmation.

        ``direct``: to the queue of this name. The task raises `Unroutable`, `Unavailable` when the broker refused or
        the connection was lost, and `AdapterError`.
        """
        await self._room.acquire()
        try:
            session = await self._connection.get()
        except BaseException:
            self._room.release()
            raise
        exchange = session.sending.default_exchange if direct else session.exchange
        task = asyncio.get_running_loop().create_task(self._confirmed(session, exchange, message, routing_key))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        await asyncio.sleep(0)  # it has its place in the channel's line now: order is kept
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._room.release()
        if not task.cancelled():
            task.exception()  # seen, even when nobody waits any more

    async def _confirmed(self, session: RabbitMqSession, exchange: Any, message: Any, routing_key: str) -> None:
        from aio_pika.exceptions import AMQPError, DeliveryError, PublishError

        try:
            await exchange.publish(message, routing_key, mandatory=True)
        except PublishError:
            raise Unroutable from None
        except DeliveryError as error:
            raise Unavailable(f"{self._address} refused a message for {routing_key!r}: {error}") from error
        except (AMQPError, OSError, RuntimeError, asyncio.CancelledError) as error:
            reason = self._address.hide(f"{type(error).__name__}: {error}")
            self._connection.lost(session, reason)
            failure = Unavailable(f"connection to {self._address} lost ({reason}); the message may have arrived")
            raise failure from (self._address.cause(error) if isinstance(error, Exception) else None)

    async def close(self) -> None:
        """Wait for what is under way; the connection is closed by now."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

"""How commands reach Redis: a connection for writing, one for waiting, and many callers' commands in one round trip.

redis-py's own retries are off: a repeated XADD would be a second message that nobody knows of.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from flow_core.errors import AdapterError, AuthError, FlowError, Unavailable
from flow_core.net.address import Address
from flow_core.net.connection import Connection

__all__ = ["Command", "CommandBatcher", "RedisSession", "ended", "open_connection", "translated"]

#: Most commands and bytes of one round trip.
BATCH: Final = 512
BATCH_BYTES: Final = 8 << 20
#: Bytes that may wait to be sent; more are refused.
MAX_PENDING: Final = 64 << 20
#: Seconds that a read waits for messages before it asks again; longer ones would hide a peer that vanished.
BLOCK: Final = 10.0

#: Seconds until a task is cancelled again.
NUDGE: Final = 0.02

#: Names of redis-py's errors that time may mend, and those that name the user.
_PASSING: Final = frozenset(
    {"BusyLoadingError", "ClusterDownError", "MasterDownError", "OutOfMemoryError", "ReadOnlyError", "TryAgainError"}
)
_AUTH: Final = frozenset({"AuthenticationError", "AuthenticationWrongNumberOfArgsError", "NoPermissionError"})
#: The same as Redis says them, for those without a class of their own.
_PASSING_WORDS: Final = ("LOADING", "MISCONF", "NOREPLICAS", "OOM", "READONLY")

Command = tuple[Any, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RedisSession:
    """One connection for commands and one for reads that wait; each is a client of redis-py."""

    commands: Any
    reads: Any

    async def close(self) -> None:
        """Disconnect both. redis-py connects again when they are used: call it once more by whoever did that."""
        for part in (self.commands, self.reads):
            await part.aclose()
            await part.connection_pool.disconnect()


def open_connection(address: Address, owner: str, timeout: float) -> Connection[RedisSession]:
    """Sessions that are checked by a PING each. Raises ImportError when redis-py is missing."""
    try:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError as error:
        raise ImportError(f"{owner} needs redis: pip install 'flow-core[redis]'") from error

    def client(patience: float) -> Any:
        return Redis.from_url(
            address.urls[0], socket_timeout=patience, socket_connect_timeout=timeout, socket_keepalive=True,
            retry=Retry(NoBackoff(), 0), protocol=2, client_name="flow-core",
        )  # fmt: skip

    async def connect() -> RedisSession:
        session = RedisSession(client(timeout), client(BLOCK + timeout))
        try:
            await session.commands.ping()
            await session.reads.ping()
        except BaseException as error:
            await session.close()
            if not isinstance(error, Exception):
                raise
            failure = translated(error, address, f"no connection to {address}")
            if isinstance(failure, Unavailable):
                failure = Unavailable(address.hide(f"{type(error).__name__}: {error}"))
            failure.__cause__ = address.cause(error)
            raise failure from failure.__cause__
        return session

    return Connection(address.shown, connect, RedisSession.close, timeout=2 * timeout)


def translated(error: BaseException, address: Address, what: str) -> FlowError:
    """What an error of redis-py or of the socket means."""
    if isinstance(error, FlowError):
        return error
    text = address.hide(f"{what}: {error}" if str(error) else f"{what}: {type(error).__name__}")
    names = {kind.__name__ for kind in type(error).__mro__}
    failure: FlowError
    if names & _AUTH or str(error).startswith(("NOAUTH", "NOPERM", "WRONGPASS")):
        failure = AuthError(text)
    elif names & _PASSING or "ResponseError" not in names or str(error).startswith(_PASSING_WORDS):
        failure = Unavailable(text)
    else:
        failure = AdapterError(text)
    failure.__cause__ = address.cause(error)
    return failure


async def ended(task: asyncio.Task[None] | None) -> None:
    """Cancel a task that uses redis-py, and return when it has ended.

    More than once, as redis-py swallows a cancellation that comes while it takes a connection from its pool.
    """
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=NUDGE)


@dataclass(slots=True, eq=False)
class _Entry:
    commands: Sequence[Command]
    size: int
    future: asyncio.Future[Any]


class CommandBatcher:
    """Sends the commands of many callers: those that come while a round trip is under way go together in the next.

    So one connection serves all, and a Redis that writes to disk before it answers writes once for many.

    Args:
        connection: to Redis.
        address: for errors.
        timeout: seconds that a round trip may take.
        replicas: how many replicas must have a batch before it counts.
    """

    def __init__(self, connection: Connection[RedisSession], address: Address, timeout: float, replicas: int) -> None:
        self._connection = connection
        self._address = address
        self._timeout = timeout
        self._replicas = replicas
        self._queue: deque[_Entry] = deque()
        self._pending = 0
        self._task: asyncio.Task[None] | None = None

    async def put(self, commands: Sequence[Command], size: int) -> asyncio.Future[Any]:
        """Queue ``commands`` of about ``size`` bytes; the future has the answer to the first, or the first error.

        Raises:
            Unavailable: there is no connection, or too much waits already.
        """
        await self._connection.get()
        if self._pending > MAX_PENDING:
            raise Unavailable(f"{self._address} is slow: {self._pending} bytes wait to be sent")
        entry = _Entry(commands, size, asyncio.get_running_loop().create_future())
        self._queue.append(entry)
        self._pending += size
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._drain())
        return entry.future

    async def close(self) -> None:
        """Fail what waits."""
        await ended(self._task)
        self._fail(list(self._queue), Unavailable(f"{self._address}: the client was closed"))
        self._queue.clear()

    async def _drain(self) -> None:
        try:
            while self._queue:
                batch = self._take()
                try:
                    await self._send(batch)
                except asyncio.CancelledError:
                    self._fail(batch, Unavailable(f"{self._address}: the client was closed"))
                    raise
                except Exception as error:
                    self._fail(batch, translated(error, self._address, f"{self._address} did not answer"))
        finally:
            self._task = None

    def _take(self) -> list[_Entry]:
        batch: list[_Entry] = []
        size = 0
        while self._queue and len(batch) < BATCH and (not batch or size + self._queue[0].size <= BATCH_BYTES):
            entry = self._queue.popleft()
            self._pending -= entry.size
            if not entry.future.done():  # else its caller has gone
                batch.append(entry)
                size += entry.size
        return batch

    async def _send(self, batch: list[_Entry]) -> None:
        if not batch:
            return
        session = await self._connection.get()
        pipeline = session.commands.pipeline(transaction=False)
        for entry in batch:
            for command in entry.commands:
                pipeline.execute_command(*command)
        if self._replicas:
            pipeline.execute_command("WAIT", self._replicas, max(1, int(self._timeout * 500)))
        try:
            async with asyncio.timeout(self._timeout):
                answers = await pipeline.execute(raise_on_error=False)
        except Exception as error:
            self._connection.lost(session, self._address.hide(f"{type(error).__name__}: {error}"))
            raise
        finally:
            if session is not self._connection.current:
                await session.close()
        copies = answers.pop() if self._replicas else 0
        if isinstance(copies, int) and copies < self._replicas:
            raise Unavailable(f"stored, but {copies} replicas have it, not {self._replicas}; a retry stores it again")
        self._settle(batch, answers)

    def _settle(self, batch: list[_Entry], answers: list[Any]) -> None:
        start = 0
        for entry in batch:
            mine = answers[start : start + len(entry.commands)]
            start += len(entry.commands)
            failed = next((answer for answer in mine if isinstance(answer, Exception)), None)
            if entry.future.done():
                continue
            if failed is None:
                entry.future.set_result(mine[0])
            else:
                entry.future.set_exception(translated(failed, self._address, f"{self._address} refused a command"))

    def _fail(self, batch: list[_Entry], error: FlowError) -> None:
        for entry in batch:
            if not entry.future.done():
                copy = type(error)(error.message)
                copy.__cause__ = error.__cause__
                entry.future.set_exception(copy)

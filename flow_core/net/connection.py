"""`Link`: one connection, made when first needed, shared by all, made anew with backoff when it is lost.

Lives here: when to connect, who waits for it, and what those are told who come while there is none. Does not live here:
any protocol: how to open and to close a connection comes in as two functions.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from copy import copy
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from flow_core.errors import FlowError, Unavailable

__all__ = ["Backoff", "Link"]

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Seconds a connection gets to say goodbye.
FAREWELL: Final = 2.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between attempts to connect: they double from ``initial`` up to ``maximum``, each shortened by up to half
    at random, so that the clients of a broker that restarts do not all come at once."""

    initial: float = 0.05
    maximum: float = 5.0

    def delay(self, failures: int, chance: float) -> float:
        """After so many ``failures`` in a row, at least one; ``chance`` from 0 to 1."""
        return min(self.maximum, self.initial * 2.0 ** min(failures - 1, 60)) * (0.5 + chance / 2)


class Link(Generic[T]):
    """Holds at most one connection of type ``T``.

    While there is none, `get` makes one attempt that all callers share. After a failure nobody tries again until the
    backoff is over: callers are told so at once, with the time to come back in ``retry_after``. So a broker that is
    away fails steps fast, and the engine's own retries find it again. With `keep` the link reconnects by itself.

    Args:
        name: what is connected to, for errors and logs; without secrets.
        connect: makes a connection. What it raises must be free of secrets.
        disconnect: closes one, lost or not; its errors are dropped.
        timeout: seconds that ``connect`` may take.
        backoff: see `Backoff`.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Awaitable[T]],
        disconnect: Callable[[T], Awaitable[None]],
        *,
        timeout: float = 5.0,
        backoff: Backoff = Backoff(),
    ) -> None:
        self.name = name
        self.connects = 0
        self._connect = connect
        self._disconnect = disconnect
        self._timeout = timeout
        self._backoff = backoff
        self._connection: T | None = None
        self._opening: asyncio.Future[T] | None = None
        self._opener: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._kept = self._closed = False
        self._failures = 0
        self._since = self._not_before = 0.0
        self._error: Exception = Unavailable("not tried yet")

    @property
    def connection(self) -> T | None:
        """The connection, when there is one now."""
        return self._connection

    async def get(self) -> T:
        """The connection. Raises `Unavailable` when there is none, or another `FlowError` that ``connect`` raised."""
        if self._connection is not None:
            return self._connection
        if self._closed:
            raise Unavailable(f"{self.name}: the client is closed")
        if self._opening is None:
            loop = asyncio.get_running_loop()
            left = self._not_before - loop.time()
            if left > 0:
                raise self._refusal(left)
            self._opening = loop.create_future()
            self._opening.add_done_callback(_look_at)
            self._opener = self._spawn(self._open(self._opening))
        return await asyncio.shield(self._opening)

    def keep(self, kept: bool) -> None:
        """From now on reconnect without being asked (somebody waits for messages), or no longer."""
        self._kept = kept
        self._tend()

    def lost(self, connection: T, reason: object) -> None:
        """``connection`` is gone. The next `get` makes another. A connection that is not the present one: no effect."""
        if connection is not self._connection:
            return
        self._connection = None
        self._spawn(self._leave(connection))
        if self._closed:
            return
        now = asyncio.get_running_loop().time()
        self._error = Unavailable(f"it was lost: {reason}")
        if now - self._since > self._backoff.maximum:
            self._failures, self._not_before = 0, now
        else:  # it came and went: a server that refuses us after the greeting is not to be stormed
            self._failed(now)
        log.warning("connection to %s lost: %s", self.name, reason)
        self._tend()

    async def close(self) -> None:
        """Disconnect, and end every wait for a connection with `Unavailable`. Closing twice is fine."""
        self._closed, self._kept = True, False
        opening, self._opening = self._opening, None
        if opening is not None and not opening.done():
            opening.set_exception(Unavailable(f"{self.name}: the client is closed"))
        for task in (self._opener, self._keeper):
            if task is not None:
                task.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            self._spawn(self._leave(connection))
        tasks = self._tasks - {asyncio.current_task()}
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- inner ------------------------------------------------------------------------------------------------------

    async def _open(self, opening: asyncio.Future[T]) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                connection = await self._connect()
        except Exception as error:
            now = asyncio.get_running_loop().time()
            self._error = error
            self._failed(now)
            self._opening = None
            if not opening.done():
                opening.set_exception(self._refusal(self._not_before - now))
            self._tend()
            return
        if opening.done():  # closed meanwhile
            await self._leave(connection)
            return
        self._connection, self._opening = connection, None
        self._since = asyncio.get_running_loop().time()
        self.connects += 1
        opening.set_result(connection)
        log.log(logging.INFO if self._failures or self.connects > 1 else logging.DEBUG, "connected to %s", self.name)

    def _refusal(self, retry_after: float) -> Exception:
        """What a caller is told who comes before the next attempt is due."""
        error = self._error
        if isinstance(error, FlowError) and not isinstance(error, Unavailable):
            return copy(error)
        if isinstance(error, TimeoutError):
            reason = f"no answer within {self._timeout:g} s"
        elif isinstance(error, Unavailable):
            reason = error.message
        else:
            reason = f"{type(error).__name__}: {error}"
        refusal = Unavailable(f"no connection to {self.name}: {reason}", retry_after=retry_after)
        refusal.__cause__ = error.__cause__ if isinstance(error, Unavailable) else error
        return refusal

    def _failed(self, now: float) -> None:
        self._failures += 1
        self._not_before = now + self._backoff.delay(self._failures, random.random())

    def _tend(self) -> None:
        if self._kept and self._keeper is None and self._connection is None and not self._closed:
            self._keeper = self._spawn(self._keep_trying())

    async def _keep_trying(self) -> None:
        try:
            loop = asyncio.get_running_loop()
            while self._kept and self._connection is None and not self._closed:
                await asyncio.sleep(max(0.0, self._not_before - loop.time()))
                try:
                    await self.get()
                except FlowError as error:
                    log.debug("%s", error)
        finally:
            self._keeper = None

    async def _leave(self, connection: T) -> None:
        try:
            async with asyncio.timeout(FAREWELL):
                await self._disconnect(connection)
        except Exception as error:  # it is gone either way
            log.debug("closing the connection to %s: %s", self.name, type(error).__name__)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _look_at(future: asyncio.Future[Any]) -> None:
    """Nobody may be left to see why it failed: then that is no news for the loop's error handler."""
    if not future.cancelled():
        future.exception()

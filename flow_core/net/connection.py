"""`Connection`: one connection that all callers share, made when first needed, and made again when it is lost.

`CircuitBreaker` decides when an attempt may be made, and what callers are told in between. Neither knows a protocol:
how to open and how to close a connection come in as two functions.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from copy import copy
from typing import Any, Final, Generic, TypeVar

from flow_core.errors import FlowError, Unavailable
from flow_core.model.backoff import Backoff

__all__ = ["CircuitBreaker", "Connection"]

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Seconds a connection gets to say goodbye.
FAREWELL: Final = 2.0
BACKOFF: Final = Backoff()


class CircuitBreaker:
    """Keeps callers away from a server that can't be reached, until it can be reached again.

    Callers pass until somebody reports a failure. From then on they are refused at once, with the time to come back in
    ``retry_after``. When that time is over, one attempt is made for all who come; it lets them pass, or trips the
    breaker again for longer.

    Example::

        breaker = CircuitBreaker("shop:443", connect_and_hang_up)
        await breaker.enter()  # raises Unavailable while the shop is away
        try:
            reply = await call()
        except OSError as error:
            breaker.failed(error)

    Args:
        name: what can't be reached, for errors; without secrets.
        attempt: tries to reach it, and raises when it can't.
        backoff: the delays between attempts.
        chance: gives numbers from 0 to 1, see `Backoff.delay`.
        tripped: whether an attempt has to succeed before the first caller passes.
    """

    def __init__(
        self, name: object, attempt: Callable[[], Awaitable[None]], *, backoff: Backoff = BACKOFF,
        chance: Callable[[], float] = random.random, tripped: bool = False,
    ) -> None:  # fmt: skip
        #: Whether `enter` has to be awaited before connecting.
        self.tripped = tripped
        self.failures = 0
        self.error: Exception = Unavailable("not tried yet")
        self._name = name
        self._attempt = attempt
        self._backoff = backoff
        self._chance = chance
        self._due = 0.0
        self._attempting: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def seconds_left(self) -> float:
        """Seconds until the next attempt may be made, 0 when it may be made now."""
        return max(0.0, self._due - asyncio.get_running_loop().time())

    async def enter(self) -> None:
        """Return when the server can be reached. Raises `Unavailable` when it can't."""
        if self._closed:
            raise Unavailable(f"{self._name}: the client is closed")
        if not self.tripped:
            return
        if self._attempting is None:
            if self.seconds_left:
                raise self._refusal()
            self._attempting = asyncio.get_running_loop().create_task(self._try())
        await asyncio.wait({self._attempting})  # a caller that is cancelled does not cancel it for the others
        if self._closed:
            raise Unavailable(f"{self._name}: the client is closed")
        if self.tripped:
            raise self._refusal()

    def failed(self, error: Exception, *, after_success: bool = False) -> None:
        """The server could not be reached. Of callers that fail together only the first counts.

        ``after_success``: it could be, but not for long: this failure counts on from those before.
        """
        if self.tripped and self.seconds_left:
            return
        self.error = error
        self.failures = self.failures + 1 if self.tripped or after_success else 1
        self.tripped = True
        self._due = asyncio.get_running_loop().time() + self._backoff.delay(self.failures, self._chance())

    def lost(self, error: Exception) -> None:
        """What was reached for a good while is gone; an attempt may be made at once."""
        self.tripped, self.error, self.failures = True, error, 0
        self._due = asyncio.get_running_loop().time()

    async def close(self) -> None:
        """End the attempt under way, and refuse all who wait for it or come later."""
        self._closed = True
        attempting = self._attempting
        if attempting is not None and attempting is not asyncio.current_task():
            attempting.cancel()
            await asyncio.wait({attempting})

    async def _try(self) -> None:
        try:
            await self._attempt()
            self.tripped = False
        except Exception as error:
            self.failed(error)
        finally:
            self._attempting = None

    def _refusal(self) -> Unavailable:
        error = self.error
        reason = error.message if isinstance(error, FlowError) else f"{type(error).__name__}: {error}"
        refusal = Unavailable(f"no connection to {self._name}: {reason}", retry_after=self.seconds_left)
        refusal.__cause__ = error.__cause__ if isinstance(error, Unavailable) else error
        return refusal


class Connection(Generic[T]):
    """Holds at most one connection of type ``T``.

    While there is none, `get` makes one attempt that all callers share. After a failure nobody tries again until the
    delay of a `CircuitBreaker` is over; callers are told so at once. So a broker that is away fails steps fast, and the
    engine's own retries find it again. With `keep` the connection is made again without being asked.

    Example::

        connection = Connection("redis://shop", open_session, Session.close)
        session = await connection.get()
        connection.lost(session, "the peer hung up")  # the next get() opens another session

    Args:
        name: what is connected to, for errors and logs; without secrets.
        connect: makes a connection. What it raises must be free of secrets.
        disconnect: closes one, lost or not; its errors are dropped.
        timeout: seconds that ``connect`` may take.
        backoff: the delays between attempts. A connection that is lost within the longest of them counts as a failed
            attempt: a server that drops us after the greeting is not to be stormed.
    """

    def __init__(
        self, name: str, connect: Callable[[], Awaitable[T]], disconnect: Callable[[T], Awaitable[None]], *,
        timeout: float = 5.0, backoff: Backoff = BACKOFF,
    ) -> None:  # fmt: skip
        self.name = name
        #: How often a connection was made.
        self.connects = 0
        self._connect = connect
        self._disconnect = disconnect
        self._timeout = timeout
        self._steady = backoff.longest
        self._breaker = CircuitBreaker(name, self._open, backoff=backoff, tripped=True)
        self._current: T | None = None
        self._since = 0.0
        self._keeper: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._kept = self._closed = False

    @property
    def current(self) -> T | None:
        """The connection, when there is one now."""
        return self._current

    async def get(self) -> T:
        """The connection. Raises `Unavailable` when there is none, or another `FlowError` that ``connect`` raised."""
        while self._current is None:
            try:
                await self._breaker.enter()
            except Unavailable:
                error = self._breaker.error
                if self._closed or isinstance(error, Unavailable) or not isinstance(error, FlowError):
                    raise
                raise copy(error) from error.__cause__
        return self._current

    def keep(self, kept: bool) -> None:
        """From now on reconnect without being asked (somebody waits for messages), or no longer."""
        self._kept = kept
        self._tend()

    def lost(self, connection: T, reason: object) -> None:
        """``connection`` is gone. The next `get` makes another. A connection that is not the present one: no effect."""
        if connection is not self._current:
            return
        self._current = None
        self._spawn(self._leave(connection))
        if self._closed:
            return
        error = Unavailable(f"it was lost: {reason}")
        if asyncio.get_running_loop().time() - self._since > self._steady:
            self._breaker.lost(error)
        else:
            self._breaker.failed(error, after_success=True)
        log.warning("connection to %s lost: %s", self.name, reason)
        self._tend()

    async def close(self) -> None:
        """Disconnect, and end every wait for a connection with `Unavailable`. Closing twice is fine."""
        self._closed, self._kept = True, False
        connection, self._current = self._current, None
        if connection is not None:
            self._spawn(self._leave(connection))
        if self._keeper is not None:
            self._keeper.cancel()
        await self._breaker.close()
        await asyncio.gather(*self._tasks - {asyncio.current_task()}, return_exceptions=True)

    # --- inner ------------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                connection = await self._connect()
        except TimeoutError as error:
            raise Unavailable(f"no answer within {self._timeout:g} s") from error
        if self._closed:  # a library may swallow the cancellation of its attempt
            await self._leave(connection)
            return
        self._current = connection
        self._since = asyncio.get_running_loop().time()
        self.connects += 1
        again = self._breaker.failures or self.connects > 1
        log.log(logging.INFO if again else logging.DEBUG, "connected to %s", self.name)

    def _tend(self) -> None:
        if self._kept and self._keeper is None and self._current is None and not self._closed:
            self._keeper = self._spawn(self._keep_trying())

    async def _keep_trying(self) -> None:
        try:
            while self._kept and self._current is None and not self._closed:
                await asyncio.sleep(self._breaker.seconds_left)
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

"""Connections behind `PostgresStore`: which server is meant, a connection that comes back, what errors mean.

A connection that failed is dropped, and the next use makes a new one: that is all there is to healing, because nothing
but prepared statements lives in a connection.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from flow_core.errors import (
    FlowError,
    InternalError,
    InvalidOption,
    LeaseLost,
    StoreCorrupt,
    StoreFull,
    StoreTimeout,
    StoreUnavailable,
)
from flow_core.model.backoff import Backoff
from flow_core.stores.postgres.schema import ENDED_EPOCH

try:
    import asyncpg
except ImportError as error:
    raise ImportError("PostgresStore needs asyncpg: pip install 'flow-core[postgres]'") from error

__all__ = ["BROKEN", "PostgresAddress", "PostgresConnection", "PostgresListener", "of_value", "state_of", "translated"]

#: What a connection raises when the server, the network or asyncpg says no.
BROKEN: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)

_HOSTS: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._%-]*)(:\d{1,5})?").fullmatch
_FIX: Final = "write postgresql://user:password@host:5432/database, with special characters percent-encoded"
_SETTINGS: Final = {
    "application_name": "flow-core",
    "default_transaction_isolation": "read committed",  # repeatable reads would not see what a lock waited for
    "jit": "off",  # compiling one of our statements takes longer than running it
    "search_path": "pg_catalog",
}
#: The server says no to who we are or what we want: nothing that passes by itself.
_REFUSED: Final = ("28", "3D", "42501")
#: Seconds between two attempts of the listener to connect: at first, and at most.
_BACKOFF: Final = Backoff(0.1, 5.0)


class PostgresAddress:
    """Where the server is. Its text names host and database; password and user are in no text and no error."""

    def __init__(self, url: str) -> None:
        """Raises `InvalidOption`, which shows nothing of the URL: a part of a password may stand anywhere in it."""
        try:
            parts = urlsplit(url)
        except ValueError:
            raise InvalidOption("the URL of the PostgreSQL server can't be read", fix=_FIX) from None
        _, _, hosts = parts.netloc.rpartition("@")
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        hosts = query.get("host", "") or hosts
        sound = "host" in query or all(map(_HOSTS, hosts.split(",")))
        if parts.scheme not in ("postgresql", "postgres"):
            raise InvalidOption("that is no URL of a PostgreSQL server", fix=_FIX)
        if parts.netloc.count("@") > 1 or "@" in parts.path + parts.query or parts.fragment or not sound:
            raise InvalidOption("the URL of the PostgreSQL server can't be read", fix=_FIX)
        if "port" in query:
            hosts = f"{hosts}:{query['port']}"
        database = query.get("dbname") or query.get("database") or unquote(parts.path.lstrip("/"))
        named = f"database {database!r}" if database else "the user's own database"
        self._text = f"{named} at {unquote(hosts) or 'the default place'}"
        self._url = url
        secrets = {parts.password or "", query.get("password", ""), query.get("sslpassword", "")}
        self._secrets = [each for each in {*secrets, *map(unquote, secrets)} if len(each) > 2]

    def __repr__(self) -> str:
        return self._text

    def clean(self, text: object) -> str:
        """A text without passwords. No known error has one in it; this makes sure."""
        told = str(text)
        for secret in self._secrets:
            told = told.replace(secret, "***")
        return told

    async def connect(self, timeout: float) -> Any:
        """A connection whose commits are durable when they return. Raises what asyncpg does, and `InvalidOption`."""
        connection = await asyncpg.connect(self._url, timeout=timeout, server_settings=_SETTINGS)
        try:
            if connection.get_server_version().major < 12:
                raise InvalidOption(f"{self} is older than PostgreSQL 12", fix="use a newer server")
            await connection.execute(
                "SELECT set_config('synchronous_commit', 'on', false)"
                " WHERE current_setting('synchronous_commit') = 'off'",
                timeout=timeout,
            )
        except BaseException:
            connection.terminate()
            raise
        return connection


def state_of(error: BaseException) -> str:
    """The SQLSTATE of what the server said; empty when it is not from the server."""
    return str(error.sqlstate or "") if isinstance(error, asyncpg.PostgresError) else ""


def bad_value(error: BaseException) -> bool:
    """Whether a parameter could not be sent; nothing reached the server then."""
    return (
        isinstance(error, asyncpg.InterfaceError)
        and isinstance(error, ValueError)
        and not isinstance(error, asyncpg.ClientConfigurationError)
    )


def of_value(error: BaseException) -> bool:
    """Whether a value is to blame, and not the connection: the same again would fail again."""
    return state_of(error)[:2] in ("22", "54") or bad_value(error)


def translated(error: BaseException, place: PostgresAddress, *, opening: bool = False) -> FlowError:
    """The error of ours that tells what to do about one of asyncpg's, the server's or the network's."""
    state = state_of(error)
    said = place.clean(error.args[0] if state and error.args else error) or type(error).__name__
    if state == ENDED_EPOCH:
        return LeaseLost("the epoch is over")
    if state == "53100":
        return StoreFull(f"no space for {place}", fix="free some on the server; the store goes on by itself")
    if state.startswith("XX0") and state != "XX000":
        return StoreCorrupt(f"{place} is damaged: {said}", fix="restore a backup")
    if state in ("3F000", "42P01", "42703", "42883"):
        return StoreCorrupt(f"tables of flow-core are missing in {place}: {said}", fix="restore a backup")
    if state in ("55P03", "57014") or isinstance(error, TimeoutError):
        return StoreTimeout(f"{place} did not answer in time")
    if of_value(error):
        # asyncpg shows the value, its cause only what is wrong with it.
        return InvalidOption(f"{place} can't keep a value: {said if state else error.__cause__ or 'wrong type'}")
    if state.startswith("42") and state != "42501":
        return InternalError(f"{place}: {said}")
    if opening and state.startswith(_REFUSED):
        return InvalidOption(f"{place} refuses: {said}", fix="check user, password and database of the URL, and rights")
    if opening and isinstance(error, (asyncpg.ClientConfigurationError, UnicodeError, ValueError)):
        return InvalidOption(f"the URL for {place} can't be used: {said}", fix=_FIX)
    return StoreUnavailable(f"{place} can't be used now: {said}")


class PostgresConnection:
    """One connection for one purpose: used by one caller at a time, made when it is first needed.

    ``timeout``: seconds for connecting and for each statement. Raises what asyncpg raises, see `translated`.
    """

    def __init__(self, place: PostgresAddress, timeout: float) -> None:
        self._place = place
        self._timeout = timeout
        self._connection: Any = None
        self._lock = asyncio.Lock()

    async def run(self, method: str, query: str, *values: Any) -> Any:
        """``fetch``, ``fetchrow``, ``fetchval`` or ``execute`` one statement, which commits by itself."""
        async with self._lock:
            connection = await self._connected()
            try:
                return await getattr(connection, method)(query, *values, timeout=self._timeout)
            except BaseException as error:
                # When the server has answered, the connection is as good as it was, or closed already.
                if not isinstance(error, asyncpg.PostgresError) and not bad_value(error):
                    self._drop()
                raise

    async def with_connection(self, work: Callable[[Any], Any]) -> Any:
        """Await ``work(connection)``; whatever goes wrong in it costs the connection."""
        async with self._lock:
            connection = await self._connected()
            try:
                return await asyncio.wait_for(work(connection), self._timeout)
            except BaseException:
                self._drop()
                raise

    async def _connected(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._place.connect(self._timeout)
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def close(self) -> None:
        """Wait for who uses it, then close."""
        async with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                await close(connection)


async def close(connection: Any) -> None:
    """Say good-bye when the server still listens, hang up when not."""
    try:
        await connection.close(timeout=5)
    except BROKEN:
        connection.terminate()


class PostgresListener:
    """Hears what others announce and calls ``heard(text)``; ``heard("")`` after a gap, in which all may be missed."""

    def __init__(self, place: PostgresAddress, timeout: float, channel: str, heard: Callable[[str], None]) -> None:
        self._place = place
        self._timeout = timeout
        self._channel = channel
        self._heard = heard
        self._task = asyncio.get_running_loop().create_task(self._listen(), name="flow-core-listen")
        self.listening = asyncio.Event()

    async def _listen(self) -> None:
        failures = 0
        while True:
            try:
                connection = await self._place.connect(self._timeout)
            except (*BROKEN, ValueError):
                failures += 1
                await asyncio.sleep(_BACKOFF.delay(failures))
                continue
            try:
                await self._hear(connection)
                failures = 0
            except BROKEN:
                await asyncio.sleep(_BACKOFF.delay(failures + 1))
            finally:
                self.listening.clear()
                connection.terminate()

    async def _hear(self, connection: Any) -> None:
        """Until the connection is gone."""
        gone = asyncio.Event()
        connection.add_termination_listener(lambda _: gone.set())
        await connection.add_listener(self._channel, lambda _connection, _pid, _channel, text: self._heard(text))
        self.listening.set()
        self._heard("")
        await gone.wait()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

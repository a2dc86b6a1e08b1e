"""`Reader`: waits for new entries of Redis streams, and hands them on in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from flow_core.net.address import Address
from flow_core.net.connection import Connection
from flow_core.pubsub.redis.wire import BLOCK, RedisSession, ended, translated

__all__ = ["Group", "Reader"]

log = logging.getLogger(__name__)

#: Most entries of one stream that one read returns.
COUNT: Final = 128
#: Seconds until the next try after an error that is not the connection's.
PAUSE: Final = 1.0
NEW: Final = b">"
START: Final = b"0-0"

#: Gets key, id and fields of an entry. Must not raise.
Taker = Callable[[str, bytes, dict[bytes, bytes]], None]


class Group:
    """A consumer group: its members share the entries, and what a member took and did not finish goes to another.

    Args:
        name, consumer: of the group, and of this member; the latter must be its own.
        claim: seconds after which an unfinished entry of another member is taken over.
        most: entries under way at a time.
    """

    def __init__(self, name: str, consumer: str, claim: float, most: int) -> None:
        self.name = name
        self.consumer = consumer
        self.claim = claim
        self.most = most
        self._under_way: set[tuple[str, bytes]] = set()
        self._room = asyncio.Event()
        self._room.set()

    def take(self, key: str, entry: bytes) -> bool:
        """Whether an entry is new here; it is under way from now on."""
        if (key, entry) in self._under_way:
            return False
        self._under_way.add((key, entry))
        if len(self._under_way) >= self.most:
            self._room.clear()
        return True

    def done(self, key: str, entry: bytes) -> None:
        """An entry is no longer under way."""
        self._under_way.discard((key, entry))
        if len(self._under_way) < self.most:
            self._room.set()

    async def room(self) -> None:
        """Wait until fewer than ``most`` are under way."""
        await self._room.wait()

    @property
    def left(self) -> int:
        """How many more may be under way; at least 1."""
        return max(1, self.most - len(self._under_way))


class Reader:
    """Reads the streams that are watched, one read at a time on a connection of its own.

    A change of what is watched breaks off the read that waits: it is begun again from the same positions.
    """

    def __init__(
        self, connection: Connection[RedisSession], address: Address, taker: Taker, group: Group | None = None
    ) -> None:
        self._connection = connection
        self._address = address
        self._taker = taker
        self._group = group
        self._positions: dict[str, bytes] = {}
        self._task: asyncio.Task[None] | None = None

    async def watch(self, key: str, after: bytes = START) -> None:
        """Hand on the entries of ``key`` that come after this id. Watched already: no effect."""
        if key in self._positions:
            return
        if self._group is not None:
            await self._join(await self._connection.get(), key, b"$")
        self._positions[key] = after
        await self._restart()

    async def unwatch(self, key: str) -> None:
        """No more entries of ``key``."""
        if self._positions.pop(key, None) is not None:
            await self._restart()

    async def close(self) -> None:
        self._positions.clear()
        await self._restart()

    async def _restart(self) -> None:
        task, self._task = self._task, None
        await ended(task)
        if self._positions and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while True:
            session = None
            try:
                session = await self._connection.get()
                await self._read(session)
                raise ConnectionError("somebody else noticed that the connection is lost")
            except Exception as error:
                failure = translated(error, self._address, "reading")
                pause = getattr(failure, "retry_after", None) or PAUSE
                if session is not None and not _is_answer(error):
                    self._connection.lost(session, self._address.hide(f"{type(error).__name__}: {error}"))
                    pause = 0.0
                elif session is not None:
                    log.warning("%s: %s", self._address, failure.message)
                if session is not None and session is not self._connection.current:
                    await session.close()
                await asyncio.sleep(pause)

    async def _read(self, session: RedisSession) -> None:
        """Read for as long as the connection lasts."""
        if self._group is None:
            while session is self._connection.current:
                self._hand_on(await session.reads.xread(self._positions, count=COUNT, block=int(BLOCK * 1000)))
            return
        await self._catch_up(session, self._group)
        loop = asyncio.get_running_loop()
        claimed = loop.time()
        while session is self._connection.current:
            await self._group.room()
            answer = await session.reads.xreadgroup(
                self._group.name, self._group.consumer, dict.fromkeys(self._positions, NEW), count=self._group.left,
                block=int(min(BLOCK, self._group.claim) * 1000),
            )  # fmt: skip
            self._hand_on(answer)
            if loop.time() - claimed >= self._group.claim:
                claimed = loop.time()
                await self._take_over(session, self._group)

    async def _catch_up(self, session: RedisSession, group: Group) -> None:
        """What was given to this member and never arrived, then what others left."""
        for key in tuple(self._positions):
            await self._join(session, key, START)  # the stream may be gone, and its group with it
            position = START
            while True:
                answer = await session.reads.xreadgroup(group.name, group.consumer, {key: position}, count=COUNT)
                entries = answer[0][1] if answer else []
                if not entries:
                    break
                position = entries[-1][0]
                self._hand_on(answer)
        await self._take_over(session, group)

    async def _take_over(self, session: RedisSession, group: Group) -> None:
        for key in tuple(self._positions):
            answer = await session.reads.xautoclaim(
                key, group.name, group.consumer, int(group.claim * 1000), START, count=group.most
            )
            self._hand_on([[key.encode(), answer[1]]])

    async def _join(self, session: RedisSession, key: str, start: bytes) -> None:
        assert self._group is not None
        try:
            await session.commands.xgroup_create(key, self._group.name, start, mkstream=True)
        except Exception as error:
            if "BUSYGROUP" not in str(error):  # it is there already
                raise translated(error, self._address, f"group {self._group.name!r} of {key!r}") from None

    def _hand_on(self, answer: Any) -> None:
        for name, entries in answer or ():
            key = name.decode()
            for entry, fields in entries:
                if key not in self._positions:
                    break
                if self._group is None:
                    self._positions[key] = entry
                elif fields is None or not self._group.take(key, entry):
                    continue  # trimmed meanwhile, or under way
                self._taker(key, entry, fields)


def _is_answer(error: BaseException) -> bool:
    """Whether Redis itself refused, on a connection that is fine."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return "ResponseError" in names and "BusyLoadingError" not in names

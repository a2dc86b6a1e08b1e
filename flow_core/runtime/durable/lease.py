"""The right of one executor to write to a shared store, kept alive by heartbeats.

An executor that dies leaves executions behind. Others may take them over when its lease is over, and at once when it
was a process of this machine that is gone. One that was only frozen finds out at its next write that it is no longer
the owner: the number of its epoch is fenced, whatever its clock says.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable
from typing import Final

from flow_core.errors import LeaseLost, StoreError
from flow_core.model.records import Epoch
from flow_core.model.store import Store

__all__ = ["Lease", "process_is_gone", "process_name"]

log = logging.getLogger("flow_core")

#: Heartbeats in one lease: two may fail.
BEATS: Final = 3
#: Seconds that a store gets to end an epoch in order.
PATIENCE: Final = 5.0


def process_name() -> str:
    """A name for this process that no other has: host, pid, and when it began (a pid is used again)."""
    return f"{socket.gethostname()}/{os.getpid()}/{_began(os.getpid())}"


def process_is_gone(name: str) -> bool:
    """Whether ``name`` is that of a process of this machine that has ended."""
    host, _, rest = name.rpartition("/")
    host, _, pid = host.rpartition("/")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # it is there, and somebody else's
    return _began(int(pid)) != rest


def _began(pid: int) -> str:
    """When a process began, in ticks since the machine did; empty where that can't be known."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]  # the name of the program may have spaces
    except (OSError, IndexError):
        return ""


class Lease:
    """The right of one executor to write to a shared store, for some seconds from each heartbeat.

    Args:
        store: where the right is held.
        name: of the executor.
        seconds: that a heartbeat buys.
    """

    def __init__(self, store: Store, name: str, seconds: float) -> None:
        self._store = store
        self.name = name
        self.seconds = seconds
        self.epoch: Epoch
        self._heart: asyncio.Task[None] | None = None

    async def begin(self) -> Epoch:
        """A new epoch; those of dead processes of this machine end, and so do earlier ones of this name."""
        for owner in await self._store.owners():
            if owner != self.name and process_is_gone(owner):
                await self._store.begin(owner, 0.0)  # nobody can have two: the dead one's is over
        self.epoch = await self._store.begin(self.name, self.seconds)
        return self.epoch

    def start(self, beat: Callable[[], object], lost: Callable[[BaseException], None]) -> None:
        """Begin the heartbeat.

        Args:
            beat: called after each one: to look for executions that others left. It must not take long.
            lost: called when one finds the epoch fenced.
        """
        if self._heart is None:
            self._heart = asyncio.get_running_loop().create_task(self._live(beat, lost), name="flow-core heartbeat")

    async def _live(self, beat: Callable[[], object], lost: Callable[[BaseException], None]) -> None:
        while True:
            await asyncio.sleep(self.seconds / BEATS)
            epoch = self.epoch
            try:
                await self._store.renew(epoch)
                beat()
            except LeaseLost as error:
                if epoch is self.epoch:  # else a new one has begun meanwhile
                    lost(error)
            except StoreError as error:
                log.warning("no heartbeat to the store: %s", error.message)
            except Exception:  # without heartbeats others would take over what is under way here
                log.exception("a heartbeat failed")

    async def end(self) -> None:
        """Stop the heartbeat and give up the epoch in order: others need not wait for the lease."""
        heart, self._heart = self._heart, None
        if heart is not None:
            heart.cancel()
            await asyncio.gather(heart, return_exceptions=True)
        with contextlib.suppress(StoreError, TimeoutError):  # then the lease ends by itself
            async with asyncio.timeout(PATIENCE):
                await self._store.release(self.epoch)

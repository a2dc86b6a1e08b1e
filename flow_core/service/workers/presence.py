"""`Presence`: which of those who registered steps are connected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from flow_core import ClientCallOperation, Flow, Step
from flow_core.model.revisions import RevisionChange

__all__ = ["Presence"]

#: Called with an owner, and whether it is there now.
PresenceListener = Callable[[str, bool], None]
#: Part of a lease after which the next heartbeat is due.
BEAT: Final = 1 / 3


class _Owner:
    """What is known of one owner. ``due``: loop time at which its lease ends."""

    __slots__ = ("away_since", "due", "lease", "serves", "streams", "timer")

    def __init__(self, serves: bool = False) -> None:
        self.lease: float | None = None
        self.due = 0.0
        self.streams = 0
        self.serves = serves
        self.away_since: float | None = None
        self.timer: asyncio.TimerHandle | None = None

    def here(self, now: float) -> bool:
        if self.streams:
            return True
        return self.due > now if self.lease is not None else not self.serves


class Presence:
    """Knows which owners of steps are there, and tells listeners when one leaves or comes back.

    An owner is there while it has a stream open (`Serve`), or while its lease runs. One that asked for neither always
    is. One whose steps call the owner itself, and that has not connected since this server started, is expected.
    Times are seconds of the running loop's clock.
    """

    def __init__(self) -> None:
        self._owners: dict[str, _Owner] = {}
        self._listeners: list[PresenceListener] = []
        self._flow: Flow | None = None
        self._silence: Callable[[], None] | None = None
        self._expecting = True

    # --- life ---------------------------------------------------------------------------------------------------------

    @property
    def attached(self) -> bool:
        """Whether the flows are known: before that, anybody may be an owner."""
        return self._flow is not None

    async def attach(self, flow: Flow, *, expecting: bool = True) -> None:
        """Learn who owns steps of ``flow``. ``expecting``: a service that its own steps call has to come here."""
        self._expecting = expecting
        self._silence = flow.on_change(self._note)
        for name in await flow.flows():
            owners = await flow.owners(name)
            for step in await flow.lookup(name):
                self._expect(owners.get(step.id, ""), step)
        self._flow = flow

    def detach(self) -> None:
        """Learn nothing more, and let no lease end."""
        if self._silence is not None:
            self._silence()
        for owner in self._owners.values():
            if owner.timer is not None:
                owner.timer.cancel()
        self._flow = None

    def listen(self, listener: PresenceListener) -> Callable[[], None]:
        """Call back when an owner vanishes or comes back; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    # --- what is told -------------------------------------------------------------------------------------------------

    def registered(self, name: str, lease: float | None) -> None:
        """An owner registered steps, with a lease in seconds or without."""
        if lease is not None:
            owner = self._owners.setdefault(name, _Owner())
            owner.lease = lease
        self.beat(name)

    def beat(self, name: str) -> float:
        """An owner is alive. Returns the seconds after which the next beat is due; 0: it has no lease."""
        owner = self._owners.get(name)
        if owner is None or owner.lease is None:
            return 0.0
        loop = asyncio.get_running_loop()
        owner.due = loop.time() + owner.lease
        if owner.timer is not None:
            owner.timer.cancel()
        owner.timer = loop.call_at(owner.due, self._look, name)
        self._look(name)
        return owner.lease * BEAT

    def joined(self, name: str) -> None:
        """A service opened a stream."""
        owner = self._owners.setdefault(name, _Owner())
        owner.serves = True
        owner.streams += 1
        self._look(name)

    def left(self, name: str) -> None:
        """A stream of a service ended."""
        self._owners[name].streams -= 1
        self._look(name)

    # --- what is asked ------------------------------------------------------------------------------------------------

    def known(self, name: str) -> bool:
        """Whether an owner of this name was here, or is expected."""
        return name in self._owners

    def available(self, name: str) -> bool:
        """Whether an owner is there."""
        owner = self._owners.get(name)
        return owner is None or owner.here(asyncio.get_running_loop().time())

    def away(self, name: str) -> float:
        """Seconds since an owner was there last, or since the server started; 0: it is there."""
        owner = self._owners.get(name)
        if owner is None or owner.away_since is None:
            return 0.0
        return asyncio.get_running_loop().time() - owner.away_since

    # --- changes ------------------------------------------------------------------------------------------------------

    def _note(self, change: RevisionChange) -> None:
        for step in change.created:
            self._expect(change.owner, step)

    def _expect(self, name: str, step: Step) -> None:
        operation = step.operation
        if not self._expecting or type(operation) is not ClientCallOperation or operation.service != name:
            return
        if name not in self._owners:
            self._owners[name] = _Owner(serves=True)
            self._look(name)

    def _look(self, name: str) -> None:
        """Tell when an owner vanished or came back."""
        owner = self._owners[name]
        now = asyncio.get_running_loop().time()
        here = owner.here(now)
        if here == (owner.away_since is None):
            return
        owner.away_since = None if here else now
        for listener in tuple(self._listeners):
            listener(name, here)

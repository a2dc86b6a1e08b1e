"""`Replies`: who waits for a reply on which subject, and what became of the replies that nobody waits for."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

from flow_core.errors import AdapterError, Unavailable

__all__ = ["Replies"]

#: How many finished subjects are remembered, to tell a duplicate from a late reply. Older ones count as unroutable.
REMEMBERED: Final = 10_000


class Replies:
    """The subjects on which replies are awaited, and the last ones on which they no longer are."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._over: OrderedDict[str, bool] = OrderedDict()  # subject -> whether it was answered
        self.taken = 0
        self.late = 0
        self.duplicate = 0

    def expect(self, subject: str) -> asyncio.Future[bytes]:
        """A future for the first reply on ``subject``; always `release` the subject afterwards."""
        if subject in self._waiting or subject in self._over:
            raise AdapterError(f"reply subject {subject!r:.80} is not new", fix="use one subject per request")
        future = self._waiting[subject] = asyncio.get_running_loop().create_future()
        return future

    def release(self, subject: str, taken: bool) -> None:
        """Nobody waits on ``subject`` any more; a reply that came, and was not ``taken``, came too late."""
        future = self._waiting.pop(subject, None)
        if future is None:
            return
        answered = future.done() and not future.cancelled() and future.exception() is None
        self.taken += taken
        self.late += answered and not taken
        self._over[subject] = answered
        future.cancel()
        if len(self._over) > REMEMBERED:
            self._over.popitem(last=False)

    def deliver(self, subject: str, data: bytes) -> bool:
        """Take a reply, or count it as a duplicate or as late. False: ``subject`` never was a reply subject here."""
        future = self._waiting.get(subject)
        if future is not None:
            if future.cancelled():  # its request is on its way out
                self.late += 1
            elif future.done():
                self.duplicate += 1
            else:
                future.set_result(data)
            return True
        answered = self._over.get(subject)
        if answered is None:
            return False
        if answered:
            self.duplicate += 1
        else:
            self.late += 1
        return True

    def fail(self, reason: str) -> None:
        """End every wait with `Unavailable`: the client is closing, or the place that replies come to is lost."""
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(Unavailable(reason))

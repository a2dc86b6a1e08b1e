"""`Throttle`: limits how many changes of flows start at once, so that look-ups need not wait for all of them.

gRPC hands calls to a server one by one, in the order in which they come. Fifty clients that change flows as fast as
they are answered always have fifty calls there, and a look-up waits for all of those. Changes that start a little more
slowly than they come wait in a queue of their own instead, where no look-up is behind them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

__all__ = ["Throttle"]

#: Seconds between two looks at the queue: the shortest delay that uvloop's timers can measure.
TICK: Final = 0.001
#: Changes that start at once in each tick: well below what a server can take in, or no queue ever forms.
FREE: Final = 3
#: Of a long queue, one in so many starts in a tick: so it grows until as many start as come. With 12 the queue
#: holds 45 of 50 clients, and a look-up has the other 5 before it (``python -m benchmarks --only service``).
PART: Final = 12


class Throttle:
    """Lets changes of flows start at a limited rate: three per millisecond, or a twelfth of a long queue.

    Changes wait for their start only, not for each other's end: a store commits many together. Serves one event loop.
    """

    __slots__ = ("_left", "_ticking", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._left = FREE
        self._ticking = False

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    async def turn(self) -> None:
        """Return when it is the caller's turn: at once, unless many come. Whoever is cancelled leaves the queue."""
        loop = asyncio.get_running_loop()
        if not self._ticking:
            self._ticking = True
            loop.call_later(TICK, self._tick, loop)
        if self._left > 0 and not self._waiting:
            self._left -= 1
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._ticking = bool(self._waiting)
        self._left = max(FREE, len(self._waiting) // PART)
        while self._waiting and self._left > 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._left -= 1
        if self._ticking:
            loop.call_later(TICK, self._tick, loop)

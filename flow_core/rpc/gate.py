"""`Gate`: keeps calls off a target that can't be reached, until it can again.

Lives here: the backoff between attempts to connect, and the one attempt that all waiting calls share. Does not live
here: retries of calls (the engine's). gRPC and brokers have the like of their own; this is for clients that connect
with each call.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from flow_core.errors import AdapterError, Unavailable

__all__ = ["Gate"]

INITIAL: Final = 0.1
FACTOR: Final = 2.0
LONGEST: Final = 5.0


class Gate:
    """Open, until somebody could not connect; then shut for a while, which grows from 0.1 to 5 s.

    While it is shut, calls fail at once, with the rest of the time as ``retry_after``. After that one attempt to
    connect is made for all that have come, and it opens or shuts again for all of them.

    Args:
        target: named in the errors.
        probe: connects and disconnects, raising OSError or AdapterError when that fails.
        draw: a number from 0 to 1, for the jitter (delays are drawn from half of them up).
    """

    def __init__(
        self, target: object, probe: Callable[[], Awaitable[None]], draw: Callable[[], float] = random.random
    ) -> None:
        self._target = target
        self._probe = probe
        self._draw = draw
        self._failures = 0
        self._opens = 0.0
        self._probing: asyncio.Task[None] | None = None

    @property
    def shut(self) -> bool:
        """Whether `enter` has to be awaited before connecting."""
        return self._failures > 0

    def failed(self) -> None:
        """Nobody could be reached. Of calls that fail together only the first counts."""
        now = asyncio.get_running_loop().time()
        if self._failures and now < self._opens:
            return
        delay = min(LONGEST, INITIAL * FACTOR ** min(self._failures, 16))
        self._failures += 1
        self._opens = now + delay * (0.5 + self._draw() / 2)

    async def enter(self) -> None:
        """Return when the target can be connected to. Raises `Unavailable` when it can't."""
        if not self._failures:
            return
        left = self._opens - asyncio.get_running_loop().time()
        if left <= 0:
            if self._probing is None:
                self._probing = asyncio.get_running_loop().create_task(self._attempt())
            await asyncio.wait({self._probing})  # a caller that is cancelled does not cancel it for the others
            if not self._failures:
                return
            left = max(0.0, self._opens - asyncio.get_running_loop().time())
        raise Unavailable(
            f"{self._target} could not be reached {self._failures} times in a row; it is tried again in {left:.1f} s",
            retry_after=left,
        )

    async def close(self) -> None:
        """End the attempt that is under way."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait({self._probing})

    async def _attempt(self) -> None:
        try:
            await self._probe()
            self._failures = 0
        except (OSError, AdapterError):
            self.failed()
        finally:
            self._probing = None

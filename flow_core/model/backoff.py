"""`Backoff`: how long to wait before trying again what failed.

The engine's retries of steps have a policy of their own (`Retry`): users set it, and errors have a say in it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Backoff"]


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between attempts: ``initial`` after the first failure, then twice as long each time, up to ``longest``.

    Example::

        backoff = Backoff(0.1, 5.0)
        [backoff.delay(failures) for failures in (1, 2, 3, 9)]  # [0.1, 0.2, 0.4, 5.0]
    """

    initial: float = 0.05
    longest: float = 5.0

    def delay(self, failures: int, chance: float = 1.0) -> float:
        """Seconds to wait after so many failures in a row, at least one.

        Args:
            failures: how often it failed since it last succeeded.
            chance: a number from 0 to 1 that shortens the delay by up to half. Draw it at random where many processes
                wait for the same server, so that they do not all come at once.
        """
        return min(self.longest, self.initial * 2.0 ** min(failures - 1, 60)) * (0.5 + chance / 2)

"""Where an executor gets time, randomness and ids from, so that a simulation can give all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Environment", "Randomness"]


class Randomness(Protocol):
    """What is needed of a `random.Random`."""

    def random(self) -> float:
        """A number from 0 up to, but not including, 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The only source of time, randomness and ids of an executor: ``Executor(environment=...)``.

    Attributes:
        clock: seconds of the event loop, which only grow.
        wall: seconds since the epoch, UTC.
        random: draws the jitter of retries.
        token: ``token(n)`` gives n bytes as hex that nobody can guess, for ids.
    """

    clock: Callable[[], float]
    wall: Callable[[], float]
    random: Randomness
    token: Callable[[int], str]

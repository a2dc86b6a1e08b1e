"""Running coroutines in tests: on a plain loop, or on a loop whose clock is virtual.

Lives here: `run`, `run_virtual` and `VirtualLoop`. Does not live here: fakes of the package's own objects.

On a `VirtualLoop` nothing ever sleeps: when no callback is ready, the clock jumps to the next timer. A test of an hour
of retries takes milliseconds and gives the same times on every machine. A loop that would wait for ever raises
`Deadlock` instead of hanging.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["Deadlock", "VirtualLoop", "run", "run_virtual"]

T = TypeVar("T")

#: With `VirtualLoop(threads=True)`: real seconds that a loop with nothing to do waits for another thread.
PATIENCE = 30.0


class Deadlock(RuntimeError):
    """Every task waits, no timer is set, and nobody else can wake the loop."""


class VirtualSelector(selectors.DefaultSelector):
    """A selector that moves the clock of its loop forward instead of sleeping."""

    def __init__(self, threads: bool) -> None:
        super().__init__()
        self.now = 0.0
        self.threads = threads

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is not None and timeout > 0:
            self.now += timeout
            return ready
        if not self.threads:
            raise Deadlock("every task waits and no timer is set")
        ready = super().select(PATIENCE)
        if not ready:
            raise Deadlock(f"no other thread woke the loop in {PATIENCE} s")
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a virtual clock that starts at ``start`` seconds.

    Args:
        start: what ``time()`` says first.
        threads: other threads may wake the loop (``call_soon_threadsafe``, a worker pool): with nothing to do and no
            timer set, wait for them. Timers still jump, so do not mix a short timer with a slow thread.
    """

    def __init__(self, *, start: float = 0.0, threads: bool = False) -> None:
        self._virtual = VirtualSelector(threads)
        self._virtual.now = start
        super().__init__(self._virtual)
        # The clock is exact here, so a timer is due at its time and not a tick before.
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._virtual.now

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads for ever: from 3.12 on asyncio sets a timer, to which the clock would jump."""
        await super().shutdown_default_executor()


def run(main: Coroutine[Any, Any, T], *, debug: bool = False) -> T:
    """Run ``main`` to its end on a fresh stdlib loop with the real clock."""
    with asyncio.Runner(debug=debug) as runner:
        return runner.run(main)


def run_virtual(main: Coroutine[Any, Any, T], seed: int | None = None, *, threads: bool = False) -> T:
    """Run ``main`` to its end on a `VirtualLoop`; ``seed`` seeds `random`, whose state is restored afterwards."""
    state = random.getstate()
    try:
        if seed is not None:
            random.seed(seed)
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(threads=threads)) as runner:
            return runner.run(main)
    finally:
        random.setstate(state)

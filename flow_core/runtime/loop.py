"""The event loop: uvloop, except on Windows."""

from __future__ import annotations

import asyncio
import random
import secrets
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from flow_core.model.environment import Environment

__all__ = ["new_event_loop", "own_clock", "real_environment", "run", "utc_now"]

T = TypeVar("T")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A new uvloop loop; on Windows, the standard library's."""
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """Run ``main`` to its end on a fresh loop, as `asyncio.run` does, under uvloop."""
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)


def real_environment(loop: asyncio.AbstractEventLoop) -> Environment:
    """The loop's clock, and this machine's time and randomness."""
    return Environment(clock=loop.time, wall=time.time, random=random.Random(), token=secrets.token_hex)


def utc_now(environment: Environment | None) -> float:
    """Seconds since the epoch, UTC, by an environment's wall clock, or this machine's."""
    return time.time() if environment is None else environment.wall()


def own_clock(clock: Callable[[], float], loop: asyncio.AbstractEventLoop) -> Callable[[], float] | None:
    """The clock for the scheduler to call; None for the machine's monotonic clock, which it reads without a call."""
    kind = type(loop)
    monotonic = kind.__module__.startswith("uvloop") or kind.time is asyncio.BaseEventLoop.time
    return None if monotonic and clock == loop.time else clock

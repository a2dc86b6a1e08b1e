"""The event loop: uvloop where there is one. The only importer of uvloop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["clock_of", "new_event_loop", "run"]

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


def clock_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float] | None:
    """The loop's clock when it is not the machine's monotonic one (a virtual clock in tests), else None."""
    kind = type(loop)
    if kind.__module__.startswith("uvloop") or kind.time is asyncio.BaseEventLoop.time:
        return None
    return loop.time

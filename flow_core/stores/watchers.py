"""`Watchers`: callbacks to call when something in a store changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from flow_core.model.revisions import Change

__all__ = ["Watchers"]


class Watchers:
    """Calls back, on the running loop, whoever asked to hear of changes."""

    def __init__(self) -> None:
        self._callbacks: tuple[Callable[[Change], None], ...] = ()

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def add(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Have ``callback(change)`` called; call the result to stop that."""
        self._callbacks = (*self._callbacks, callback)

        def stop() -> None:
            self._callbacks = tuple(each for each in self._callbacks if each is not callback)

        return stop

    def tell(self, change: Change) -> None:
        """Call everybody back soon, not from within the caller."""
        for callback in self._callbacks:
            asyncio.get_running_loop().call_soon(callback, change)

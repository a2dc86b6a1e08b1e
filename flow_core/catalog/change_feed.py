"""`ChangeFeed`: tells listeners what changed in the flows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from flow_core.model.revisions import RevisionChange

__all__ = ["ChangeFeed"]


class ChangeFeed:
    """Tells listeners about each change of a flow once, in the order of the flow's revisions.

    feed = ChangeFeed()
    end = feed.listen(print)
    feed.tell(change)
    end()
    """

    def __init__(self) -> None:
        self._listeners: list[Callable[[RevisionChange], None]] = []
        #: Flow -> last revision that was told.
        self._told: dict[str, int] = {}

    def listen(self, listener: Callable[[RevisionChange], None]) -> Callable[[], None]:
        """Call ``listener`` with every change from now on; returns a function that ends this."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def tell(self, change: RevisionChange) -> None:
        """Tell listeners about a change, unless they have been told."""
        if change.revision > self._told.get(change.flow, 0):
            self._told[change.flow] = change.revision
            for listener in tuple(self._listeners):
                listener(change)

    async def stream(
        self, flow: str | None, since: int | None, past: Callable[[str | None], Awaitable[list[RevisionChange]]]
    ) -> AsyncIterator[RevisionChange]:
        """Changes of one flow or all, without end; with ``since`` those after that revision come first."""
        queue: asyncio.Queue[RevisionChange] = asyncio.Queue()
        silence = self.listen(queue.put_nowait)
        try:
            seen: dict[str, int] = {}
            for change in [] if since is None else await past(flow):
                if since is None or change.revision > since:
                    seen[change.flow] = change.revision
                    yield change
            while True:
                change = await queue.get()
                if flow in (None, change.flow) and change.revision > seen.get(change.flow, 0):
                    yield change
        finally:
            silence()

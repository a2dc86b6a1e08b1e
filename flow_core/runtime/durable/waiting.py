"""Executions that were taken over from an owner that is gone, and can't go on here yet."""

from __future__ import annotations

import asyncio

from flow_core.model.records import ExecutionInfo, Record

__all__ = ["ENDING", "Waiting"]

#: Kind of a `Waiting` whose end is on its way to the store.
ENDING = "ending"


class Waiting:
    """An execution that was taken over and can't go on here yet, and ``reason``, why not.

    ``records`` are None as long as the store could not be read; ``kind`` is that of the `Reason` that `explain` gives.
    """

    __slots__ = ("_gone", "info", "kind", "reason", "records")

    def __init__(self, info: ExecutionInfo) -> None:
        self.info = info
        self.records: list[Record] | None = None
        self.kind, self.reason = "store", "it is being taken over: its records have not been read yet"
        self._gone = asyncio.Event()

    async def gone(self) -> None:
        """Wait until it goes on, here or elsewhere."""
        await self._gone.wait()

    def tell(self) -> None:
        """It waits no more."""
        self._gone.set()

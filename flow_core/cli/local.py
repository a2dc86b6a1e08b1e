"""`LocalStore`: reads executions from a store without a server, and never writes to it."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from flow_core.errors import UnknownExecution
from flow_core.model.projection import Projection
from flow_core.model.records import ExecutionInfo, ExecutionStarted, Record
from flow_core.model.status import Status
from flow_core.model.transition import Transition
from flow_core.stores import Store
from flow_core.stores.sqlite.store import SqliteStore
from flow_core.urls import store as store_at

__all__ = ["LocalStore"]


class LocalStore:
    """An async context manager. Raises `InvalidOption` and `StoreError`, as the store does.

    Args:
        url: of the store. A SQLite file is opened so that it can't be written; it has to exist.
    """

    def __init__(self, url: str) -> None:
        self._store: Store = SqliteStore(url, read_only=True) if url.startswith("sqlite:") else store_at(url)

    async def __aenter__(self) -> Self:
        await self._store.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._store.close()

    async def flows(self) -> list[dict[str, Any]]:
        """Names, revisions and numbers of steps."""
        from flow_core.proto import flow_pb2 as pb

        found: dict[str, tuple[int, set[str]]] = {}
        for stored in await self._store.definitions():  # names alone: no operation has to be known here
            change = pb.Change.FromString(stored.steps)
            steps = found.get(stored.flow, (0, set()))[1] - {change.deleted, change.replaced}
            found[stored.flow] = (stored.revision, steps | {step.name for step in change.created})
        return [
            {"flow": flow, "revision": revision, "steps": len(steps)}
            for flow, (revision, steps) in sorted(found.items())
        ]

    async def page(
        self, flow: str | None, status: Status | None, since: float | None, limit: int, cursor: str | None
    ) -> tuple[list[ExecutionInfo], str | None]:
        """Executions, newest first, and the cursor that continues."""
        page = await self._store.list(flow, status, since, limit, cursor)
        return page.items, page.cursor

    async def status(self, flow: str | None, id: str) -> Status:
        """Status of an execution. Raises `UnknownExecution`."""
        return Projection(await self._records(flow, id)).status

    async def history(self, flow: str | None, id: str) -> list[Transition]:
        """What has happened to it so far, in order of time. Raises `UnknownExecution`."""
        return Projection(await self._records(flow, id)).transitions()

    async def _records(self, flow: str | None, id: str) -> list[Record]:
        records = [*await self._store.load(id)]
        if not records:
            raise UnknownExecution(f"no execution {id!r} is in the store", flow=flow)
        start = records[0]
        if isinstance(start, ExecutionStarted) and flow not in (None, start.flow):
            raise UnknownExecution(f"execution {id!r} belongs to flow {start.flow!r}, not {flow!r}", flow=flow)
        return records

"""`MemoryStore`: the contract in its plainest form, for tests and as the reference the others are compared with.

Lives here: a store of dicts, as durable as the process. Does not live here: anything about speed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from flow_core.errors import Conflict, LeaseLost
from flow_core.model.records import (
    Epoch,
    ExecutionEnded,
    ExecutionInfo,
    ExecutionStarted,
    Page,
    Paused,
    Record,
    Resumed,
    StepEnded,
)
from flow_core.model.revisions import Change, StoredDefinition
from flow_core.model.status import Status
from flow_core.model.store import REMEMBERED, Store, parse_cursor, refused

__all__ = ["MemoryStore"]


@dataclass(slots=True)
class Owner:
    """One epoch: until when its heartbeats reach, whether it is over, and the commits it made."""

    executor: str
    expires: float
    fenced: bool = False
    clean: bool = False
    commits: dict[int, None] = field(default_factory=dict)


@dataclass(slots=True)
class Entry:
    """One execution. ``outcomes`` and ``progress`` (outcomes at the last take-over) tell poison from progress."""

    key: int
    start: ExecutionStarted
    epoch: int
    status: Status = Status.RUNNING
    ended: float | None = None
    recoveries: int = 0
    progress: int = -1
    records: list[Record] = field(default_factory=list)
    outcomes: set[str] = field(default_factory=set)

    def info(self) -> ExecutionInfo:
        start = self.start
        return ExecutionInfo(
            start.execution,
            start.flow,
            start.revision,
            self.status,
            start.parent,
            start.time_utc,
            self.ended,
            self.epoch,
            self.recoveries,
        )


class MemoryStore(Store):
    """Keeps everything in this process. ``clock`` gives UTC seconds (leases and retention by age)."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock: Final = clock
        self._owners: dict[int, Owner] = {}
        self._entries: dict[str, Entry] = {}
        self._keys = 0
        self._definitions: dict[tuple[str, int], StoredDefinition] = {}

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to free: what was stored can be read again, so that tests can "restart"."""

    async def begin(self, executor: str, lease: float) -> Epoch:
        for owner in self._owners.values():
            if owner.executor == executor and not owner.fenced:
                owner.fenced = True
                self._changed(Change.WORK)
        number = len(self._owners) + 1
        self._owners[number] = Owner(executor, self._clock() + lease)
        return Epoch(number, executor, lease)

    def _owner(self, epoch: Epoch) -> Owner:
        owner = self._owners.get(epoch.number)
        if owner is None or owner.fenced:
            raise LeaseLost(f"epoch {epoch.number} of executor {epoch.executor!r} is over")
        return owner

    async def renew(self, epoch: Epoch) -> None:
        self._owner(epoch).expires = self._clock() + epoch.lease

    async def release(self, epoch: Epoch) -> None:
        owner = self._owner(epoch)
        owner.fenced = owner.clean = True
        self._changed(Change.WORK)

    async def owners(self) -> Sequence[str]:
        return [owner.executor for owner in self._owners.values() if not owner.fenced]

    async def commit(self, epoch: Epoch, records: Sequence[Record], *, commit_id: int | None = None) -> None:
        owner = self._owner(epoch)
        if commit_id is not None and commit_id in owner.commits:
            return
        kept = self._check(epoch, records)
        for record in kept:
            self._apply(epoch, record)
        if commit_id is not None:
            owner.commits[commit_id] = None
            if len(owner.commits) > REMEMBERED:
                del owner.commits[next(iter(owner.commits))]

    def _check(self, epoch: Epoch, records: Iterable[Record]) -> list[Record]:
        """What has to be written, all of it legal: state is changed only afterwards, so that all or nothing holds."""
        started: dict[str, ExecutionStarted] = {}
        ended: set[str] = set()
        outcomes: set[tuple[str, str]] = set()
        kept: list[Record] = []
        for record in records:
            id_ = record.execution
            entry = self._entries.get(id_)
            if isinstance(record, ExecutionStarted):
                known = started.get(id_) or (entry.start if entry else None)
                if known is None:
                    started[id_] = record
                    kept.append(record)
                    continue
                if (known.flow, known.request) != (record.flow, record.request):
                    raise refused("request", record)
                if entry is not None and (entry.ended is not None or entry.epoch != epoch.number):
                    raise refused("exists", record)
                continue
            if entry is None and id_ not in started:
                raise refused("unknown", record)
            if id_ in ended or (entry is not None and entry.ended is not None):
                raise refused("ended", record)
            if entry is not None and entry.epoch != epoch.number:
                raise LeaseLost(f"execution {id_} belongs to another owner", execution=id_)
            if isinstance(record, StepEnded):
                if (id_, record.step) in outcomes or (entry is not None and record.step in entry.outcomes):
                    raise refused("outcome", record)
                outcomes.add((id_, record.step))
            elif isinstance(record, ExecutionEnded):
                ended.add(id_)
            kept.append(record)
        return kept

    def _apply(self, epoch: Epoch, record: Record) -> None:
        if isinstance(record, ExecutionStarted):
            self._keys += 1
            self._entries[record.execution] = Entry(self._keys, record, epoch.number)
        entry = self._entries[record.execution]
        entry.records.append(record)
        if isinstance(record, StepEnded):
            entry.outcomes.add(record.step)
        elif isinstance(record, Paused):
            entry.status = Status.PAUSED
        elif isinstance(record, Resumed):
            entry.status, entry.recoveries = Status.RUNNING, 0
        elif isinstance(record, ExecutionEnded):
            entry.status, entry.ended = Status(record.status), record.time_utc

    async def claim(self, epoch: Epoch, limit: int = 100) -> Sequence[ExecutionInfo]:
        self._owner(epoch)
        now = self._clock()
        for number, owner in self._owners.items():
            owner.fenced |= number != epoch.number and owner.expires < now
        claimed: list[ExecutionInfo] = []
        for entry in self._entries.values():
            owner = self._owners[entry.epoch]
            if len(claimed) < limit and entry.ended is None and owner.fenced:
                if not owner.clean:
                    entry.recoveries = entry.recoveries + 1 if entry.progress == len(entry.outcomes) else 1
                    entry.progress = len(entry.outcomes)
                entry.epoch = epoch.number
                claimed.append(entry.info())
        return claimed

    async def load(self, execution: str) -> Sequence[Record]:
        entry = self._entries.get(execution)
        return [*entry.records] if entry else []

    async def list(
        self,
        flow: str | None = None,
        status: Status | None = None,
        since: float | None = None,
        limit: int = 100,
        cursor: str | None = None,
        *,
        unfinished: bool = False,
    ) -> Page:
        below = parse_cursor(cursor)
        found = [
            entry
            for entry in reversed(self._entries.values())
            if (below is None or entry.key < below)
            and (flow is None or entry.start.flow == flow)
            and (status is None or entry.status == status)
            and (since is None or entry.start.time_utc >= since)
            and not (unfinished and entry.ended is not None)
        ][: limit + 1]
        more = str(found[limit - 1].key) if len(found) > limit else None
        return Page([entry.info() for entry in found[:limit]], more)

    async def retain(self, keep: timedelta | int) -> int:
        ended = [(entry.ended, entry.key, id_) for id_, entry in self._entries.items() if entry.ended is not None]
        ended.sort(reverse=True)
        if isinstance(keep, timedelta):
            oldest = self._clock() - keep.total_seconds()
            old = [row for row in ended if row[0] < oldest]
        else:
            old = ended[keep:]
        removed = 0
        for _, _, id_ in old:
            parent = self._entries.get(self._entries[id_].start.parent or "")
            if parent is None or parent.ended is not None:
                del self._entries[id_]
                removed += 1
        return removed

    async def save_definition(self, flow: str, revision: int, steps: bytes, owner: str = "") -> None:
        made = StoredDefinition(flow, revision, steps, owner)
        if self._definitions.setdefault((flow, revision), made).steps != steps:
            raise Conflict(f"revision {revision} of {flow!r} holds other steps", reason="revision", flow=flow)
        self._changed(Change.DEFINITIONS)

    async def definitions(self, flow: str | None = None, *, after: int = 0) -> Sequence[StoredDefinition]:
        found = sorted(self._definitions.items())
        return [definition for key, definition in found if flow in (None, key[0]) and key[1] > after]

    async def check(self) -> Sequence[str]:
        return [f"{id_}: no start" for id_, entry in self._entries.items() if entry.records[0] is not entry.start]

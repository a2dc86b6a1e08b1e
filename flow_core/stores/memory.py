"""`MemoryStore`: the contract in its plainest form, for tests, and the reference for the other stores."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

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
from flow_core.model.store import REMEMBERED, Store, parse_cursor
from flow_core.stores.rules import KnownExecution, epoch_over, judge, other_steps
from flow_core.stores.watchers import Watchers

__all__ = ["MemoryStore"]


@dataclass(slots=True)
class EpochEntry:
    """One epoch: when its lease runs out, whether it is over and how, and the ids of its commits."""

    executor: str
    expires: float
    fenced: bool = False
    clean: bool = False
    commits: dict[int, None] = field(default_factory=dict)


@dataclass(slots=True)
class ExecutionEntry:
    """One execution. ``progress`` is how many outcomes it had when it was last taken over: no more means poison."""

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
    """Keeps executions and flows in the memory of this process: for tests, and to try things out.

    It outlives the flows that use it, so a test can "restart":

        store = MemoryStore()
        async with Flow(store=store) as flow:
            await flow.create_step("greet", Step("hello", lambda name: f"Hello {name}"))
            await flow.execute("greet", "Ada", id="monday")
        async with Flow(store=store) as flow:
            print(await flow.executor.result("monday"))

    Args:
        clock: gives UTC seconds, for leases and for retention by age.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock: Final = clock
        self._owners: dict[int, EpochEntry] = {}
        self._entries: dict[str, ExecutionEntry] = {}
        self._keys = 0
        self._watchers = Watchers()
        self._definitions: dict[tuple[str, int], StoredDefinition] = {}

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to free: what was stored can be read again, so that tests can "restart"."""

    def watch(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        return self._watchers.add(callback)

    async def begin(self, executor: str, lease: float) -> Epoch:
        for owner in self._owners.values():
            if owner.executor == executor and not owner.fenced:
                owner.fenced = True
                self._watchers.tell(Change.WORK)
        number = len(self._owners) + 1
        self._owners[number] = EpochEntry(executor, self._clock() + lease)
        return Epoch(number, executor, lease)

    def _owner(self, epoch: Epoch) -> EpochEntry:
        owner = self._owners.get(epoch.number)
        if owner is None or owner.fenced:
            raise epoch_over(epoch)
        return owner

    async def renew(self, epoch: Epoch) -> None:
        self._owner(epoch).expires = self._clock() + epoch.lease

    async def release(self, epoch: Epoch) -> None:
        owner = self._owner(epoch)
        owner.fenced = owner.clean = True
        self._watchers.tell(Change.WORK)

    async def owners(self) -> Sequence[str]:
        return [owner.executor for owner in self._owners.values() if not owner.fenced]

    async def commit(self, epoch: Epoch, records: Sequence[Record], *, commit_id: int | None = None) -> None:
        owner = self._owner(epoch)
        if commit_id is not None and commit_id in owner.commits:
            return
        entries = self._entries
        mine = {record.execution: entries[record.execution] for record in records if record.execution in entries}
        known = {id_: KnownExecution(entry.key, entry.epoch, entry.ended) for id_, entry in mine.items()}
        starts = {id_: (entry.start.flow, entry.start.request) for id_, entry in mine.items()}
        ends = [record for record in records if isinstance(record, StepEnded) and record.execution in mine]
        outcomes = {(end.execution, end.step) for end in ends if end.step in mine[end.execution].outcomes}
        kept = judge(epoch, records, known, starts, outcomes)  # all of it, before anything changes
        for record in kept:
            self._apply(epoch, record)
        if commit_id is not None:
            owner.commits[commit_id] = None
            if len(owner.commits) > REMEMBERED:
                del owner.commits[next(iter(owner.commits))]

    def _apply(self, epoch: Epoch, record: Record) -> None:
        if isinstance(record, ExecutionStarted):
            self._keys += 1
            self._entries[record.execution] = ExecutionEntry(self._keys, record, epoch.number)
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
            raise other_steps(flow, revision)
        self._watchers.tell(Change.DEFINITIONS)

    async def definitions(self, flow: str | None = None, *, after: int = 0) -> Sequence[StoredDefinition]:
        found = sorted(self._definitions.items())
        return [definition for key, definition in found if flow in (None, key[0]) and key[1] > after]

    async def check(self) -> Sequence[str]:
        return [f"{id_}: no start" for id_, entry in self._entries.items() if entry.records[0] is not entry.start]

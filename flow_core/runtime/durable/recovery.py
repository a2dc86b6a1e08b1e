"""Recovery: executions that were left unfinished are taken up.

One that can't go on here yet, because a callable is not registered, or its records or its definition can't be read,
waits, and is tried again when callables become known, or with the next heartbeat. One whose process died
`max_recoveries` times without a step having ended in between is paused: it may be what killed it.

Lives here: claiming, reading, going on, waiting. Does not live here: what records mean (``engine/replay.py``), the
right to write (``runtime/keeper.py``, ``runtime/tenure.py``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from flow_core.core.stepper import Stepper
from flow_core.engine import events as e
from flow_core.engine.machine import Machine, Phase
from flow_core.engine.replay import last_pause, replay
from flow_core.errors import FlowError, InvalidOption, LeaseLost, StoreCorrupt, StoreError, StoreUnavailable
from flow_core.model.payload import decode_outcome
from flow_core.model.records import ExecutionEnded, ExecutionInfo, ExecutionStarted, Paused, Record
from flow_core.model.status import Status
from flow_core.runtime.durable.journal import ExecutionStore, Journal
from flow_core.runtime.durable.recorder import read_options
from flow_core.runtime.durable.write_ahead import DurablePerformer
from flow_core.runtime.history import past_moves

if TYPE_CHECKING:
    from flow_core.core.plan import Plan
    from flow_core.core.scheduler import Scheduler
    from flow_core.runtime.durable.lease import Tenure
    from flow_core.runtime.execution import Execution
    from flow_core.runtime.executor import Executor

__all__ = ["Recovery", "Waiting"]

log = logging.getLogger("flow_core")

#: Executions that are claimed in one go.
CLAIM = 1000
#: Kind of a `Waiting` whose end is on its way to the store.
ENDING = "ending"
#: Phases in which a parent does not ask for its children any more.
GONE = (Phase.CANCELLING, Phase.ROLLING_BACK, Phase.OVER)
POISON = "its process ended {} times without a step of it having ended in between; look at what it does, then resume it"


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


class Recovery:
    """The half of the `Keeper` that takes executions up.

    Args:
        executor: whose they become.
        store: open.
    """

    _tenure: Tenure

    def __init__(self, executor: Executor, store: ExecutionStore) -> None:
        self._executor = executor
        self.store = store
        self._performer: DurablePerformer = executor.performer  # type: ignore[assignment]
        self._scheduler: Scheduler = executor.scheduler
        self._most_recoveries = executor.options.max_recoveries
        #: Id -> what can't go on here yet.
        self.waiting: dict[str, Waiting] = {}
        #: Executions that were taken up and have not been found by the step that started them -> their parent's id.
        self._children: WeakKeyDictionary[Execution, str] = WeakKeyDictionary()
        self._recovering = asyncio.Lock()
        self._reviving: asyncio.Task[None] | None = None
        self._trying: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.closed = False
        #: Executions that were taken up before -> how often, for what the store could not keep, or after crashes.
        self._again: WeakKeyDictionary[Execution, int] = WeakKeyDictionary()
        #: Executions taken over from dead owners.
        self.recovered = 0

    @property
    def journal(self) -> Journal:
        """Where records go now."""
        return self._performer.journal

    async def settled(self, id: str) -> None:
        """Wait until an execution that was taken over, and can't go on yet, does so here or elsewhere.

        Whoever executes it again by its id means that one.
        """
        while (waiting := self.waiting.get(id)) is not None or self._recovering.locked():
            if waiting is not None:
                await waiting.gone()
            else:
                async with self._recovering:
                    pass

    async def recover(self) -> int:
        """Take up every unfinished execution whose owner is gone; returns how many. Raises `StoreError`.

        One that can't be taken up, because it can't be read or is damaged, waits and holds up no other.
        """
        async with self._recovering:
            count = 0
            while not self.closed and (claimed := await self.store.claim(self._tenure.epoch, CLAIM)):
                for info in claimed:
                    if self._executor.known(info.execution) is None:
                        self.waiting[info.execution] = Waiting(info)
                ours = {info.execution for info in claimed}
                await self._revive_all([one for name, one in self.waiting.items() if name in ours])
                count += len(claimed)
            self.recovered += count
            return count

    def take_again(self, run: Execution) -> None:
        """The store could not keep what an execution did: go on from what it kept, as often as after crashes."""
        self.read_again(run, self._again.get(run, 0) + 1)

    async def _revive_all(self, waiting: Sequence[Waiting]) -> None:
        """Let those go on that can. First all are made ready, so that a parent finds its children."""
        ready = [(one, await self._ready(one)) for one in waiting]
        for one, revived in ready:
            if revived is None or self.closed or self.waiting.get(one.info.execution) is not one:
                continue
            try:
                self._revive(one, *revived)
            except Exception as error:
                log.exception("execution %s can't be taken up", one.info.execution)
                one.kind, one.reason = "store", f"it can't be taken up: {type(error).__name__}: {error}"
        await self._abort_orphans()

    async def _abort_orphans(self) -> None:
        """Look for executions whose parent has ended without them, and for their children in turn."""
        try:
            while [run for run, parent in [*self._children.items()] if await self._abort_orphan(run, parent)]:
                pass
        except StoreUnavailable:
            log.warning("the store can't tell what became of parents; it is asked again")

    async def _abort_orphan(self, run: Execution, parent: str) -> bool:
        """End an execution whose parent was cancelled, and which its process could not tell that any more."""
        if parent in self.waiting:
            return False
        above = self._executor.known(parent)
        if run.over or Stepper(run).caller is not None:  # its parent has found it
            del self._children[run]
            return False
        if above is not None:
            machine: Machine | None = Stepper(above).machine
            gone = machine is not None and machine.phase in GONE and machine.verdict[0] is not Status.SUCCESS
        else:
            ends = [record for record in await self.store.load(parent) if isinstance(record, ExecutionEnded)]
            gone = bool(ends) and ends[-1].status != Status.SUCCESS
        if gone:
            self._children.pop(run, None)
            self._performer.feed(run, e.AbortAsked(reason=f"aborted, as was {parent}, which had started it"))
        return gone

    async def _ready(self, waiting: Waiting) -> tuple[Plan, list[Record]] | None:
        """The plan and the records of an execution; None when it can't go on yet: then ``waiting.reason`` says why."""
        info, before = waiting.info, waiting.reason
        if waiting.kind == ENDING:
            return None
        try:
            if waiting.records is None:
                waiting.records = [*await self.store.load(info.execution)]
            start = waiting.records[0] if waiting.records else None
            if not isinstance(start, ExecutionStarted):
                raise StoreCorrupt("its start is not in the store")
            if any(isinstance(record, ExecutionEnded) for record in waiting.records):
                del self.waiting[info.execution]
                waiting.tell()
                return None
            options, _, _, steps = read_options(start.options)
            plan = await self.plan_of(start, options.step, steps)
            missing = self._executor.flow.missing(plan) if self._executor.flow is not None else []
            if not missing:
                return plan, waiting.records
            waiting.kind, waiting.reason = "callable", "it waits for " + ", ".join(missing[:5])
        except StoreError as error:
            waiting.kind, waiting.reason = "store", f"it can't be read: {error.message}"
        except FlowError as error:
            waiting.kind, waiting.reason = "callable", f"it waits for {error.message}"
        if waiting.reason != before:
            log.warning("execution %s of flow %s can't go on yet: %s", info.execution, info.flow, waiting.reason)
        return None

    def _revive(self, waiting: Waiting, plan: Plan, records: list[Record]) -> None:
        """Let an execution go on from its records."""
        info, start = waiting.info, records[0]
        assert isinstance(start, ExecutionStarted)
        options, json, depth, steps = read_options(start.options)
        performer, now = self._performer, self._scheduler.time
        utc = now + performer.scribe.ahead
        if info.recoveries >= self._most_recoveries and last_pause(records) is None:
            records = [*records, Paused(info.execution, POISON.format(info.recoveries), utc)]
        run = self._executor.prepare(plan, decode_outcome(start.request, json), options, depth)
        Stepper(run).name, Stepper(run).durable, Stepper(run).own_steps = info.execution, True, steps
        try:
            machine = performer.machine_of(run)
            Stepper(run).backdate(max(0.0, start.time_utc - performer.scribe.ahead))
            Stepper(run).past = past_moves(records, performer.scribe.ahead) or None
            if Stepper(run).trace is not None:
                Stepper(run).trace.recall(records, performer.scribe.ahead)
            replayed = replay(machine, records, now, utc)
        except BaseException as error:
            performer.drop(run, error)
            raise
        if records[-1] is not waiting.records[-1]:  # type: ignore[index]
            self.journal.write(records[-1])
        if is_plain(machine) and not (replayed.commands or replayed.events):
            Stepper(run).machine = None  # its way is the short one again
        del self.waiting[info.execution]
        self._executor.remember(run)
        if info.recoveries:
            self._again[run] = info.recoveries
        if start.parent is not None:
            self._children[run] = start.parent
        waiting.tell()
        performer.resume_with(run, replayed.commands)
        self._scheduler.launch(run)
        for event in replayed.events:
            performer.feed(run, event)

    async def plan_of(self, start: ExecutionStarted, step: str | None, steps: bytes | None) -> Plan:
        """The plan that a stored execution began with. Raises what `Flow.plan_of` raises."""
        if self._executor.flow is None:
            raise InvalidOption("a Flow that knows its steps: this executor has none", fix="use Flow(executor=...)")
        plan: Plan = await self._executor.flow.plan_of(start.flow, start.revision, step, steps)
        return plan

    def read_again(self, run: Execution, recoveries: int = 0) -> None:
        """Take an execution up anew, from what the store has of it."""
        began = Stepper(run).span[0] + self._performer.scribe.ahead
        epoch = self._tenure.epoch.number
        info = ExecutionInfo(run.id, run.flow, run.revision, Status.RUNNING, None, began, None, epoch, recoveries)
        self.waiting[run.id] = Waiting(info)
        self.rebound()

    def rebound(self) -> None:
        """Callables became known: try again what waits for some."""
        if self.waiting and self._reviving is None and not self.closed:
            self._reviving = self._trying = self._spawn(self._try_again())

    async def tried(self) -> None:
        """Wait until those that wait have been tried again, when that is about to happen."""
        if self._trying is not None and not self._trying.done():
            await asyncio.wait([self._trying])

    async def _try_again(self) -> None:
        await asyncio.sleep(0)  # the caller registers more of them, perhaps
        self._reviving = None
        async with self._recovering:
            await self._revive_all([*self.waiting.values()])

    def _look_round(self) -> None:
        """With each heartbeat: clocks drift, and others may have died."""
        self._performer.scribe.ahead = self._scheduler.ahead
        looks = self._looking is not None and not self._looking.done()
        if self.journal.trouble is None and not looks:  # an executor that can't write takes nothing on
            self._looking = self._spawn(self._look())

    async def _look(self) -> None:
        try:
            await self.recover()
            unread = [waiting for waiting in self.waiting.values() if waiting.kind == "store"]
            if unread:
                async with self._recovering:
                    await self._revive_all(unread)
            await self._abort_orphans()
        except LeaseLost as error:
            self._fenced(error)
        except StoreError as error:
            log.warning("no look for executions that others left: %s", error.message)

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("recovery failed", exc_info=task.exception())

    def _fenced(self, error: BaseException) -> None:
        """The right to write is lost."""
        raise NotImplementedError


def is_plain(machine: Machine) -> bool:
    """Whether a machine knows nothing that its run does not know."""
    knows = (
        machine.errors or machine.recovered or machine.compensated or machine.timers or machine.frozen or machine.due
    )
    return machine.phase is Phase.FORWARD and not (machine.paused or knows or machine.timeout is not None)

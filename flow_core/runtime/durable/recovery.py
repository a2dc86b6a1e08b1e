"""Executions that were left unfinished are taken up.

One that can't go on here yet, because a callable is not registered, or its records or its definition can't be read,
waits, and is tried again when callables become known, or with the next heartbeat. One whose process died
`max_recoveries` times without a step having ended in between is paused: it may be what killed it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from flow_core.core.stepper import Stepper
from flow_core.engine import events as e
from flow_core.engine.machine import Machine, Phase
from flow_core.engine.replay import replay
from flow_core.errors import FlowError, InvalidOption, LeaseLost, StoreCorrupt, StoreError, StoreUnavailable
from flow_core.model.payload import decode_outcome
from flow_core.model.projection import Projection
from flow_core.model.records import ExecutionEnded, ExecutionInfo, ExecutionStarted, Paused, Record
from flow_core.model.status import Status
from flow_core.model.store import Store
from flow_core.runtime.durable.lease import Lease
from flow_core.runtime.durable.recorder import read_options
from flow_core.runtime.durable.waiting import ENDING, Waiting
from flow_core.runtime.durable.write_ahead import WriteAhead
from flow_core.runtime.history import keep

if TYPE_CHECKING:
    from flow_core.core.plan import Plan
    from flow_core.core.scheduler import Scheduler
    from flow_core.runtime.commands import CommandRunner
    from flow_core.runtime.execution import Execution
    from flow_core.runtime.launcher import Launcher
    from flow_core.runtime.registry import Registry

__all__ = ["Recovery"]

log = logging.getLogger("flow_core")

#: Executions that are claimed in one go.
CLAIM = 1000
#: Phases in which a parent does not ask for its children any more.
GONE = (Phase.CANCELLING, Phase.ROLLING_BACK, Phase.OVER)
POISON = "its process ended {} times without a step of it having ended in between; look at what it does, then resume it"


class Recovery:
    """Takes over executions whose owner is gone, and lets them go on from their records.

    Args:
        store: open.
        lease: the right to take executions over.
        writes: where the records of what goes on here go.
        runner: the scheduler's handler; knows the flow in which definitions are found.
        launcher: prepares them.
        registry: where they are found from then on.
        fenced: called when the store says that the lease is lost.
    """

    def __init__(
        self, store: Store, lease: Lease, writes: WriteAhead, *, runner: CommandRunner, launcher: Launcher,
        registry: Registry, fenced: Callable[[BaseException], None],
    ) -> None:  # fmt: skip
        self._store = store
        self._lease = lease
        self._writes = writes
        self._runner = runner
        self._scheduler: Scheduler = runner.scheduler
        self._launcher = launcher
        self._registry = registry
        self._fenced = fenced
        #: Id -> what can't go on here yet.
        self.waiting: dict[str, Waiting] = {}
        #: Executions that were taken up and have not been found by the step that started them -> their parent's id.
        self._children: WeakKeyDictionary[Execution, str] = WeakKeyDictionary()
        self._recovering = asyncio.Lock()
        self._reviving: asyncio.Task[None] | None = None
        self._trying: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self.tasks: set[asyncio.Task[Any]] = set()
        self.closed = False
        #: Executions that were taken up before -> how often, for what the store could not keep, or after crashes.
        self._again: WeakKeyDictionary[Execution, int] = WeakKeyDictionary()
        #: Executions taken over from dead owners.
        self.recovered = 0

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
            while not self.closed and (claimed := await self._store.claim(self._lease.epoch, CLAIM)):
                for info in claimed:
                    if self._registry.known(info.execution) is None:
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
        above = self._registry.known(parent)
        if run.over or Stepper(run).caller is not None:  # its parent has found it
            del self._children[run]
            return False
        if above is not None:
            machine: Machine | None = Stepper(above).machine
            gone = machine is not None and machine.phase in GONE and machine.verdict[0] is not Status.SUCCESS
        else:
            ends = [record for record in await self._store.load(parent) if isinstance(record, ExecutionEnded)]
            gone = bool(ends) and ends[-1].status != Status.SUCCESS
        if gone:
            self._children.pop(run, None)
            self._runner.feed(run, e.AbortAsked(reason=f"aborted, as was {parent}, which had started it"))
        return gone

    async def _ready(self, waiting: Waiting) -> tuple[Plan, list[Record]] | None:
        """The plan and the records of an execution; None when it can't go on yet: then ``waiting.reason`` says why."""
        info, before = waiting.info, waiting.reason
        if waiting.kind == ENDING:
            return None
        try:
            if waiting.records is None:
                waiting.records = [*await self._store.load(info.execution)]
            start = waiting.records[0] if waiting.records else None
            if not isinstance(start, ExecutionStarted):
                raise StoreCorrupt("its start is not in the store")
            if any(isinstance(record, ExecutionEnded) for record in waiting.records):
                del self.waiting[info.execution]
                waiting.tell()
                return None
            options, _, _, steps = read_options(start.options)
            plan = await self.plan_of(start, options.step, steps)
            flow = self._runner.options.flow
            missing = [] if flow is None else flow.missing(plan)
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
        runner, now = self._runner, self._scheduler.time
        ahead = self._writes.recorder.ahead
        utc = now + ahead
        if info.recoveries >= runner.options.max_recoveries and Projection(records).pause is None:
            records = [*records, Paused(info.execution, POISON.format(info.recoveries), utc)]
        run = self._launcher.prepare(plan, decode_outcome(start.request, json), options, depth=depth)
        stepper = Stepper(run)
        stepper.name, stepper.durable, stepper.own_steps = info.execution, True, steps
        try:
            machine = runner.machine_of(run)
            stepper.backdate(max(0.0, start.time_utc - ahead))
            for record in records:
                keep(run, record)
            if stepper.trace is not None:
                stepper.trace.recall(records, ahead)
            replayed = replay(machine, records, now, utc)
        except BaseException as error:
            runner.drop(run, error)
            raise
        if records[-1] is not waiting.records[-1]:  # type: ignore[index]
            self._writes.journal.write(records[-1])
        if replayed.plain:
            stepper.machine = None  # its way is the short one again
        del self.waiting[info.execution]
        self._registry.remember(run)
        if info.recoveries:
            self._again[run] = info.recoveries
        if start.parent is not None:
            self._children[run] = start.parent
        waiting.tell()
        runner.perform(run, replayed.commands)
        self._scheduler.launch(run)
        for event in replayed.events:
            runner.feed(run, event)

    async def plan_of(self, start: ExecutionStarted, step: str | None, steps: bytes | None) -> Plan:
        """The plan that a stored execution began with. Raises what `Flow.plan_of` raises."""
        flow = self._runner.options.flow
        if flow is None:
            raise InvalidOption("a Flow that knows its steps: this executor has none", fix="use Flow(executor=...)")
        plan: Plan = await flow.plan_of(start.flow, start.revision, step, steps)
        return plan

    def read_again(self, run: Execution, recoveries: int = 0) -> None:
        """Take an execution up anew, from what the store has of it."""
        began = Stepper(run).span[0] + self._writes.recorder.ahead
        epoch = self._lease.epoch.number
        info = ExecutionInfo(run.id, run.flow, run.revision, Status.RUNNING, None, began, None, epoch, recoveries)
        self.waiting[run.id] = Waiting(info)
        self.rebound()

    def rebound(self) -> None:
        """Callables became known: try again what waits for some."""
        if self.waiting and self._reviving is None and not self.closed:
            self._reviving = self._trying = self.spawn(self._try_again())

    async def tried(self) -> None:
        """Wait until those that wait have been tried again, when that is about to happen."""
        if self._trying is not None and not self._trying.done():
            await asyncio.wait([self._trying])

    def let_go(self) -> None:
        """What waits here goes on elsewhere, or later."""
        waiting, self.waiting = self.waiting, {}
        for one in waiting.values():
            one.tell()

    async def _try_again(self) -> None:
        await asyncio.sleep(0)  # the caller registers more of them, perhaps
        self._reviving = None
        async with self._recovering:
            await self._revive_all([*self.waiting.values()])

    def look_round(self) -> None:
        """With each heartbeat: clocks drift, and others may have died."""
        self._writes.recorder.ahead = self._scheduler.ahead
        looks = self._looking is not None and not self._looking.done()
        if self._writes.journal.trouble is None and not looks:  # an executor that can't write takes nothing on
            self._looking = self.spawn(self._look())

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

    def spawn(self, work: Any) -> asyncio.Task[None]:
        """Do something beside; `DurableSession.close` ends it."""
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("recovery failed", exc_info=task.exception())

"""`Keeper`: what an executor does with its store: starts are recorded, what was left unfinished is taken up.

An execution that can't go on here yet, because a callable is not registered or a definition can't be read, waits, and
is tried again when callables become known. One whose process died `max_recoveries` times without a step having ended in
between is paused: it may be what killed it.

Lives here: start, recovery, the loss of executions to others. Does not live here: the order of records and effects
(``runtime/durable.py``), leases (``runtime/tenure.py``), what is over (``runtime/archive.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from flow_core.codec import decode_outcome
from flow_core.engine import events as e
from flow_core.engine.execution import Machine, Phase
from flow_core.engine.replay import Replayed, replay
from flow_core.errors import FlowError, LeaseLost, StoreError
from flow_core.records import Change, ExecutionInfo, ExecutionStarted, Record
from flow_core.runtime.durable import PATIENCE, DurablePerformer
from flow_core.runtime.journal import ExecutionStore, Journal
from flow_core.runtime.scribe import Scribe, read_options
from flow_core.runtime.tenure import Tenure
from flow_core.tracing import with_current_trace

if TYPE_CHECKING:
    from flow_core.core.plan import Plan
    from flow_core.runtime.execution import Execution
    from flow_core.runtime.executor import Executor

__all__ = ["Keeper", "Waiting"]

log = logging.getLogger("flow_core")

#: Executions that are claimed in one go.
CLAIM = 1000


class Waiting:
    """An execution that was taken over and can't go on here yet, and ``reason``, why not."""

    __slots__ = ("_gone", "info", "reason", "records")

    def __init__(self, info: ExecutionInfo, records: list[Record], reason: str) -> None:
        self.info = info
        self.records = records
        self.reason = reason
        self._gone = asyncio.Event()

    async def gone(self) -> None:
        """Wait until it goes on, here or elsewhere."""
        await self._gone.wait()

    def tell(self) -> None:
        """It waits no more."""
        self._gone.set()


class Keeper:
    """See the module.

    Args:
        executor: whose executions they are.
        store: open.
        name: of the executor, unique among those that share the store.
    """

    def __init__(self, executor: Executor, store: ExecutionStore, name: str) -> None:
        self._executor = executor
        self.store = store
        self._performer: DurablePerformer = executor.performer  # type: ignore[assignment]
        self._driver = executor.driver
        options = executor.options
        self._most_recoveries = options.max_recoveries
        self._tenure = Tenure(store, name, options.lease, self._look_round, self._fenced)
        #: Id -> what waits for a callable.
        self.waiting: dict[str, Waiting] = {}
        self._reviving: asyncio.Task[None] | None = None
        self._recovering = asyncio.Lock()
        self._looking = False
        self._unwatch: Callable[[], None] = lambda: None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.closed = False
        #: Executions taken over from dead owners, and lost to others.
        self.recovered = self.lost = 0
        self._commits = self._records = 0  # of journals before the present one

    async def open(self) -> None:
        """Begin an epoch, take up what is unfinished, start the heartbeat. Raises `StoreError`."""
        await self._begin()
        await self.recover()
        self._unwatch = self.store.watch(self._heard)
        self._tenure.start()

    async def _begin(self) -> None:
        epoch = await self._tenure.begin()
        self._performer.scribe = Scribe(self._driver.ahead)
        self._performer.journal = Journal(self.store, epoch, self._driver.release, self._lost)

    def statistics(self) -> dict[str, int]:
        """The counters, by their names in `ExecutorStatistics`."""
        journal = self.journal
        return {
            "commits": self._commits + journal.commits, "records": self._records + journal.written,
            "recovered": self.recovered, "lost": self.lost, "waiting": len(self.waiting),
        }  # fmt: skip

    @property
    def journal(self) -> Journal:
        """Where records go now."""
        return self._performer.journal

    def _heard(self, change: Change) -> None:
        """Somebody left executions behind, perhaps: look at once, and not with the next heartbeat."""
        if Change.WORK in change and not self._looking:
            self._looking = True
            self._spawn(self._look())

    async def _look(self) -> None:
        self._looking = False
        try:
            await self._look_round()
        except LeaseLost as error:
            self._fenced(error)
        except StoreError as error:
            log.warning("the store can't be asked for executions: %s", error.message)

    async def close(self, reason: BaseException) -> None:
        """Write nothing any more and give up the epoch. What has not ended goes on elsewhere, or later."""
        self.closed = True
        self._unwatch()
        for task in [*self._tasks]:
            task.cancel()
        with contextlib.suppress(TimeoutError, FlowError):  # failed attempts, say: nobody waits for those
            async with asyncio.timeout(PATIENCE):
                await self.journal.committed("")
        self.journal.close(reason)
        await self._tenure.end()

    # --- starting -----------------------------------------------------------------------------------------------------

    async def start(self, run: Execution, steps: bytes | None, recalled: Sequence[tuple[int, Any]] = ()) -> None:
        """Launch a prepared execution when its start is committed.

        Args:
            steps: encoded, of an execution without a registered flow.
            recalled: (index, value) of steps whose outputs it takes over from another one.

        Raises:
            PayloadError: the request can't be written; Conflict: the store has an execution of this id; LeaseLost and
            what `Executor.stop` says: it did not begin here.
        """
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        run.name = run.id  # asked for with every record
        run.durable, run.own_steps, run.options = True, steps, with_current_trace(run.options)
        scribe = self._performer.scribe
        try:
            records: list[Record] = [scribe.started(run, steps)]
            for index, value in recalled:
                run.recall(index, value)
                records.append(scribe.recalled(run, index, value))
        except FlowError as error:
            self._performer.drop(run, error)
            raise
        for record in records:
            self.journal.write(record)
        self.journal.then(run.name, partial(self._started, run, started))
        await started

    def _started(self, run: Execution, started: asyncio.Future[None], error: BaseException | None) -> None:
        if error is not None:
            self._performer.drop(run, error)
            if not started.done():
                started.set_exception(error)
            return
        unwanted = started.cancelled()
        if not started.done():
            started.set_result(None)
        if run.over:
            return
        self._executor.launch(run)
        if unwanted:
            self._performer.feed(run, e.AbortAsked(reason="cancelled by its caller"))

    # --- recovery -----------------------------------------------------------------------------------------------------

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
        """Take up every unfinished execution whose owner is gone; returns how many. Raises `StoreError`."""
        async with self._recovering:
            return await self._recover()

    async def _recover(self) -> int:
        count = 0
        while not self.closed and (claimed := await self.store.claim(self._tenure.epoch, CLAIM)):
            prepared = [await self._take_over(info) for info in claimed]  # all, so that a parent finds its children
            for one in prepared:
                if one is not None:
                    self._go_on(*one)
            count += len(claimed)
        self.recovered += count
        return count

    async def _take_over(self, info: ExecutionInfo) -> tuple[Execution, Replayed] | None:
        records = [*await self.store.load(info.execution)]
        if not records:
            return None
        return await self._revive(Waiting(info, records, ""))

    async def _revive(self, waiting: Waiting) -> tuple[Execution, Replayed] | None:
        """The execution, ready to go on; None when it can't yet, or needs nobody."""
        info, start = waiting.info, waiting.records[0]
        assert isinstance(start, ExecutionStarted)
        if self._executor.known(info.execution) is not None:
            return None
        try:
            options, json, depth, steps = read_options(start.options)
            plan = await self.plan_of(start, options.step, steps)
            missing = self._executor.flow.missing(plan)
        except StoreError:
            raise
        except FlowError as error:
            missing = [error.message]
            plan = None
        if missing or plan is None:
            waiting.reason = "it waits for " + ", ".join(missing[:5])
            if info.execution not in self.waiting:
                log.warning("execution %s of flow %s can't go on yet: %s", info.execution, info.flow, waiting.reason)
            self.waiting[info.execution] = waiting
            return None
        self.waiting.pop(info.execution, None)
        waiting.tell()
        run = self._executor.prepare(plan, decode_outcome(start.request, json), options, depth)
        run.name, run.durable, run.own_steps = info.execution, True, steps
        self._executor.remember(run)
        machine = self._performer.machine_of(run)
        now = self._driver.time
        run.backdate(max(0.0, start.time_utc - self._performer.scribe.ahead))
        if run.trace is not None:
            run.trace.recall(waiting.records, self._performer.scribe.ahead)
        replayed = replay(machine, waiting.records, now, now + self._performer.scribe.ahead)
        if is_plain(machine) and not (replayed.commands or replayed.events):
            run.machine = None  # its way is the short one again
        if info.recoveries >= self._most_recoveries and not machine.paused:
            reason = (
                f"its process ended {info.recoveries} times without a step of it having ended in between; "
                "look at what it does, then resume it"
            )
            replayed.events.insert(0, e.PauseAsked(reason))
        return run, replayed

    async def plan_of(self, start: ExecutionStarted, step: str | None, steps: bytes | None) -> Plan:
        """The plan that a stored execution began with. Raises what `Flow.plan_of` raises."""
        plan: Plan = await self._executor.flow.plan_of(start.flow, start.revision, step, steps)
        return plan

    def _go_on(self, run: Execution, replayed: Replayed) -> None:
        pauses = [event for event in replayed.events if isinstance(event, e.PauseAsked)]
        for event in pauses:  # before anything starts
            self._performer.feed(run, event)
        self._performer.resume_with(run, replayed.commands)
        self._driver.launch(run)
        for other in replayed.events:
            if other not in pauses:
                self._performer.feed(run, other)

    def rebound(self) -> None:
        """Callables became known: try again what waits for some."""
        if self.waiting and self._reviving is None and not self.closed:
            self._reviving = self._spawn(self._revive_all())

    async def _revive_all(self) -> None:
        await asyncio.sleep(0)  # the caller registers more of them, perhaps
        self._reviving = None
        prepared = [await self._revive(waiting) for waiting in [*self.waiting.values()]]
        for one in prepared:
            if one is not None:
                self._go_on(*one)

    async def _look_round(self) -> None:
        """With each heartbeat: clocks drift, and others may have died."""
        self._performer.scribe.ahead = self._driver.ahead
        if self.journal.trouble is None:  # an executor that can't write takes nothing on
            await self.recover()

    # --- loss ---------------------------------------------------------------------------------------------------------

    def _lost(self, execution: str | None, error: BaseException) -> None:
        """The store refused records: somebody else has this execution, or (None) perhaps all of them."""
        if execution is None:
            self._fenced(error)
            return
        run = self._executor.known(execution)
        if run is not None and run.durable:
            log.warning("execution %s goes on elsewhere: %s", execution, error)
            self.lost += 1
            self._performer.drop(run, error)

    def _fenced(self, error: BaseException) -> None:
        """The epoch is over: nothing of what is under way here may be written. Begin anew."""
        self.journal.close(error)
        for run in self._driver.runs_known():
            if not run.over and run.durable:
                self.lost += 1
                self._performer.drop(run, error)
        self._commits += self.journal.commits
        self._records += self.journal.written
        for waiting in self.waiting.values():
            waiting.tell()
        self.waiting.clear()
        if not self.closed:
            log.warning("this executor was taken for dead, its executions go on elsewhere; it begins anew: %s", error)
            self._spawn(self._begin_anew())

    async def _begin_anew(self) -> None:
        while not self.closed:
            try:
                await self._begin()
                await self.recover()
                return
            except LeaseLost:
                continue
            except StoreError as error:
                log.warning("the store can't be used: %s", error.message)
                await asyncio.sleep(1.0)

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("recovery failed", exc_info=task.exception())


def is_plain(machine: Machine) -> bool:
    """Whether a machine knows nothing that its run does not know."""
    knows = machine.errors or machine.recovered or machine.compensated or machine.timers or machine.frozen
    return machine.phase is Phase.FORWARD and not (machine.paused or knows or machine.timeout is not None)

"""`Keeper`: what an executor does with its store: starts are recorded, what was left unfinished is taken up.

Lives here: the start of executions, the right to write, the loss of executions to others. Does not live here: recovery
(``runtime/recovery.py``), the order of records and effects (``runtime/durable.py``), leases (``runtime/tenure.py``),
what is over (``runtime/archive.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from flow_core.core.stepper import Stepper
from flow_core.engine import events as e
from flow_core.errors import Conflict, ExecutionAborted, ExecutorStopped, FlowError, LeaseLost, StoreError
from flow_core.model.records import Epoch, ErrorRecord, ExecutionEnded, Record
from flow_core.model.revisions import Change
from flow_core.model.status import Status
from flow_core.model.trace_context import with_current_trace
from flow_core.runtime.durable.journal import ExecutionStore, Journal
from flow_core.runtime.durable.lease import BEATS, Tenure
from flow_core.runtime.durable.recorder import Scribe
from flow_core.runtime.durable.recovery import ENDING, Recovery, Waiting
from flow_core.runtime.durable.write_ahead import PATIENCE

if TYPE_CHECKING:
    from flow_core.runtime.execution import Execution
    from flow_core.runtime.executor import Executor

__all__ = ["Keeper", "Waiting"]

log = logging.getLogger("flow_core")


class Keeper(Recovery):
    """See the module.

    Args:
        executor: whose executions they are.
        store: open.
        name: of the executor, unique among those that share the store.
    """

    def __init__(self, executor: Executor, store: ExecutionStore, name: str) -> None:
        super().__init__(executor, store)
        self._tenure = Tenure(store, name, executor.options.lease, self._look_round, self._fenced)
        self._beginning: asyncio.Task[None] | None = None
        self._began = 0.0  # loop time
        self._unwatch: Callable[[], None] = lambda: None
        #: Executions lost to others.
        self.lost = 0
        self._commits = self._records = 0  # of journals before the present one

    async def open(self) -> None:
        """Begin an epoch, start the heartbeat, take up what is unfinished. Raises `StoreError`."""
        await self._begin()
        self._unwatch = self.store.watch(self._heard)
        self._tenure.start()
        try:
            await self.recover()
        except BaseException as error:
            await self.close(error)
            raise

    async def _begin(self) -> None:
        epoch = await self._tenure.begin()
        before = getattr(self._performer, "journal", None)
        if before is not None:
            self._commits += before.commits
            self._records += before.written
        self._began = self._scheduler.time
        self._performer.scribe = Scribe(self._scheduler.ahead)
        self._performer.journal = Journal(self.store, epoch, self._scheduler.release, partial(self._lost, epoch))

    def statistics(self) -> dict[str, int]:
        """The counters, by their names in `ExecutorStatistics`."""
        journal = self.journal
        return {
            "commits": self._commits + journal.commits, "records": self._records + journal.written,
            "recovered": self.recovered, "lost": self.lost, "waiting": len(self.waiting),
        }  # fmt: skip

    def _heard(self, change: Change) -> None:
        """Somebody left executions behind, perhaps: look at once, and not with the next heartbeat."""
        if Change.WORK in change:
            self._look_round()

    async def close(self, reason: BaseException) -> None:
        """Write nothing any more and give up the epoch. What has not ended goes on elsewhere, or later."""
        self.closed = True
        self._unwatch()
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        with contextlib.suppress(TimeoutError, FlowError):  # failed attempts, say: nobody waits for those
            async with asyncio.timeout(PATIENCE):
                await self.journal.committed("")
        self._let_go(reason)
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._tenure.end()

    # --- starting -----------------------------------------------------------------------------------------------------

    async def ready(self) -> None:
        """Wait until an executor that was taken for dead has begun anew."""
        while (beginning := self._beginning) is not None and not beginning.done():
            await asyncio.wait([beginning])

    async def give_up(self, waiting: Waiting) -> None:
        """Abort an execution that can't go on here, perhaps never will. Nothing of it is undone."""
        before, waiting.kind = waiting.kind, ENDING
        info, now = waiting.info, self._scheduler.time + self._performer.scribe.ahead
        why = f"execution of flow {info.flow!r} was aborted; {waiting.reason}"
        error = ErrorRecord(ExecutionAborted.code, why, ExecutionAborted.__name__)
        self.journal.write(ExecutionEnded(info.execution, Status.ABORTED, error, now))
        try:
            await self.journal.committed(info.execution)
        except BaseException:
            waiting.kind = before
            raise
        if self.waiting.pop(info.execution, None) is not None:
            waiting.tell()

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
        stepper = Stepper(run)
        stepper.name = run.id  # asked for with every record
        stepper.durable, stepper.own_steps, stepper.options = True, steps, with_current_trace(run.options)
        scribe = self._performer.scribe
        try:
            records: list[Record] = [scribe.started(run, steps)]
            for index, value in recalled:
                Stepper(run).recall(index, value)
                records.append(scribe.recalled(run, index, value))
        except FlowError as error:
            self._performer.drop(run, error)
            raise
        for record in records:
            self.journal.write(record)
        self.journal.then(run.id, partial(self._started, run, started))
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
        if unwanted:  # before its first step starts
            self._performer.feed(run, e.AbortAsked(reason="cancelled by its caller"))
        else:
            self._executor.launch(run)

    # --- loss ---------------------------------------------------------------------------------------------------------

    def _lost(self, epoch: Epoch, execution: str | None, error: BaseException) -> None:
        """The store refused records: somebody else has this execution, or (None) perhaps all of them."""
        if epoch is not self._tenure.epoch:
            return  # a journal that was given up before
        if execution is None:
            self._fenced(error)
            return
        run = self._executor.known(execution)
        if run is None or not Stepper(run).durable or run.over:
            return
        log.warning("execution %s goes on from what the store has of it: %s", execution, error)
        self.lost += 1
        self._performer.drop(run, error)
        if isinstance(error, Conflict):  # it is ours still, and was not where we took it to be
            self.read_again(run)
        elif not isinstance(error, LeaseLost):
            self.take_again(run)

    def _fenced(self, error: BaseException) -> None:
        """The epoch is over: nothing of what is under way here may be written. Begin anew."""
        self.closed |= isinstance(error, ExecutorStopped)
        self.lost += self._let_go(error)
        if not self.closed and self._beginning is None:
            log.warning("this executor was taken for dead, its executions go on elsewhere; it begins anew: %s", error)
            self._beginning = self._spawn(self._begin_anew())

    def _let_go(self, error: BaseException) -> int:
        """Go on with nothing; returns with how many executions."""
        self.journal.close(error)
        runs = [run for run in self._scheduler.runs_known() if Stepper(run).durable and not run.over]
        for run in runs:
            self._performer.drop(run, error)
        waiting, self.waiting = self.waiting, {}
        for one in waiting.values():
            one.tell()
        return len(runs)

    async def _begin_anew(self) -> None:
        delay = 0.0
        if self._scheduler.time - self._began < self._tenure.lease:  # once more already: somebody has this name, too?
            delay = self._tenure.lease / BEATS
        try:
            while not self.closed:
                await asyncio.sleep(delay)
                try:
                    await self._begin()
                    await self.recover()
                except StoreError as error:
                    log.warning("this executor can't begin anew: %s", error.message)
                if self.journal.closed is None:
                    return
                delay = min(max(1.0, 2 * delay), self._tenure.lease)
        finally:
            self._beginning = None

"""What an executor does with its store: it records starts, takes up what was left unfinished, lets go what it lost.

The order of records and effects is that of ``write_ahead.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from flow_core.core.stepper import Stepper
from flow_core.engine import events as e
from flow_core.engine.compiler import check_start
from flow_core.errors import Conflict, ExecutionAborted, ExecutorStopped, FlowError, LeaseLost, StoreError
from flow_core.model.backoff import Backoff
from flow_core.model.options import DEFAULT_EXECUTE_OPTIONS
from flow_core.model.records import Epoch, ErrorRecord, ExecutionEnded, Record
from flow_core.model.revisions import Change
from flow_core.model.status import Status
from flow_core.model.store import Store
from flow_core.model.trace_context import OPENTELEMETRY, with_current_trace
from flow_core.runtime.durable.journal import Journal
from flow_core.runtime.durable.lease import BEATS, Lease
from flow_core.runtime.durable.recorder import Recorder
from flow_core.runtime.durable.recovery import Recovery
from flow_core.runtime.durable.waiting import ENDING, Waiting
from flow_core.runtime.durable.write_ahead import PATIENCE, WriteAhead

if TYPE_CHECKING:
    from flow_core.core.plan import Plan
    from flow_core.core.scheduler import Scheduler
    from flow_core.model.options import ExecuteOptions
    from flow_core.runtime.commands import CommandRunner
    from flow_core.runtime.context import StepContext
    from flow_core.runtime.execution import Execution
    from flow_core.runtime.launcher import Launcher
    from flow_core.runtime.registry import Registry

__all__ = ["DurableSession"]

log = logging.getLogger("flow_core")


class DurableSession:
    """The time during which one executor writes to one store. Made by `begin`.

    Args:
        store: open.
        lease: the right to write, which has begun.
        runner: performs what is decided; from now on when that is committed.
        launcher: makes executions and drives them.
        registry: where they are found.
    """

    def __init__(
        self, store: Store, lease: Lease, runner: CommandRunner, launcher: Launcher, registry: Registry
    ) -> None:
        self.store = store
        self._lease = lease
        self._runner = runner
        self._scheduler: Scheduler = runner.scheduler
        self._launcher = launcher
        self._registry = registry
        self._began = self._scheduler.time  # loop time
        self._writes = WriteAhead(self._new_journal(), Recorder(self._scheduler.ahead))
        self.recovery = Recovery(
            store, lease, self._writes, runner=runner, launcher=launcher, registry=registry, fenced=self._fenced
        )
        self._beginning: asyncio.Task[None] | None = None
        self._unwatch: Callable[[], None] = lambda: None
        #: Executions lost to others.
        self._lost_count = 0
        self._commits = self._records = 0  # of journals before the present one
        runner.commit_with(self._writes)
        registry.recovers = True

    @classmethod
    async def begin(
        cls, store: Store, name: str, runner: CommandRunner, launcher: Launcher, registry: Registry
    ) -> DurableSession:
        """Win the right to write. Raises `StoreError`.

        Args:
            name: of the executor, unique among those that share the store.
        """
        lease = Lease(store, name, runner.options.lease)
        await lease.begin()
        return cls(store, lease, runner, launcher, registry)

    def _new_journal(self) -> Journal:
        epoch = self._lease.epoch
        return Journal(self.store, epoch, self._scheduler.release, partial(self._lost, epoch))

    async def open(self) -> None:
        """Start the heartbeat, take up what is unfinished. Raises `StoreError`."""
        self._unwatch = self.store.watch(self._heard)
        self._lease.start(self.recovery.look_round, self._fenced)
        try:
            await self.recovery.recover()
        except BaseException as error:
            await self.close(error)
            raise

    @property
    def journal(self) -> Journal:
        """Where records go now."""
        return self._writes.journal

    def statistics(self) -> dict[str, int]:
        """The counters, by their names in `ExecutorStatistics`."""
        journal, recovery = self.journal, self.recovery
        return {
            "commits": self._commits + journal.commits, "records": self._records + journal.written,
            "recovered": recovery.recovered, "lost": self._lost_count, "waiting": len(recovery.waiting),
        }  # fmt: skip

    def _heard(self, change: Change) -> None:
        """Somebody left executions behind, perhaps: look at once, and not with the next heartbeat."""
        if Change.WORK in change:
            self.recovery.look_round()

    async def close(self, reason: BaseException) -> None:
        """Write nothing any more and give up the epoch. What has not ended goes on elsewhere, or later."""
        self._close()
        self._unwatch()
        tasks = [*self.recovery.tasks]
        for task in tasks:
            task.cancel()
        with contextlib.suppress(TimeoutError, FlowError):  # failed attempts, say: nobody waits for those
            async with asyncio.timeout(PATIENCE):
                await self.journal.committed("")
        self._let_go(reason)
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._lease.end()

    def _close(self) -> None:
        """Whatever is dropped from now on does not go on here."""
        self.recovery.closed, self._registry.recovers = True, False

    # --- starting -----------------------------------------------------------------------------------------------------

    async def ready(self) -> None:
        """Wait until an executor that lost its lease has joined the store again."""
        while (beginning := self._beginning) is not None and not beginning.done():
            await asyncio.wait([beginning])

    async def start(
        self, plan: Plan, request: Any, options: ExecuteOptions | None, caller: StepContext | None,
        steps: Callable[[], bytes] | None,
    ) -> Execution:  # fmt: skip
        """Start an execution, or find the one that has its id; returns when its start is committed.

        Args:
            steps: encodes them, for an execution without a registered flow.

        Raises:
            as `Launcher.start` and `launch`.
        """
        encoded = None if steps is None else steps()  # before there is anything that would have to be undone
        if self._beginning is not None:
            await self.ready()
        options = options or DEFAULT_EXECUTE_OPTIONS
        if options.id is not None:
            await self.recovery.settled(options.id)
            known = self._registry.same(plan, request, options.id, caller)
            if known is not None:
                if not known.over:
                    await self.journal.committed(known.id)
                return known
        if options is not DEFAULT_EXECUTE_OPTIONS or plan.mappings:
            check_start(plan, options)
        run = self._launcher.prepare(plan, request, options, caller)
        try:
            if Stepper(run).name is not None:
                self._registry.remember(run)
            await self.launch(run, encoded)
        except Exception:
            self._registry.forget(run)
            raise
        return run

    def launch(
        self, run: Execution, steps: bytes | None, recalled: Sequence[tuple[int, Any]] = ()
    ) -> asyncio.Future[None]:
        """Launch a prepared execution when its start is committed; to be awaited.

        Args:
            steps: encoded, of an execution without a registered flow.
            recalled: (index, value) of steps whose outputs it takes over from another one.

        Raises:
            PayloadError: the request can't be written; Conflict: the store has an execution of this id; LeaseLost and
            what `Executor.stop` says: it did not begin here.
        """
        stepper = Stepper(run)
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        stepper.name = run.id  # asked for with every record
        stepper.durable, stepper.own_steps = True, steps
        if OPENTELEMETRY in sys.modules:
            stepper.options = with_current_trace(run.options)
        journal, recorder = self._writes.journal, self._writes.recorder
        try:
            records: list[Record] = [recorder.started(run, steps)]
            for index, value in recalled:
                stepper.recall(index, value)
                records.append(recorder.recalled(run, index, value))
        except FlowError as error:
            self._runner.drop(run, error)
            raise
        for record in records:
            journal.write(record)
        journal.then(stepper.name, partial(self._started, run, started))
        return started

    def _started(self, run: Execution, started: asyncio.Future[None], error: BaseException | None) -> None:
        if error is not None:
            self._runner.drop(run, error)
            if not started.done():
                started.set_exception(error)
            return
        unwanted = started.cancelled()
        if not started.done():
            started.set_result(None)
        if run.over:
            return
        if unwanted:  # before its first step starts
            self._runner.feed(run, e.AbortAsked(reason="cancelled by its caller"))
        else:
            self._launcher.launch(run)

    async def give_up(self, waiting: Waiting) -> None:
        """Abort an execution that can't go on here, perhaps never will. Nothing of it is undone."""
        before, waiting.kind = waiting.kind, ENDING
        info, now = waiting.info, self._scheduler.time + self._writes.recorder.ahead
        why = f"execution of flow {info.flow!r} was aborted; {waiting.reason}"
        error = ErrorRecord(ExecutionAborted.code, why, ExecutionAborted.__name__)
        self.journal.write(ExecutionEnded(info.execution, Status.ABORTED, error, now))
        try:
            await self.journal.committed(info.execution)
        except BaseException:
            waiting.kind = before
            raise
        if self.recovery.waiting.pop(info.execution, None) is not None:
            waiting.tell()

    # --- loss ---------------------------------------------------------------------------------------------------------

    def _lost(self, epoch: Epoch, execution: str | None, error: BaseException) -> None:
        """The store refused records: somebody else has this execution, or (None) perhaps all of them."""
        if epoch is not self._lease.epoch:
            return  # a journal that was given up before
        if execution is None:
            self._fenced(error)
            return
        run = self._registry.known(execution)
        if run is None or not Stepper(run).durable or run.over:
            return
        log.warning("execution %s goes on from what the store has of it: %s", execution, error)
        self._lost_count += 1
        self._runner.drop(run, error)
        if isinstance(error, Conflict):  # it is ours still, and was not where we took it to be
            self.recovery.read_again(run)
        elif not isinstance(error, LeaseLost):
            self.recovery.take_again(run)

    def _fenced(self, error: BaseException) -> None:
        """The epoch is over: nothing of what is under way here may be written. Begin anew."""
        if isinstance(error, ExecutorStopped):
            self._close()
        self._lost_count += self._let_go(error)
        if not self.recovery.closed and self._beginning is None:
            log.warning("this executor was taken for dead, its executions go on elsewhere; it begins anew: %s", error)
            self._beginning = self.recovery.spawn(self._begin_anew())

    def _let_go(self, error: BaseException) -> int:
        """Go on with nothing; returns with how many executions."""
        self.journal.close(error)
        runs = [run for run in self._scheduler.runs_known() if Stepper(run).durable and not run.over]
        for run in runs:
            self._runner.drop(run, error)
        self.recovery.let_go()
        return len(runs)

    async def _begin_anew(self) -> None:
        delay = 0.0
        if self._scheduler.time - self._began < self._lease.seconds:  # once more already: another one has this name?
            delay = self._lease.seconds / BEATS
        backoff, failures = Backoff(max(1.0, 2 * delay), self._lease.seconds), 0
        try:
            while not self.recovery.closed:
                await asyncio.sleep(delay)
                try:
                    await self._lease.begin()
                    self._commits += self.journal.commits
                    self._records += self.journal.written
                    self._began = self._scheduler.time
                    self._writes.recorder.ahead = self._scheduler.ahead
                    self._writes.journal = self._new_journal()
                    await self.recovery.recover()
                except StoreError as error:
                    log.warning("this executor can't begin anew: %s", error.message)
                if self.journal.closed is None:
                    return
                failures += 1
                delay = backoff.delay(failures)
        finally:
            self._beginning = None

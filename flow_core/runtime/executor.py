"""`Executor`: starts executions, and stops.

Lives here: starting and restarting, idempotent ids, statistics, drain and stop. Does not live here: what can be asked
by id (`ById`), finding (`Directory`), the line of callers who wait for room (`Admission`), the store (`Keeper`), names
of flows (``flow.py``), decisions (``engine/``), stepping (``core/``).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import secrets
from asyncio import get_running_loop
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from flow_core.core.plan import Plan
from flow_core.core.scheduler import Scheduler
from flow_core.core.status_table import StatusTable
from flow_core.core.stepper import Stepper
from flow_core.engine import events as e
from flow_core.engine.adhoc import own_plan
from flow_core.engine.bindings import Bindings
from flow_core.engine.compiler import check_start
from flow_core.errors import Conflict, ExecutorStopped, InvalidOption
from flow_core.model.options import DEFAULT_EXECUTE_OPTIONS, ExecuteOptions, ExecutorOptions
from flow_core.model.payload import encode_value
from flow_core.model.step import Step
from flow_core.runtime.admission import Admission
from flow_core.runtime.by_id import ById
from flow_core.runtime.commands import Performer
from flow_core.runtime.context import StepContext
from flow_core.runtime.drain import all_at_rest
from flow_core.runtime.durable.journal import ExecutionStore
from flow_core.runtime.durable.lease import process_name
from flow_core.runtime.durable.session import Keeper
from flow_core.runtime.durable.write_ahead import DurablePerformer
from flow_core.runtime.execution import Execution
from flow_core.runtime.fork import fork_of
from flow_core.runtime.lookup import Directory
from flow_core.runtime.loop import clock_of
from flow_core.runtime.shutdown import post_guard
from flow_core.runtime.statistics import ExecutorStatistics

__all__ = ["Executor", "ExecutorStatistics"]

#: Rows of the status table: reserved address space, touched only as executions come.
MOST_EXECUTIONS = 1 << 22


class Executor(ById):
    """Runs executions on the loop of its first use.

    Args:
        options: an `ExecutorOptions`; or give its fields as keywords.
    """

    def __init__(self, options: ExecutorOptions | None = None, **fields: Any) -> None:
        self._options = dataclasses.replace(options or ExecutorOptions(), **fields)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduler: Scheduler | None = None
        self._performer: Performer | None = None
        self._directory = Directory()
        self._keeper: Keeper | None = None
        self._durable = False
        self._stopping = False
        self._admission = Admission(self._options.queue)

    # --- life ----------------------------------------------------------------------------------------------------

    async def init(self, **fields: Any) -> None:
        """Change options. Raises `InvalidOption` while executions are under way."""
        if self._scheduler is not None and self._scheduler.live:
            raise InvalidOption(f"{self._scheduler.live} executions are under way", fix="init() before the first one")
        if self._keeper is not None:
            raise InvalidOption("the executor has opened its store", fix="init() before the first one")
        self._options = dataclasses.replace(self._options, **fields)
        self._unbind()

    @property
    def options(self) -> ExecutorOptions:
        """The options in force."""
        return self._options

    def adopt(self, flow: Any) -> None:
        """Let a `Flow` be the one in which child executions find other flows."""
        self._options = dataclasses.replace(self._options, flow=flow)
        if self._performer is not None:
            self._performer.options = self._options

    @property
    def flow(self) -> Any:
        """The `Flow` that finds flows by name for it."""
        return self._options.flow

    @property
    def performer(self) -> Performer:
        """The scheduler's handler."""
        assert self.scheduler is not None and self._performer is not None
        return self._performer

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler on the running loop, made when it is first needed.

        Raises:
            ExecutorStopped: `stop` was called.
            InvalidOption: it is at home on another loop.
        """
        loop = get_running_loop()
        if self._scheduler is None or self._loop is not loop:
            self._bind(loop)
        assert self._scheduler is not None
        return self._scheduler

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._stopping:
            raise ExecutorStopped("the executor is stopped", fix="make a new Executor")
        if self._scheduler is not None and self._loop is not None and not self._loop.is_closed():
            raise InvalidOption("the executor runs on another event loop", fix="use one Executor (and Flow) a loop")
        if self._keeper is not None:
            raise InvalidOption("the executor's store was opened on another event loop", fix="use one Flow a loop")
        options = self._options
        self._loop, nonce = loop, secrets.randbits(32)  # ids start anew with each scheduler
        self._performer = (DurablePerformer if self._durable else Performer)(options, self._ended)
        keep = options.keep if isinstance(options.keep, int) else MOST_EXECUTIONS
        self._scheduler = Scheduler(
            loop, table=StatusTable(MOST_EXECUTIONS), handler=self._performer, run_type=Execution,
            context_type=StepContext, encode=encode_value, limit=options.concurrency, keep=keep, nonce=nonce,
            clock=clock_of(loop), budget=options.budget,
        )  # fmt: skip
        self._scheduler.notify, self._scheduler.tracer = not isinstance(options.keep, int), self._tracer
        self._performer.scheduler = scheduler = self._scheduler
        self.start_at_once = scheduler.start_at_once  # type: ignore[method-assign]
        self._admission = Admission(options.queue, scheduler)
        self._directory = Directory(scheduler, nonce)
        self._guard = post_guard(loop, self._end_live)

    def _unbind(self) -> None:
        if self._scheduler is not None:
            self._guard.cancel()
        self._scheduler = self._performer = self._loop = None
        vars(self).pop("start_at_once", None)

    async def attach(self, store: ExecutionStore) -> None:
        """Keep executions in ``store``, which is open, and go on with those that were left unfinished there.

        Raises:
            StoreError; InvalidOption: executions that live in this process only are under way.
        """
        if self._scheduler is not None and self._scheduler.live:
            raise InvalidOption(
                f"{self._scheduler.live} executions are under way without a store", fix="attach it first"
            )
        if self._keeper is not None:
            raise InvalidOption("the executor has a store already", fix="use one Executor (and Flow) a store")
        self._unbind()
        self._durable = True
        try:
            keeper = Keeper(self, store, self._options.name or process_name())
            self._keeper = self._directory.keeper = keeper
            await keeper.open()
        except BaseException:  # whoever opens it again finds nothing of this
            self._unbind()
            self._keeper, self._durable = None, False
            raise

    async def recover(self) -> int:
        """Go on with unfinished executions whose owner is gone; returns how many. `attach` and each heartbeat do it."""
        return 0 if self._keeper is None else await self._keeper.recover()

    def rebound(self) -> None:
        """Callables became known: executions that waited for them go on."""
        if self._keeper is not None:
            self._keeper.rebound()

    async def stop(self, drain: float | None = None) -> None:
        """Refuse new work, wait up to ``drain`` seconds for what runs, then end the rest, which becomes STOPPED.

        What is paused is not waited for, once nothing of it is under way.

        Args:
            drain: seconds; the executor's option when None.
        """
        self._stopping = True
        self._admission.close()
        scheduler, performer = self._scheduler, self._performer
        if scheduler is not None and performer is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._options.drain if drain is None else drain):
                    await all_at_rest(scheduler.runs_known)
            await self._end_live()
            if self._keeper is not None:
                await self._keeper.close(ExecutorStopped("the executor has stopped"))
            performer.pool.shutdown()
            scheduler.close()
            self._guard.cancel()
        self._stopped()

    async def _end_live(self) -> None:
        """End what is under way, children that started meanwhile included; it becomes STOPPED."""
        if self._scheduler is not None and self._performer is not None:
            live = [run for run in self._scheduler.runs_known() if not run.over]
            for run in live:
                self._performer.feed(run, e.StopAsked())
            await self._performer.wait_for_end(live)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # --- start ---------------------------------------------------------------------------------------------------

    async def execute(
        self, steps: Plan | Sequence[Step], request: Any = b"", *, options: ExecuteOptions | None = None, **fields: Any
    ) -> Execution:
        """Execute a plan, or a list of steps.

        Args:
            steps: a `Plan`, or the steps of a flow without a name.
            request: input of the roots.
            options: an `ExecuteOptions`; or give its fields as keywords.

        Returns:
            the execution; over unless ``async_=True``.

        Raises:
            ExecutorStopped, ExecutionConflict, MissingInput; what decided the end when it did not succeed.
        """
        if fields or options is not None:
            options = dataclasses.replace(options or ExecuteOptions(), **fields)
        plan, encode = (steps, None) if isinstance(steps, Plan) else own_plan(steps, options, Bindings())
        await self.admit()
        execution = await self.begin(plan, request, options, steps=encode)
        if options is None or not options.async_:
            await self.finish(execution)
        return execution

    async def admit(self) -> None:
        """Wait until there is room for another execution. Raises `ExecutorStopped`."""
        self._admission.refuse_closed()
        scheduler = self.scheduler
        if scheduler.live >= self._admission.bound:
            scheduler.notify = True
            await self._admission.enter()

    def _ended(self) -> None:
        """An execution ended: somebody who waits may start."""
        self._forget()
        self._admission.call_next()

    def start(
        self, plan: Plan, request: Any, options: ExecuteOptions | None = None, caller: StepContext | None = None
    ) -> Execution:
        """Start an execution without a store and drive it as far as it goes without waiting. Errors as `execute`."""
        if options is None and caller is None and not plan.mappings:
            plain: Execution = self.scheduler.start(plan, request)
            return plain
        options = options or DEFAULT_EXECUTE_OPTIONS
        run = self._directory.same(plan, request, options.id, caller)
        if run is None:
            run = self._prepared(plan, request, options, caller)
            self.launch(run)
        return run

    async def begin(
        self, plan: Plan, request: Any, options: ExecuteOptions | None = None, caller: StepContext | None = None,
        steps: Callable[[], bytes] | None = None,
    ) -> Execution:  # fmt: skip
        """The same with or without a store: returns when its start is recorded. ``steps`` encodes an own plan's."""
        keeper = self._keeper
        if keeper is None:
            return self.start(plan, request, options, caller)
        encoded = None if steps is None else steps()  # before there is anything that would have to be undone
        await keeper.ready()
        if options is not None and options.id is not None:
            await keeper.settled(options.id)
        options = options or DEFAULT_EXECUTE_OPTIONS
        known = self._directory.same(plan, request, options.id, caller)
        run = known or self._prepared(plan, request, options, caller)
        try:
            if known is None:
                if Stepper(run).name is not None:
                    self.remember(run)
                await keeper.start(run, encoded)
            elif not run.over:
                await keeper.journal.committed(run.id)
        except Conflict as conflict:
            return await self._directory.stored_before(run, conflict)  # type: ignore[return-value]
        except Exception:
            if known is None:
                self._directory.forget(run)
            raise
        return run

    def _prepared(self, plan: Plan, request: Any, options: ExecuteOptions, caller: StepContext | None) -> Execution:
        """A new execution. Whoever gets it launches it at once: with no memory left nothing may fail in between."""
        check_start(plan, options)
        return self.prepare(plan, request, options, 0 if caller is None else caller.depth + 1, caller)

    def prepare(
        self, plan: Plan, request: Any, options: ExecuteOptions, depth: int = 0, caller: StepContext | None = None
    ) -> Execution:
        """An execution that is not launched yet."""
        parent = None if caller is None else caller.run
        run: Execution = self.scheduler.prepare(
            plan, request, options, options.concurrency or 0, options.priority, depth, options.id, caller, parent
        )
        return run

    def remember(self, run: Execution) -> None:
        """Find an execution by the id that it was given."""
        self._directory.named[Stepper(run).name] = run

    def known(self, id: str) -> Execution | None:
        """The handle of an execution that is live, remembered, or held by somebody; None when there is none."""
        return self._directory.known(id)

    def launch(self, run: Execution) -> None:
        """Drive an execution that was prepared as far as it goes."""
        try:
            if Stepper(run).name is not None and not Stepper(run).durable:
                self.remember(run)
            if run.options.timeout is not None:
                self.performer.begin(run)
            self.scheduler.launch(run)
        except BaseException as error:
            if not run.over:
                self.performer.feed(run, e.AbortAsked(reason="not started: no memory"))
            elif run.error is not error:  # a step raised SystemExit; else the scheduler broke it off
                raise
            self._directory.forget(run)  # no memory: it ended here, and its id is free
            raise

    @staticmethod
    def start_at_once(plan: Plan, request: Any) -> Execution | None:
        """`start` without options of a plan that needs nothing from outside; None when there is more to it.

        Once the executor is at home on a loop the scheduler's own method stands here.
        """
        return None

    async def finish(self, execution: Execution) -> None:
        """Wait for the end and raise what decided it, unless it succeeded.

        Cancelling this wait aborts the execution, as cancelling ``await coroutine`` would.
        """
        if not execution.over:
            try:
                await Stepper(execution).scheduler.waiter(execution)
            except asyncio.CancelledError:
                self.abandon(execution)
                raise
        if execution.error is not None:
            raise execution.error

    def abandon(self, execution: Execution) -> None:
        """A caller was cancelled while it waited for an execution: abort it, unless others asked for it, too."""
        Stepper(execution).others -= 1
        if Stepper(execution).others < 0:
            Stepper(execution).scheduler.handler.feed(execution, e.AbortAsked(reason="cancelled by its caller"))

    async def restart(self, flow: str | None, id: str, step: str | None = None) -> Execution:
        """Execute a finished execution's request again, on the same revision, as a new execution.

        Args:
            step: start here, with the recorded outputs of the steps that don't come after it.

        Raises:
            UnknownExecution, UnknownStep; IllegalMove: it is not over; MissingInput: no record of what ``step`` needs.
        """
        old = await self._directory.anywhere(flow, id)
        fork = fork_of(old, step)
        await self.admit()
        options = dataclasses.replace(old.options or ExecuteOptions(), id=None, async_=True)
        if self._keeper is not None:
            await self._keeper.ready()
        run = self.prepare(fork.plan, old.request, options)
        if self._keeper is not None:
            own_steps = Stepper(old).own_steps if isinstance(old, Execution) else old.own_steps
            await self._keeper.start(run, own_steps, fork.recalled)
            return run
        for index, value in fork.recalled:
            Stepper(run).recall(index, value)
        self.launch(run)
        return run

    # --- figures -------------------------------------------------------------------------------------------------

    def statistics(self) -> ExecutorStatistics:
        """Counters, as one immutable record."""
        if self._scheduler is None or self._performer is None:
            return ExecutorStatistics()
        kept = {} if self._keeper is None else self._keeper.statistics()
        return ExecutorStatistics.of(self._scheduler, self._performer.retries, kept)

    def table(self) -> Any:
        """The status table: a NumPy structured array, one row an execution, a zero-copy read-only view."""
        return (self._scheduler or self.scheduler).runs.table.window()

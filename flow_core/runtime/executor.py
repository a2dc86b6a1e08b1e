"""`Executor`: makes the parts that run executions, and shuts them down when it stops.

The `Launcher` starts executions, or with a store the `DurableSession`; the `Lookup` finds them; callers who wait for
room queue in the `Admission`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from asyncio import get_running_loop
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, Unpack

from flow_core.core.plan import Plan
from flow_core.core.scheduler import Scheduler
from flow_core.core.status_table import StatusTable
from flow_core.core.stepper import Stepper
from flow_core.engine import events as e
from flow_core.engine.adhoc import own_plan
from flow_core.engine.bindings import Bindings
from flow_core.errors import Conflict, ExecutorStopped, InvalidOption
from flow_core.model.explanation import Explanation
from flow_core.model.options import (
    DEFAULT_EXECUTE_OPTIONS,
    ExecuteFields,
    ExecuteOptions,
    ExecutorFields,
    ExecutorOptions,
)
from flow_core.model.payload import encode_value
from flow_core.model.records import Page, Record
from flow_core.model.resolver import FlowResolver
from flow_core.model.status import Status
from flow_core.model.step import Step
from flow_core.model.store import Store
from flow_core.model.transition import Transition
from flow_core.runtime.admission import Admission
from flow_core.runtime.commands import CommandRunner, Immediate
from flow_core.runtime.context import StepContext
from flow_core.runtime.durable.lease import process_name
from flow_core.runtime.durable.session import DurableSession
from flow_core.runtime.execution import Execution
from flow_core.runtime.explain import explain, explain_stored, explain_waiting
from flow_core.runtime.fork import fork_of
from flow_core.runtime.launcher import Launcher, finish
from flow_core.runtime.lookup import Lookup
from flow_core.runtime.loop import own_clock, real_environment
from flow_core.runtime.registry import Registry
from flow_core.runtime.shutdown import all_at_rest, post_guard

__all__ = ["ExecutionTrace", "ExecutionTracer", "Executor", "ExecutorStatistics"]

log = logging.getLogger("flow_core")

#: Rows of the status table: reserved address space, touched only as executions come.
MOST_EXECUTIONS = 1 << 22


class ExecutionTrace(Protocol):
    """Is told about the steps of one execution, on the loop. Steps are named by index; its methods must not raise."""

    def enter(self, step: int, activity: int) -> None:
        """An attempt (0), the fallback (1) or the compensation (2) of a step begins, in the current context."""

    def failed(self, step: int, error: BaseException) -> None:
        """The current attempt of a step failed."""

    def activity_ended(self, step: int, activity: int, error: BaseException | None) -> None:
        """A fallback or a compensation is over."""

    def recall(self, records: Sequence[Record], ahead: float) -> None:
        """The execution continues here; these are its earlier records. ``ahead``: UTC minus loop seconds."""

    def ended(self) -> None:
        """The execution is over."""


class ExecutionTracer(Protocol):
    """Makes the trace of each execution that starts."""

    def begin(self, run: Any) -> ExecutionTrace:
        """Called in the context of the caller, when only ``plan`` and ``request`` of the execution are known."""


@dataclass(frozen=True, slots=True)
class ExecutorStatistics:
    """Counts of an executor since it started, and of what runs right now; slightly stale when read from another thread.

    With a store: ``commits`` and the ``records`` in them, executions ``recovered`` from dead owners, those ``lost`` to
    other executors along with the lease, and those ``waiting`` until their callables are registered here.
    """

    executions_started: int = 0
    executions_ended: int = 0
    executions_live: int = 0
    steps_ended: int = 0
    steps_suspended: int = 0
    steps_running: int = 0
    attempts_retried: int = 0
    late_outcomes: int = 0
    turns: int = 0
    commits: int = 0
    records: int = 0
    recovered: int = 0
    lost: int = 0
    waiting: int = 0

    @classmethod
    def of(cls, scheduler: Scheduler, retries: int, kept: Mapping[str, int]) -> Self:
        """Combine the counters of a scheduler, the number of retried attempts, and the counters of the store's side."""
        return cls(
            **scheduler.counters.snapshot(), executions_live=scheduler.live, steps_running=scheduler.running,
            attempts_retried=retries, turns=scheduler.turns.count, **kept,
        )  # fmt: skip


class Executor:
    """Runs executions on the event loop on which it is first used.

        executor = Executor(concurrency=100, workers=4)
        async with Flow(executor=executor) as flow:
            ...

    Methods that take a flow and an id raise `UnknownExecution` for an id that neither this process nor the store knows.
    Ids are unique over all flows: ``flow`` is only a check, and may be None.

    Args:
        options: an `ExecutorOptions`; or give its fields as keywords.
    """

    #: The scheduler's own method, which starts a plain execution in one call, and returns None for one with options, a
    #: caller or inputs from outside. The attribute is None with a store, and before the executor is bound to a loop.
    start_at_once: Callable[[Plan, Any], Execution | None] | None

    def __init__(self, options: ExecutorOptions | None = None, **fields: Unpack[ExecutorFields]) -> None:
        self._options = dataclasses.replace(options or ExecutorOptions(), **fields)
        self._session: DurableSession | None = None
        self._tracer: ExecutionTracer | None = None
        self._at_stop: tuple[Callable[[], None], ...] = ()
        self._stopping = False
        self._admission = Admission(self._options.queue)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduler: Scheduler | None = None
        self._runner: CommandRunner | None = None
        self._unbind()

    # --- life ----------------------------------------------------------------------------------------------------

    async def init(self, **fields: Unpack[ExecutorFields]) -> None:
        """Change options. Raises `InvalidOption` while executions are running."""
        if self._scheduler is not None and self._scheduler.live:
            raise InvalidOption(f"{self._scheduler.live} executions are under way", fix="init() before the first one")
        if self._session is not None:
            raise InvalidOption("the executor has opened its store", fix="init() before the first one")
        self._options = dataclasses.replace(self._options, **fields)
        self._unbind()

    @property
    def options(self) -> ExecutorOptions:
        """The options in force."""
        return self._options

    def adopt(self, flow: FlowResolver) -> None:
        """Make a `Flow` the one in which child executions find other flows."""
        self._options = dataclasses.replace(self._options, flow=flow)
        if self._runner is not None:
            self._runner.options = self._options

    @property
    def flow(self) -> FlowResolver | None:
        """The `Flow` in which child executions find other flows."""
        return self._options.flow

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler on the running loop, made when it is first needed.

        Raises:
            ExecutorStopped: `stop` was called.
            InvalidOption: the executor is bound to another loop.
        """
        loop = get_running_loop()
        if self._scheduler is None or self._loop is not loop:
            return self._bind(loop)
        return self._scheduler

    def _bind(self, loop: asyncio.AbstractEventLoop) -> Scheduler:
        if self._stopping:
            raise ExecutorStopped("the executor is stopped", fix="make a new Executor")
        if self._scheduler is not None and self._loop is not None and not self._loop.is_closed():
            raise InvalidOption("the executor runs on another event loop", fix="use one Executor (and Flow) a loop")
        if self._session is not None:
            raise InvalidOption("the executor's store was opened on another event loop", fix="use one Flow a loop")
        options = self._options
        environment = options.environment or real_environment(loop)
        self._loop, nonce = loop, int(environment.token(4), 16)  # ids start anew with each scheduler
        runner = CommandRunner(options, self._ended, Immediate(), environment)
        keep = options.keep if isinstance(options.keep, int) else MOST_EXECUTIONS
        scheduler = Scheduler(
            loop, table=StatusTable(MOST_EXECUTIONS), handler=runner, run_type=Execution, context_type=StepContext,
            encode=encode_value, limit=options.concurrency, keep=keep, nonce=nonce,
            clock=own_clock(environment.clock, loop), wall=environment.wall, budget=options.budget,
        )  # fmt: skip
        scheduler.notify, scheduler.tracer = not isinstance(options.keep, int), self._tracer
        runner.scheduler, self._runner, self._scheduler = scheduler, runner, scheduler
        self.start_at_once = scheduler.start_at_once
        self._admission = Admission(options.queue, scheduler)
        self._registry = Registry(scheduler, nonce)
        self._launcher = Launcher(scheduler, runner, self._registry)
        self._lookup = Lookup(self._registry)
        self._guard = post_guard(loop, self._end_live)
        return scheduler

    def _unbind(self) -> None:
        if self._loop is not None:
            self._guard.cancel()
        self._scheduler = None
        self._runner = None
        self._loop = None
        self._registry = Registry()
        self._lookup = Lookup(self._registry)
        self.start_at_once = None

    async def attach(self, store: Store) -> None:
        """Keep executions in ``store``, which is open, and continue its unfinished ones.

        Raises:
            StoreError; InvalidOption: executions without a store are running.
        """
        if self._scheduler is not None and self._scheduler.live:
            raise InvalidOption(
                f"{self._scheduler.live} executions are under way without a store", fix="attach it first"
            )
        if self._session is not None:
            raise InvalidOption("the executor has a store already", fix="use one Executor (and Flow) a store")
        self._unbind()
        name = self._options.name or process_name()
        runner = self._bind(get_running_loop()).handler
        self.start_at_once = None
        try:
            self._session = await DurableSession.begin(store, name, runner, self._launcher, self._registry)
            self._lookup = Lookup(self._registry, self._session)
            await self._session.open()
        except BaseException:  # whoever opens it again finds nothing of this
            self._session = None
            self._unbind()
            raise

    async def recover(self) -> int:
        """Take over unfinished executions of dead owners; returns how many. `attach` and each heartbeat do this."""
        return 0 if self._session is None else await self._session.recovery.recover()

    def rebound(self) -> None:
        """Continue executions that waited for callables which are now registered."""
        if self._session is not None:
            self._session.recovery.rebound()

    async def stop(self, drain: float | None = None) -> None:
        """Refuse new executions, wait for running ones, then cancel the rest, which becomes STOPPED.

        Paused executions are not waited for, except for their running steps.

        Args:
            drain: most seconds to wait; the executor's option when None.
        """
        self._stopping = True
        self._admission.close()
        scheduler, runner = self._scheduler, self._runner
        if scheduler is not None and runner is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._options.drain if drain is None else drain):
                    await all_at_rest(scheduler.runs_known)
            await self._end_live()
            if self._session is not None:
                await self._session.close(ExecutorStopped("the executor has stopped"))
            runner.pool.shutdown()
            scheduler.close()
            self._guard.cancel()
        callbacks, self._at_stop = self._at_stop, ()
        for callback in callbacks:
            try:
                callback()
            except Exception:
                log.exception("what was to be done when the executor has stopped failed")

    def at_stop(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` when the executor has stopped. Returns a function that takes this back."""
        self._at_stop = (*self._at_stop, callback)

        def forget() -> None:
            self._at_stop = tuple(other for other in self._at_stop if other is not callback)

        return forget

    async def _end_live(self) -> None:
        """End all running executions, including children that start meanwhile; they become STOPPED."""
        if self._scheduler is not None and self._runner is not None:
            live = [run for run in self._scheduler.runs_known() if not run.over]
            for run in live:
                self._runner.feed(run, e.StopAsked())
            await self._runner.commit.wait_for_end(self._runner, live)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # --- starting ------------------------------------------------------------------------------------------------

    async def execute(
        self, steps: Plan | Sequence[Step], request: Any = b"", *, options: ExecuteOptions | None = None,
        **fields: Unpack[ExecuteFields],
    ) -> Execution:  # fmt: skip
        """Execute a plan, or a list of steps.

        Args:
            steps: a `Plan`, or the steps of a flow without a name.
            request: input of the roots.
            options: an `ExecuteOptions`; or give its fields as keywords.

        Returns:
            the execution; finished unless ``async_=True``.

        Raises:
            ExecutorStopped, ExecutionConflict, MissingInput; the error that ended the execution.
        """
        if fields or options is not None:
            options = dataclasses.replace(options or DEFAULT_EXECUTE_OPTIONS, **fields)
        plan, encode = (steps, None) if isinstance(steps, Plan) else own_plan(steps, options, Bindings())
        await self.admit()
        execution = await self.start(plan, request, options, steps=encode)
        if options is None or not options.async_:
            await finish(execution)
        return execution

    async def admit(self) -> None:
        """Wait until there is room for another execution. Raises `ExecutorStopped`."""
        scheduler = self._scheduler
        if scheduler is None or scheduler.live >= self._admission.bound or self._loop is not get_running_loop():
            self._admission.refuse_closed()
            scheduler = self.scheduler
            if scheduler.live >= self._admission.bound:
                scheduler.notify = True
                await self._admission.enter()

    def _ended(self) -> None:
        """An execution ended: a waiting caller may start."""
        self._forget()
        self._admission.call_next()

    async def start(
        self, plan: Plan, request: Any, options: ExecuteOptions | None = None, caller: StepContext | None = None,
        steps: Callable[[], bytes] | None = None,
    ) -> Execution:  # fmt: skip
        """Start an execution, or find the one that has its id. With a store, return when its start is committed.

        Args:
            caller: the attempt that waits for it; None when the caller was admitted.
            steps: encodes the steps, for a plan without a registered flow.
        """
        if caller is not None:
            self.scheduler  # noqa: B018 - refuses another loop, as `admit` does for those who come from outside
        if self._session is None:
            return self._launcher.start(plan, request, options, caller)
        try:
            return await self._session.start(plan, request, options, caller, steps)
        except Conflict as conflict:
            over = options is None or not options.async_
            stored: Any = await self._lookup.stored_before(plan.flow, conflict, over)
            return stored  # type: ignore[no-any-return]

    async def restart(self, flow: str | None, id: str, step: str | None = None) -> Execution:
        """Execute a finished execution's request again, on the same revision, as a new execution.

        Args:
            step: start here, with the recorded outputs of the steps that don't come after it.

        Raises:
            UnknownExecution, UnknownStep; IllegalMove: it has not ended; MissingInput: an output that ``step`` needs is
            not recorded.
        """
        old = await self._lookup.anywhere(flow, id)
        fork = fork_of(old, step)
        await self.admit()
        options = dataclasses.replace(old.options or ExecuteOptions(), id=None, async_=True)
        if self._session is not None:
            await self._session.ready()
        run = self._launcher.prepare(fork.plan, old.request, options)
        if self._session is not None:
            await self._session.launch(run, getattr(old, "own_steps", None), fork.recalled)
            return run
        for index, value in fork.recalled:
            Stepper(run).recall(index, value)
        self._launcher.launch(run)
        return run

    # --- by flow and id ------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        """Forget executions that ended too long ago, when ``keep`` is a time."""
        scheduler, keep = self._scheduler, self._options.keep
        if scheduler is not None and not isinstance(keep, int):
            oldest = scheduler.time - keep.total_seconds()
            while scheduler.kept and Stepper(scheduler.kept[0]).span[1] < oldest:
                scheduler.kept.popleft()

    def find(self, flow: str | None, id: str) -> Execution:
        """The handle of an execution that runs here, or is still remembered.

        Raises:
            UnknownExecution: its message names the flow of the execution when that is not ``flow``.
        """
        self._forget()
        return self._lookup.here(flow, id)

    async def status(self, flow: str | None, id: str) -> Status:
        """Status of an execution."""
        return (await self._lookup.anywhere(flow, id)).status

    async def result(self, flow: str | None, id: str, step: str) -> bytes:
        """Output of a step, as bytes. See `Execution.result`."""
        return (await self._lookup.anywhere(flow, id)).result(step)

    async def history(self, flow: str | None, id: str) -> list[Transition]:
        """All transitions of an execution so far, in order of time."""
        return (await self._lookup.anywhere(flow, id)).history()

    async def export(self, flow: str | None, id: str) -> bytes:
        """Everything the store has of an execution, as a JSON document. Raises `InvalidOption` without a store."""
        if self._session is None:
            raise InvalidOption("this executor has no store to export from", fix='Flow(store="sqlite:///flow.db")')
        await self._lookup.anywhere(flow, id)
        return await self._session.store.export(id)

    async def wait(self, flow: str | None, id: str) -> Status:
        """Wait until an execution ends, and return its status."""
        return (await self._lookup.ended(flow, id)).status

    async def ended(self, flow: str | None, id: str) -> Execution:
        """Wait until an execution ends, and return its handle, or a `StoredExecution` when only the store knows it."""
        found: Any = await self._lookup.ended(flow, id)
        return found  # type: ignore[no-any-return]

    async def pause(self, flow: str | None, id: str) -> None:
        """See `Execution.pause`."""
        await (await self._lookup.live(flow, id, "paused")).pause()

    async def resume(self, flow: str | None, id: str) -> None:
        """See `Execution.resume`."""
        await (await self._lookup.live(flow, id, "resumed")).resume()

    async def abort(self, flow: str | None, id: str, *, rollback: bool = False) -> None:
        """See `Execution.abort`. An execution that waits for callables is ended, too, but without a rollback."""
        found = await self._lookup.anywhere(flow, id)
        waiting = self._lookup.waiting(id)
        if waiting is not None and self._session is not None and not rollback:
            await self._session.give_up(waiting)
        elif not found.over:
            await (await self._lookup.live(flow, id, "aborted")).abort(rollback=rollback)

    async def explain(self, flow: str | None, id: str) -> Explanation:
        """What an execution is waiting for, and why."""
        waiting = self._lookup.waiting(id)
        if waiting is not None:
            return explain_waiting(waiting)
        trouble = None if self._session is None else self._session.journal.trouble
        found = await self._lookup.anywhere(flow, id)
        if not isinstance(found, Execution):
            return explain_stored(found)
        rpc = None if self._options.flow is None else self._options.flow.rpc
        return explain(found, trouble, None if rpc is None else rpc.waits_for)

    async def list(
        self, flow: str | None = None, status: Status | None = None, *, since: float | None = None, limit: int = 100,
        cursor: str | None = None,
    ) -> Page:  # fmt: skip
        """Executions, newest first: all in the store, or without a store those that run or are remembered.

        Args:
            since: only those that started at this time or later, UTC seconds.
            limit: executions in one page.
            cursor: that of the page before.
        """
        self._forget()
        return await self._lookup.list(flow, status, since, limit, cursor)

    # --- figures -------------------------------------------------------------------------------------------------

    def statistics(self) -> ExecutorStatistics:
        """Counters, as one immutable record."""
        if self._scheduler is None or self._runner is None:
            return ExecutorStatistics()
        kept = {} if self._session is None else self._session.statistics()
        return ExecutorStatistics.of(self._scheduler, self._runner.retries, kept)

    def table(self) -> Any:
        """The status table: a NumPy structured array, one row an execution, a zero-copy read-only view."""
        return (self._scheduler or self.scheduler).runs.table.window()

    def trace(self, tracer: ExecutionTracer | None) -> None:
        """Report each execution that starts from now on, and its steps, to ``tracer``; None ends that.

        Raises:
            InvalidOption: the executor has a tracer already.
        """
        if tracer is not None and self._tracer is not None:
            raise InvalidOption("this executor is traced already", fix="stop the first tracing")
        self._tracer = tracer
        if self._scheduler is not None:
            self._scheduler.tracer = tracer

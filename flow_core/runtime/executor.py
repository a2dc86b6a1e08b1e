"""`Executor`: puts the parts together that run executions, and takes them apart when it stops.

Starting is the `Launcher`'s, or with a store the `DurableSession`'s; finding executions the `Lookup`'s; the line of
callers who wait for room the `Admission`'s. Names of flows live in ``flow.py``.
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
    """Hears of the steps of one execution, on the loop. A step is named by its index; nothing may be raised."""

    def enter(self, step: int, activity: int) -> None:
        """An attempt (0), the fallback (1) or the compensation (2) of a step begins, in the current context."""

    def failed(self, step: int, error: BaseException) -> None:
        """The current attempt of a step failed."""

    def activity_ended(self, step: int, activity: int, error: BaseException | None) -> None:
        """A fallback or a compensation is over."""

    def recall(self, records: Sequence[Record], ahead: float) -> None:
        """The execution goes on here; what was recorded of it before. ``ahead``: UTC minus loop seconds."""

    def ended(self) -> None:
        """The execution is over."""


class ExecutionTracer(Protocol):
    """Makes the trace of each execution that starts."""

    def begin(self, run: Any) -> ExecutionTrace:
        """An execution is being made; of it only ``plan`` and ``request`` are known yet. In its caller's context."""


@dataclass(frozen=True, slots=True)
class ExecutorStatistics:
    """What an executor counted so far, and what it does right now; a moment old when read from another thread.

    With a store: ``commits`` and the ``records`` in them, executions ``recovered`` from dead owners, ``lost`` to others
    that took this executor for dead, and ``waiting`` for callables of theirs to be registered here.
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
        """What a scheduler counted, attempts that were retried, and what is counted where executions are kept."""
        return cls(
            **scheduler.counters.snapshot(), executions_live=scheduler.live, steps_running=scheduler.running,
            attempts_retried=retries, turns=scheduler.turns.count, **kept,
        )  # fmt: skip


class Executor:
    """Runs executions on the loop of its first use.

    What is asked by flow and id raises `UnknownExecution` for an id that neither this process nor the store knows. Ids
    are unique over all flows: ``flow`` is a check, and None where it does not matter.

        >>> executor = Executor(concurrency=100, workers=4)
        >>> flow = Flow(executor=executor)

    Args:
        options: an `ExecutorOptions`; or give its fields as keywords.
    """

    #: The scheduler's own method: starts an execution without options, caller and inputs from outside in one call, and
    #: gives None when there is more to it. None with a store, and as long as the executor is at home on no loop.
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
        """Change options. Raises `InvalidOption` while executions are under way."""
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
        """Let a `Flow` be the one in which child executions find other flows."""
        self._options = dataclasses.replace(self._options, flow=flow)
        if self._runner is not None:
            self._runner.options = self._options

    @property
    def flow(self) -> FlowResolver | None:
        """The `Flow` that finds flows by name for it."""
        return self._options.flow

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler on the running loop, made when it is first needed.

        Raises:
            ExecutorStopped: `stop` was called.
            InvalidOption: it is at home on another loop.
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
        """Keep executions in ``store``, which is open, and go on with those that were left unfinished there.

        Raises:
            StoreError; InvalidOption: executions that live in this process only are under way.
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
        """Go on with unfinished executions whose owner is gone; returns how many. `attach` and each heartbeat do it."""
        return 0 if self._session is None else await self._session.recovery.recover()

    def rebound(self) -> None:
        """Callables became known: executions that waited for them go on."""
        if self._session is not None:
            self._session.recovery.rebound()

    async def stop(self, drain: float | None = None) -> None:
        """Refuse new work, wait up to ``drain`` seconds for what runs, then end the rest, which becomes STOPPED.

        What is paused is not waited for, once nothing of it is under way.

        Args:
            drain: seconds; the executor's option when None.
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
        """Call ``callback`` when the executor has stopped. Returns what takes it back."""
        self._at_stop = (*self._at_stop, callback)

        def forget() -> None:
            self._at_stop = tuple(other for other in self._at_stop if other is not callback)

        return forget

    async def _end_live(self) -> None:
        """End what is under way, children that started meanwhile included; it becomes STOPPED."""
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
        self,
        steps: Plan | Sequence[Step],
        request: Any = b"",
        *,
        options: ExecuteOptions | None = None,
        **fields: Unpack[ExecuteFields],
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
        """An execution ended: somebody who waits may start."""
        self._forget()
        self._admission.call_next()

    async def start(
        self, plan: Plan, request: Any, options: ExecuteOptions | None = None, caller: StepContext | None = None,
        steps: Callable[[], bytes] | None = None,
    ) -> Execution:  # fmt: skip
        """Start an execution, or find the one that has its id; with a store, return when its start is recorded.

        Args:
            caller: the attempt that waits for it; None: a caller who was admitted.
            steps: encodes them, for a plan without a registered flow.
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
            UnknownExecution, UnknownStep; IllegalMove: it is not over; MissingInput: no record of what ``step`` needs.
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
        """Forget what is too old, when ``keep`` is a time."""
        scheduler, keep = self._scheduler, self._options.keep
        if scheduler is not None and not isinstance(keep, int):
            oldest = scheduler.time - keep.total_seconds()
            while scheduler.kept and Stepper(scheduler.kept[0]).span[1] < oldest:
                scheduler.kept.popleft()

    def find(self, flow: str | None, id: str) -> Execution:
        """The handle of an execution that is live, remembered, or held by somebody.

        Raises:
            UnknownExecution: naming the flow it belongs to when that is not ``flow``.
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
        """What has happened to an execution so far; of one that only the store knows, in UTC seconds."""
        return (await self._lookup.anywhere(flow, id)).history()

    async def export(self, flow: str | None, id: str) -> bytes:
        """Everything the store has of an execution, as a JSON document. Raises `InvalidOption` without a store."""
        if self._session is None:
            raise InvalidOption("this executor has no store to export from", fix='Flow(store="sqlite:///flow.db")')
        await self._lookup.anywhere(flow, id)
        return await self._session.store.export(id)

    async def wait(self, flow: str | None, id: str) -> Status:
        """Wait for the end, however it comes."""
        return (await self._lookup.ended(flow, id)).status

    async def ended(self, flow: str | None, id: str) -> Execution:
        """Wait for the end, however it comes, and return the handle, or its like of one that only the store knows."""
        found: Any = await self._lookup.ended(flow, id)
        return found  # type: ignore[no-any-return]

    async def pause(self, flow: str | None, id: str) -> None:
        """See `Execution.pause`."""
        await (await self._lookup.live(flow, id, "paused")).pause()

    async def resume(self, flow: str | None, id: str) -> None:
        """See `Execution.resume`."""
        await (await self._lookup.live(flow, id, "resumed")).resume()

    async def abort(self, flow: str | None, id: str, *, rollback: bool = False) -> None:
        """See `Execution.abort`. One that can't go on here yet is ended, too, though without a rollback."""
        found = await self._lookup.anywhere(flow, id)
        waiting = self._lookup.waiting(id)
        if waiting is not None and self._session is not None and not rollback:
            await self._session.give_up(waiting)
        elif not found.over:
            await (await self._lookup.live(flow, id, "aborted")).abort(rollback=rollback)

    async def explain(self, flow: str | None, id: str) -> Explanation:
        """What an execution waits for."""
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
        self,
        flow: str | None = None,
        status: Status | None = None,
        *,
        since: float | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """Executions, newest first: all that the store has, or without one those that are live or remembered.

        Args:
            since: only those that started at or after, UTC seconds.
            limit: of one page.
            cursor: of the page before.
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
        """Tell ``tracer`` of each execution that starts from now on, and of its steps; None: nobody any more.

        Raises:
            InvalidOption: somebody is told already.
        """
        if tracer is not None and self._tracer is not None:
            raise InvalidOption("this executor is traced already", fix="stop the first tracing")
        self._tracer = tracer
        if self._scheduler is not None:
            self._scheduler.tracer = tracer

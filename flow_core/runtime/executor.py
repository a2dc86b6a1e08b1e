"""`Executor`: starts executions, finds them again, and stops.

Lives here: idempotent ids, look-ups, statistics, drain and stop. Does not live here: the line of callers who wait for
room (`Admission`), names of flows (``flow.py``), decisions (``engine/``), stepping (``core/``).
"""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from asyncio import get_running_loop
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self
from weakref import WeakValueDictionary

from flow_core.codec import encode_value
from flow_core.core.driver import Driver
from flow_core.core.plan import Plan
from flow_core.core.status_table import StatusTable
from flow_core.engine import events as e
from flow_core.engine.definition import Definition
from flow_core.engine.plan import Bindings, outside_inputs
from flow_core.errors import (
    ExecutionConflict,
    ExecutorStopped,
    InvalidOption,
    MissingInput,
    UnknownExecution,
    UnknownStep,
    did_you_mean,
)
from flow_core.limits import check_id
from flow_core.options import ExecuteOptions, ExecutorOptions
from flow_core.runtime.admission import Admission
from flow_core.runtime.context import StepContext
from flow_core.runtime.execution import Execution
from flow_core.runtime.explain import Explanation, explain
from flow_core.runtime.guard import post_guard
from flow_core.runtime.ids import parse_id, words_of
from flow_core.runtime.loop import clock_of
from flow_core.runtime.performer import Performer
from flow_core.runtime.restart import check_restart
from flow_core.runtime.statistics import ExecutorStatistics
from flow_core.status import Status
from flow_core.step import Step, check_steps

__all__ = ["Executor", "ExecutorStatistics"]

#: Rows of the status table: reserved address space, touched only as executions come.
MOST_EXECUTIONS = 1 << 22


class Executor:
    """Runs executions on the loop of its first use.

    Args:
        options: an `ExecutorOptions`; or give its fields as keywords.
    """

    def __init__(self, options: ExecutorOptions | None = None, **fields: Any) -> None:
        self._options = dataclasses.replace(options or ExecutorOptions(), **fields)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._driver: Driver | None = None
        self._performer: Performer | None = None
        self._named: WeakValueDictionary[str, Execution] = WeakValueDictionary()
        self._nonce = 0
        self._stopping = False
        self._admission = Admission(self._options.queue, lambda: 0)

    # --- life ----------------------------------------------------------------------------------------------------

    async def init(self, **fields: Any) -> None:
        """Change options. Raises `InvalidOption` while executions are under way."""
        if self._driver is not None and self._driver.live:
            raise InvalidOption(f"{self._driver.live} executions are under way", fix="init() before the first one")
        self._options = dataclasses.replace(self._options, **fields)
        self._driver = self._performer = self._loop = None

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
    def driver(self) -> Driver:
        """The driver on the running loop, made when it is first needed.

        Raises:
            ExecutorStopped: `stop` was called.
            InvalidOption: it is at home on another loop.
        """
        loop = get_running_loop()
        if self._driver is None or self._loop is not loop:
            self._bind(loop)
        assert self._driver is not None
        return self._driver

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._stopping:
            raise ExecutorStopped("the executor is stopped", fix="make a new Executor")
        if self._driver is not None and self._loop is not None and not self._loop.is_closed():
            raise InvalidOption("the executor runs on another event loop", fix="use one Executor (and Flow) a loop")
        options = self._options
        self._loop, self._nonce = loop, secrets.randbits(32)  # ids start anew with each driver
        self._performer = Performer(options, self._ended)
        keep = options.keep if isinstance(options.keep, int) else MOST_EXECUTIONS
        self._driver = Driver(
            loop, table=StatusTable(MOST_EXECUTIONS), handler=self._performer, run_type=Execution,
            context_type=StepContext, encode=encode_value, limit=options.concurrency, keep=keep, nonce=self._nonce,
            clock=clock_of(loop), budget=options.budget,
        )  # fmt: skip
        self._driver.notify = not isinstance(options.keep, int)
        self._performer.driver = driver = self._driver
        self._admission = Admission(options.queue, lambda: driver.live)
        self._guard = post_guard(loop, self._end_live)

    async def stop(self, drain: float | None = None) -> None:
        """Refuse new work, wait up to ``drain`` seconds for what runs, then cancel the rest, which becomes STOPPED.

        Args:
            drain: seconds; the executor's option when None.
        """
        self._stopping = True
        self._admission.close()
        driver, performer = self._driver, self._performer
        if driver is None or performer is None:
            return
        try:
            async with asyncio.timeout(self._options.drain if drain is None else drain):
                for run in [run for run in driver.runs_known() if not run.over]:
                    await run.wait()
        except TimeoutError:
            await self._end_live()
        performer.pool.shutdown()
        driver.close()
        self._guard.cancel()

    async def _end_live(self) -> None:
        """End what is under way, children that started meanwhile included; it becomes STOPPED."""
        if self._driver is not None and self._performer is not None:
            live = [run for run in self._driver.runs_known() if not run.over]
            for run in live:
                self._performer.feed(run, e.StopAsked())
            for run in live:
                await run.wait()

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
        if not isinstance(steps, Plan):
            definition = Definition(options.flow if options is not None and options.flow else "steps")
            definition.create(check_steps(steps))
            steps = definition.plan(Bindings(), options.step if options is not None else None)
        await self.admit()
        execution = self.start(steps, request, options)
        if options is None or not options.async_:
            await self.finish(execution)
        return execution

    async def admit(self) -> None:
        """Wait until there is room for another execution. Raises `ExecutorStopped`."""
        self._admission.refuse_closed()
        driver = self.driver
        if driver.live >= self._admission.bound:
            driver.notify = True
            await self._admission.enter()

    def _ended(self) -> None:
        """An execution ended: somebody who waits may start."""
        self._forget()
        self._admission.call_next()

    def _forget(self) -> None:
        """Forget what is too old, when ``keep`` is a time."""
        driver, keep = self._driver, self._options.keep
        if driver is not None and not isinstance(keep, int):
            oldest = driver.time - keep.total_seconds()
            while driver.kept and driver.kept[0].span[1] < oldest:
                driver.kept.popleft()

    def start(
        self, plan: Plan, request: Any, options: ExecuteOptions | None = None, caller: StepContext | None = None
    ) -> Execution:
        """Start an execution and drive it as far as it goes without waiting. See `execute` for the errors."""
        if options is None and caller is None and not plan.mappings:
            plain: Execution = self.driver.start(plan, request)
            return plain
        options = options or ExecuteOptions()
        if options.id is not None:
            known = self._same(plan, request, check_id(options.id, "execution id"))
            if known is not None:
                return known
        self._check_inputs(plan, options)
        if options.output is not None and not plan.writers(options.output):
            near = did_you_mean(options.output, {step.output_name for step in plan.items})
            raise UnknownStep(f"flow {plan.flow!r} has no output {options.output!r}", fix=near, flow=plan.flow)
        run = self._prepare(plan, request, options, 0 if caller is None else caller.depth + 1)
        run.parent, run.caller, run.name = None if caller is None else caller.run, caller, options.id
        return self._launch(run)

    def _prepare(self, plan: Plan, request: Any, options: ExecuteOptions, depth: int = 0) -> Execution:
        run: Execution = self.driver.prepare(plan, request, options, options.concurrency or 0, options.priority, depth)
        return run

    def _launch(self, run: Execution) -> Execution:
        assert self._performer is not None
        try:
            if run.name is not None:
                self._named[run.name] = run
            if run.options.timeout is not None:
                self._performer.begin(run)
            self.driver.launch(run)
        except BaseException:
            if not run.over:  # no memory: it ends here, and its id is free; else a step raised SystemExit
                self._performer.feed(run, e.AbortAsked(reason="not started: no memory"))
                self._named.pop(run.name, None)
            raise
        return run

    def start_at_once(self, plan: Plan, request: Any) -> Execution | None:
        """`start` of a plan that needs nothing from outside, without options: the short way of the hot path.

        None when it can't go this way: the executor is full, closed, or not at home on this loop yet.
        """
        driver = self._driver
        if driver is None or driver.live >= self._admission.bound or self._loop is not get_running_loop():
            return None
        execution: Execution = driver.start(plan, request)
        return execution

    def _same(self, plan: Plan, request: Any, name: str) -> Execution | None:
        known = self._named.get(name)
        if known is not None and (known.flow != plan.flow or known.request != request):
            what = f"flow {known.flow!r}" if known.flow != plan.flow else "another request"
            raise ExecutionConflict(
                f"execution {name!r} exists, with {what}", fix="use another id", flow=plan.flow, execution=known
            )
        return known

    def _check_inputs(self, plan: Plan, options: ExecuteOptions) -> None:
        missing = {name: step for name, step in outside_inputs(plan).items() if name not in options.inputs}
        if missing:
            shown = ", ".join(f"{name!r} (for step {step!r})" for name, step in missing.items())
            raise MissingInput(
                f"this execution of flow {plan.flow!r} needs outputs from outside: {shown}",
                fix="pass inputs={name: value}", flow=plan.flow,
            )  # fmt: skip

    async def finish(self, execution: Execution) -> None:
        """Wait for the end and raise what decided it, unless it succeeded.

        Cancelling this wait aborts the execution, as cancelling ``await coroutine`` would.
        """
        if not execution.over:
            try:
                await execution.wait()
            except asyncio.CancelledError:
                if self._performer is not None:
                    self._performer.feed(execution, e.AbortAsked(reason="cancelled by its caller"))
                raise
        if execution.failure is not None:
            raise execution.failure

    async def restart(self, flow: str, id: str, step: str | None = None) -> Execution:
        """Execute a finished execution's request again, on the same revision, as a new execution.

        Args:
            step: start here, with the recorded outputs of the steps that don't come after it.

        Raises:
            UnknownExecution, UnknownStep; IllegalMove: it is not over; MissingInput: no record of what ``step`` needs.
        """
        old = self.find(flow, id)
        first = check_restart(old, step)
        await self.admit()
        if first is None:
            return self.start(old.plan, old.request, self._anonymous(old.options))
        again = {int(node) for node in old.plan.graph.descendants(first)}
        run = self._prepare(old.plan, old.request, self._anonymous(old.options))
        for index in old.plan.graph.order():
            if int(index) not in again and old.has_output(index):
                run.recall(index, old.output(index))
        return self._launch(run)

    def _anonymous(self, options: ExecuteOptions | None) -> ExecuteOptions:
        return dataclasses.replace(options or ExecuteOptions(), id=None, async_=True)

    # --- look-ups ------------------------------------------------------------------------------------------------

    def find(self, flow: str | None, id: str) -> Execution:
        """The handle of an execution that is live, remembered, or held by somebody.

        Raises:
            UnknownExecution: naming the flow it belongs to when that is not ``flow``.
        """
        self._forget()
        found: Execution | None = self._named.get(id)
        if found is None and self._driver is not None:
            place = parse_id(id, self._nonce)
            if place is not None:
                found = self._driver.lookup(*place)
                if found is not None and found.id != id:
                    found = None
        if found is None:
            raise UnknownExecution(
                f"no execution {id!r} is known", fix="it may have been forgotten, see keep=", flow=flow
            )
        if flow is not None and found.flow != flow:
            raise UnknownExecution(f"execution {id!r} belongs to flow {found.flow!r}, not {flow!r}", flow=flow)
        return found

    async def status(self, flow: str, id: str) -> Status:
        """Status of an execution."""
        return self.find(flow, id).status

    async def result(self, flow: str, id: str, step: str) -> bytes:
        """Output of a step, as bytes. See `Execution.result`."""
        return self.find(flow, id).result(step)

    async def wait(self, flow: str, id: str) -> Status:
        """Wait for the end, however it comes."""
        return await self.find(flow, id).wait()

    async def pause(self, flow: str, id: str) -> None:
        """See `Execution.pause`."""
        await self.find(flow, id).pause()

    async def resume(self, flow: str, id: str) -> None:
        """See `Execution.resume`."""
        await self.find(flow, id).resume()

    async def abort(self, flow: str, id: str, *, rollback: bool = False) -> None:
        """See `Execution.abort`."""
        await self.find(flow, id).abort(rollback=rollback)

    async def explain(self, flow: str, id: str) -> Explanation:
        """What an execution waits for."""
        return explain(self.find(flow, id))

    async def list(
        self, flow: str | None = None, status: Status | None = None, *, limit: int = 100, cursor: str | None = None
    ) -> list[Execution]:
        """Executions that are live or remembered, oldest first, at most ``limit``, after the one with id ``cursor``."""
        if self._driver is None:
            return []
        self._forget()
        found: list[Execution] = sorted(self._driver.runs_known(), key=lambda run: run.id_words)
        if cursor is not None:
            after = words_of(cursor) or self.find(None, cursor).id_words
            found = [run for run in found if run.id_words > after]
        return [run for run in found if flow in (None, run.flow) and status in (None, run.status)][:limit]

    def statistics(self) -> ExecutorStatistics:
        """Counters, as one immutable record."""
        driver, performer = self._driver, self._performer
        if driver is None or performer is None:
            return ExecutorStatistics()
        return ExecutorStatistics(
            **driver.counters.snapshot(), executions_live=driver.live, steps_running=driver.running,
            attempts_retried=performer.retries, turns=driver.turns,
        )  # fmt: skip

    def table(self) -> Any:
        """The status table: a NumPy structured array, one row an execution, a zero-copy read-only view."""
        driver = self._driver if self._driver is not None else self.driver
        return driver.table.window()

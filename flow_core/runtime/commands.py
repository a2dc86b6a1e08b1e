"""The loop event -> machine -> commands -> scheduler.

The commands of a machine are performed at once (`Immediate`), or when they have been written to a store
(``durable/write_ahead.py``): this is the only difference between an execution in memory and a durable one.
"""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from flow_core.core.handler import Handler
from flow_core.core.run import Intent
from flow_core.core.scheduler import Scheduler
from flow_core.core.stepper import Stepper
from flow_core.core.task import Activity, StepTask
from flow_core.engine import events as e
from flow_core.engine.machine import Machine
from flow_core.engine.timers import EXECUTION, TOTAL
from flow_core.errors import InvalidOption, LimitExceeded, PayloadError, StepTimeout
from flow_core.model.ids import MAX_NESTING
from flow_core.model.status import Status
from flow_core.runtime.context import StepContext
from flow_core.runtime.history import history_of, keep
from flow_core.runtime.thread_pool import WorkerPool

if TYPE_CHECKING:
    from flow_core.model.environment import Environment
    from flow_core.model.options import ExecutorOptions
    from flow_core.runtime.execution import Execution

__all__ = ["CommandRunner", "Commit", "Immediate"]

#: As a plain number: a member of an enum costs more to compare, and this is asked with every call to the outside.
ATTEMPT, FALLBACK = int(Activity.ACTIVITY_ATTEMPT), int(Activity.ACTIVITY_FALLBACK)

log = logging.getLogger("flow_core")
log.addHandler(logging.NullHandler())


class Commit(Protocol):
    """Decides when the commands of a machine are performed. Steps are named by their index."""

    @property
    def utc_offset(self) -> float | None:
        """UTC seconds minus loop seconds in what is decided from now on; None: an execution keeps its first one."""

    def decided(self, runner: CommandRunner, run: Execution, commands: list[e.Command]) -> None:
        """Perform the commands of a machine with ``runner``, now or later."""

    def attempt_started(self, runner: CommandRunner, run: Execution, step: int) -> None:
        """A step with a policy started an attempt."""

    def step_held(  # noqa: PLR0917 - the scheduler calls it for each step
        self, run: Execution, step: int, value: Any, attempt: int, started: float, ended: float, last: bool
    ) -> None:
        """A step of a durable execution succeeded, and with ``last`` the execution. Raises `PayloadError`."""

    def step_skipped(self, runner: CommandRunner, run: Execution, step: int) -> None:
        """The condition of a step of a durable execution returned False."""

    def step_announced(self, runner: CommandRunner, run: Execution, step: int, value: Any) -> None:
        """An at-most-once step of a durable execution is to start."""

    def check_output(self, run: Execution, step: int, value: Any) -> None:
        """Raise `PayloadError` when the output of a fallback can't be kept."""

    async def recorded(self, run: Execution) -> None:
        """Wait until everything decided about an execution is kept. Raises the reason when it never will be."""

    async def wait_for_end(self, runner: CommandRunner, runs: list[Execution]) -> None:
        """Wait for the end of executions that were asked to stop."""


class Immediate:
    """For executions in memory: everything is performed at once, and nothing is kept."""

    utc_offset: float | None = None

    def decided(self, runner: CommandRunner, run: Execution, commands: list[e.Command]) -> None:
        """Perform them at once."""
        runner.perform(run, commands)

    def attempt_started(self, runner: CommandRunner, run: Execution, step: int) -> None:
        """Starts of attempts are not kept."""

    def step_held(  # noqa: PLR0917 - as in `Commit`
        self, run: Execution, step: int, value: Any, attempt: int, started: float, ended: float, last: bool
    ) -> None:
        """No execution is durable here."""
        raise NotImplementedError

    def step_skipped(self, runner: CommandRunner, run: Execution, step: int) -> None:
        """No execution is durable here."""
        raise NotImplementedError

    def step_announced(self, runner: CommandRunner, run: Execution, step: int, value: Any) -> None:
        """No execution is durable here."""
        raise NotImplementedError

    def check_output(self, run: Execution, step: int, value: Any) -> None:
        """Any value is fine."""

    async def recorded(self, run: Execution) -> None:
        """There is nothing to wait for."""

    async def wait_for_end(self, runner: CommandRunner, runs: list[Execution]) -> None:
        """Wait for all of them."""
        for run in runs:
            await run.wait()


class CommandRunner(Handler):
    """The scheduler's handler: feeds machines with what happened and performs what they command.

    Args:
        options: of the executor: error_handler, workers, the flow for child executions.
        ended: called when an execution ended, since a caller may wait for room in the queue.
        commit: decides when commands are performed.
        environment: of the executor.
    """

    scheduler: Scheduler  # set by the executor, which makes it with this handler

    def __init__(
        self, options: ExecutorOptions, ended: Callable[[], None], commit: Commit, environment: Environment
    ) -> None:
        self.options = options
        self.environment = environment
        self.commit_with(commit)
        self.pool = WorkerPool(options.workers)
        self._ended = ended
        self._commands: deque[tuple[Execution, e.Command]] = deque()
        self._performing = False
        #: Contexts that threads hold, to tell them that their outcome is no longer wanted.
        self._contexts: WeakKeyDictionary[StepTask, StepContext] = WeakKeyDictionary()
        #: key of a timer in the scheduler -> whose it is.
        self._timers: dict[int, tuple[Execution, e.Timer]] = {}
        self._handles: dict[tuple[int, e.Timer], tuple[int, int]] = {}
        self._next_key = 0
        self.retries = 0

    def commit_with(self, commit: Commit) -> None:
        """From now on ``commit`` says when that which was decided is done."""
        self.commit = commit
        self.step_held = commit.step_held

    # --- from the scheduler -----------------------------------------------------------------------------------------

    def step_started(self, run: Execution, step: int) -> None:
        """A step with a policy starts an attempt."""
        self.feed(run, e.AttemptStarted(step))
        self.commit.attempt_started(self, run, step)

    def step_skipped(self, run: Execution, step: int) -> None:
        """The condition of a step of a durable run returned False; the consequences wait for the commit."""
        self.commit.step_skipped(self, run, step)

    def step_announced(self, run: Execution, step: int, value: Any) -> None:
        """An at-most-once step of a durable run is about to start, once its start is committed."""
        self.commit.step_announced(self, run, step, value)

    def step_succeeded(self, run: Execution, step: int) -> None:
        """A step with a policy succeeded."""
        if Stepper(run).machine is not None:
            self.feed(run, e.StepSucceeded(step))

    def step_failed(self, run: Execution, step: int, error: BaseException) -> None:
        """An attempt raised."""
        stepper = Stepper(run)
        self._report(error, run, step, Activity.ACTIVITY_ATTEMPT)
        if stepper.trace is not None:
            stepper.trace.failed(step, error)
        before = stepper.attempt(step)
        self.feed(run, e.AttemptRaised(step, error, self.environment.random.random()))
        self.retries += stepper.attempt(step) != before

    def activity_ended(self, run: Execution, step: int, activity: int, ok: bool, value: Any) -> None:
        """A fallback or a compensation ended. A fallback fails when its output can't be kept."""
        stepper = Stepper(run)
        if ok and activity == FALLBACK:
            try:
                self.commit.check_output(run, step, value)
            except PayloadError as error:
                ok, value = False, error
        if not ok:
            self._report(value, run, step, activity)
        if stepper.trace is not None:
            stepper.trace.activity_ended(step, activity, None if ok else value)
        self.feed(run, e.ActivityEnded(step, activity, ok, value))

    def settled(self, run: Execution) -> None:
        """Every step has ended, not all of them plainly."""
        self.feed(run, e.Settled())

    def ended(self, run: Execution) -> None:
        """The execution is over."""
        if Stepper(run).events is not None:
            self.changed(run)
        self._ended()

    def changed(self, run: Execution) -> None:
        """A watched run changed."""
        stepper = Stepper(run)
        if stepper.events is not None:
            for event in stepper.events:
                event.set()

    def submit(self, task: StepTask, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """A sync callable goes to the pool."""
        if arguments and isinstance(arguments[0], StepContext):
            self._contexts[task] = arguments[0]
        self.pool.submit(self.scheduler, task, function, arguments)

    def timer(self, key: int) -> None:
        """A timer of a machine is due."""
        found = self._timers.pop(key, None)
        if found is not None:
            run, timer = found
            self._handles.pop((id(run), timer), None)
            self.feed(run, e.TimerRang(timer))

    def timeout_error(self, run: Execution, step: int, cause: BaseException | None) -> StepTimeout:
        """The error of an attempt that timed out."""
        policy = run.plan.policies[step]
        limits = {"timeout": policy.timeout, "total_timeout": policy.total_timeout}
        shown = ", ".join(f"{name}={value}" for name, value in limits.items() if value is not None)
        error = StepTimeout(
            f"step {policy.step.id!r} of flow {run.plan.flow!r} took longer than allowed ({shown} s)",
            flow=run.plan.flow, execution=run.id, step=policy.step.id, attempt=Stepper(run).attempt(step),
        )  # fmt: skip
        error.__cause__ = cause
        return error

    # --- machine -------------------------------------------------------------------------------------------------

    @property
    def utc_offset(self) -> float:
        """UTC seconds minus loop seconds, as of now."""
        offset = self.commit.utc_offset
        return float(self.scheduler.ahead) if offset is None else offset

    def utc_offset_of(self, stepper: Stepper) -> float:
        """UTC seconds minus loop seconds, for the times of an execution's facts.

        Without a store it stays the same for an execution, which keeps its facts in order. With a store it is the
        current one, because these times are compared with those of other processes after a crash.
        """
        offset = self.commit.utc_offset
        return history_of(stepper.run).utc_offset if offset is None else offset

    def machine_of(self, run: Execution) -> Machine:
        """The machine of an execution, made when it is first needed."""
        stepper = Stepper(run)
        machine: Machine | None = stepper.machine
        if machine is None:
            options, offset = run.options, self.utc_offset_of
            if options is None:
                machine = Machine(stepper, utc_offset=offset)
            else:
                machine = Machine(
                    stepper, retries=options.retries, rollback=options.rollback, timeout=options.timeout,
                    utc_offset=offset,
                )  # fmt: skip
            stepper.machine = machine
        return machine

    def begin(self, run: Execution) -> None:
        """Set the timer of an execution that has a timeout."""
        self.perform(run, self.machine_of(run).begin(self.scheduler.time))

    def feed(self, run: Execution, event: e.Event) -> None:
        """Pass an event to the machine, unless the execution is already ending."""
        if not (run.over or Stepper(run).ending):
            self.commit.decided(self, run, self.machine_of(run).handle(event, self.scheduler.time))

    async def recorded(self, run: Execution) -> None:
        """Wait until everything decided about an execution is kept. Raises the reason when it never will be."""
        await self.commit.recorded(run)

    def perform(self, run: Execution, commands: list[e.Command]) -> None:
        """Perform commands in order. A command may end a step at once and so bring more: they queue up here."""
        # No generator: CPython 3.12 and 3.13 crash when there is no memory for one.
        self._commands.extend([(run, command) for command in commands])
        if self._performing:
            return
        self._performing = True
        failed: BaseException | None = None
        while self._commands:
            try:
                run, command = self._commands.popleft()
                if isinstance(command, e.MachineMessage):
                    self._do(run, command)
                else:
                    keep(run, command)
            except BaseException as error:  # no memory: what comes behind must still be done, or a run never ends
                failed = failed or error
        self._performing = False
        if failed is not None:
            raise failed

    def drop(self, run: Execution, error: BaseException) -> None:
        """End an execution at once and without a record: it never began, or another executor continues it."""
        stepper = Stepper(run)
        if run.over:
            return
        stepper.ask(Intent.INTENT_ABORT)
        stepper.abandon_all(Status.STOPPED)
        for task in self.scheduler.cancel_tasks(run):
            self._let_go(task)
        machine: Machine | None = stepper.machine
        for timer in [] if machine is None else [*machine.timers]:
            self._cancel_timer(run, timer)
        self.scheduler.finish(run, Status.STOPPED, error)
        if self.scheduler.kept and self.scheduler.kept[-1] is run:
            self.scheduler.kept.pop()  # nothing is known of how it ends

    def _do(self, run: Execution, command: e.Command) -> None:
        match command:
            case e.GoOn():
                self.scheduler.go_on(run)
            case e.StartActivity(step, activity, value):
                self.scheduler.start_activity(run, step, activity, value)
            case e.SetTimer(timer, delay):
                self._set_timer(run, timer, delay)
            case e.CancelTimer(timer):
                self._cancel_timer(run, timer)
            case e.CancelStep(step):
                self.scheduler.expire(run, step)
            case e.CancelTasks():
                for task in self.scheduler.cancel_tasks(run):
                    if task.get_coro() is None:
                        self._let_go(task)
            case e.DetachTasks():
                for task in self.scheduler.cancel_tasks(run):
                    self._let_go(task)
                self.scheduler.go_on(run)
            case e.Finish(status, error):
                self._finish(run, status, error)

    def _finish(self, run: Execution, status: Status, error: BaseException | None) -> None:
        if error is not None and getattr(error, "execution", run) is None:
            error.execution = run  # type: ignore[attr-defined]
        self.scheduler.finish(run, status, error)

    def _let_go(self, task: StepTask) -> None:
        context = self._contexts.pop(task, None)
        if context is not None:
            context.revoke()
        self.scheduler.detach(task)

    def _set_timer(self, run: Execution, timer: e.Timer, delay: float) -> None:
        self._next_key += 1
        key = self._next_key
        self._timers[key] = (run, timer)
        self._handles[(id(run), timer)] = (key, self.scheduler.set_timer(delay, key))

    def _cancel_timer(self, run: Execution, timer: e.Timer) -> None:
        found = self._handles.pop((id(run), timer), None)
        if found is not None:
            key, handle = found
            self.scheduler.cancel_timer(handle)
            del self._timers[key]

    # --- for contexts --------------------------------------------------------------------------------------------

    def deadline(self, run: Execution, step: int, activity: int) -> float | None:
        """The earliest deadline of what a step does now, loop time: that of the attempt, of all attempts, of the
        execution, or of the step that waits for this execution."""
        stepper = Stepper(run)
        earliest = inf
        attempt = activity == ATTEMPT  # the step's own limits are those of its attempts
        if attempt:
            policy = run.plan.policies.get(step)
            if policy is not None and policy.timeout is not None:
                started = stepper.times(step)[0]
                if started is not None:
                    earliest = started + policy.timeout
        machine: Machine | None = stepper.machine
        if machine is not None:
            timers = machine.timers
            earliest = min(earliest, timers.get(EXECUTION, inf))
            if attempt:
                earliest = min(earliest, timers.get((TOTAL, step), inf))
        if stepper.caller is not None:
            callers = stepper.caller.deadline
            if callers is not None:
                earliest = min(earliest, callers)
        return None if earliest == inf else earliest

    def client(self, run: Execution, kind: str) -> Any:
        """The client an operation uses: the execution's, else the flow's. Raises InvalidOption when there is none."""
        options, flow, found = run.options, self.options.flow, None
        if options is not None and options.client is not None:
            found = options.client.get(kind) if isinstance(options.client, dict) else options.client
        if found is None and flow is not None:
            found = getattr(flow, kind, None)
        if found is None:
            raise InvalidOption(f"no {kind} client", fix=f"pass Flow({kind}=...) or execute(client={{{kind!r}: ...}})")
        return found

    async def execute_child(self, caller: StepContext, flow: str, data: Any, step: str | None) -> Execution:
        """Execute another flow for a step."""
        if caller.depth + 1 > MAX_NESTING:
            raise LimitExceeded(f"executions nest deeper than MAX_NESTING, {MAX_NESTING}", flow=flow)
        if self.options.flow is None:
            raise InvalidOption("this executor has no flow to find others in", fix="ExecutorOptions(flow=...)")
        child: Execution = await self.options.flow.execute_nested(flow, data, step, caller)
        return child

    def _report(self, error: BaseException, run: Execution, step: int, activity: int) -> None:
        """Log an exception that escaped a step, and pass it to the error handler."""
        stepper = Stepper(run)
        if isinstance(error, CancelledError) and stepper.intent in (Intent.INTENT_ABORT, Intent.INTENT_STOP):
            return  # it did as it was told
        item = run.plan.items[step]
        extra = {"flow": run.plan.flow, "execution": run.id, "step": item.id, "attempt": stepper.attempt(step)}
        log.debug("step %s of flow %s raised %s", item.id, run.plan.flow, type(error).__name__, extra=extra)
        handler = self.options.error_handler
        if handler is not None:
            try:
                handler(error, StepContext(run, step, activity))
            except Exception:
                log.exception("the error handler itself failed", extra=extra)

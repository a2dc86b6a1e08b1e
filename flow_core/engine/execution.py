"""`Machine`: what follows from everything that is not plain success. Events in, commands out.

Theory. A `core.Run` knows which steps are ready, running and over; plain success never leaves it. The machine is made for
an execution at its first failure, timer, pause or abort, and moves through phases::

    FORWARD ──a step failed for good──> FAILING ──everything under way ended──> (ROLLING_BACK) ──> over: FAILURE
       │                                                                             ^
       ├──abort, stop, timeout──> CANCELLING ──coroutines ended, or the grace passed──┘──────────> over: ABORTED, STOPPED,
       │                                                                                                 FAILURE
       └──every step ended──> over: SUCCESS

A pause is no phase but a flag: it can fall into any of them. While it is set timers are frozen with what was left of
them, and fallbacks and compensations wait; both are taken up by the resume.

After a failure only steps with ``join="done"`` (clean-ups) start; running ones end and are recorded, so that they can be
compensated. Compensations run one at a time, in reverse topological order, each with the output of its step as input.

Lives here: that theory as code, with `check` for its invariants. Does not live here: performing commands (floor 2),
computing delays (``engine/policy.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from flow_core.core.run import Intent, Run
from flow_core.core.task import Activity
from flow_core.engine import events as e
from flow_core.engine.plan import StepPolicy
from flow_core.engine.policy import next_delay, resolve_retry
from flow_core.errors import ExecutionAborted, ExecutionStopped, ExecutionTimeout, IllegalMove, StepFailed, StepTimeout
from flow_core.options import Retry
from flow_core.status import Status
from flow_core.step import Step

__all__ = ["GRACE", "Machine", "Phase"]

#: Seconds that cancelled coroutines get to clean up before the execution ends without them.
GRACE = 1.0

RETRY, TOTAL = "retry", "total"
EXECUTION: e.Timer = ("execution", 0)
GRACE_TIMER: e.Timer = ("grace", 0)


class Phase(Enum):
    """Where an execution is, see the module."""

    FORWARD = "forward"
    FAILING = "failing"
    CANCELLING = "cancelling"
    ROLLING_BACK = "rolling back"
    OVER = "over"


class Machine:
    """The policy of one execution.

    Args:
        run: the execution's slab, which it moves by `Run.fail`, `Run.retry` and so on.
        retries: the execution's own setting, for steps that have none.
        rollback: whether a failure runs the compensations.
        timeout: seconds for the whole execution.
    """

    def __init__(
        self, run: Run, *, retries: int | Retry | None = None, rollback: bool = True, timeout: float | None = None
    ) -> None:
        self.run = run
        self.retries = retries
        self.rollback = rollback
        self.timeout = timeout
        self.phase = Phase.FORWARD
        self.paused = False
        #: How the execution will end, as far as decided: the first failure, the abort, the stop.
        self.verdict: tuple[Status, BaseException | None] = (Status.SUCCESS, None)
        #: Last error of each step that failed at least once.
        self.errors: dict[int, BaseException] = {}
        #: Steps whose fallback's output became theirs.
        self.recovered: set[int] = set()
        #: Errors of compensations; they never hide the first error.
        self.compensation_errors: dict[int, BaseException] = {}
        #: Timers that are set -> when they ring (loop time). Disjoint from `frozen`.
        self.timers: dict[e.Timer, float] = {}
        #: Timers stopped by a pause -> seconds that were left.
        self.frozen: dict[e.Timer, float] = {}
        #: Fallbacks and compensations that wait for the resume.
        self.waiting: list[e.StartActivity] = []
        #: Steps still to compensate, the next one last.
        self.to_compensate: list[int] = []
        self._now = 0.0
        self._out: list[e.Command] = []
        self._on: dict[type, Callable[[Any], None]] = {
            e.StepStarted: self._on_started,
            e.StepSucceeded: self._on_succeeded,
            e.StepFailed: self._on_failed,
            e.ActivityEnded: self._on_activity,
            e.TimerRang: self._on_timer,
            e.PauseAsked: self._on_pause,
            e.ResumeAsked: self._on_resume,
            e.AbortAsked: self._on_abort,
            e.StopAsked: self._on_stop,
            e.Settled: self._on_settled,
        }

    def handle(self, event: e.Event, now: float) -> list[e.Command]:
        """Take in one event at loop time ``now`` (seconds); returns what is to be done, in this order.

        Raises:
            IllegalMove: a pause or resume that makes no sense now.
        """
        self._now = now
        self._out = []
        if self.phase is not Phase.OVER:
            self._on[type(event)](event)
        return self._out

    def begin(self, now: float) -> list[e.Command]:
        """Set the execution's own timer, when it has a timeout."""
        self._now, self._out = now, []
        if self.timeout is not None:
            self._set(EXECUTION, self.timeout)
        return self._out

    # --- attempts --------------------------------------------------------------------------------------------------

    def _on_started(self, event: e.StepStarted) -> None:
        total = self._policy(event.step)
        if total is not None and total.total_timeout is not None and (TOTAL, event.step) not in self.timers:
            self._set((TOTAL, event.step), total.total_timeout)

    def _on_succeeded(self, event: e.StepSucceeded) -> None:
        self._cancel((TOTAL, event.step))

    def _on_failed(self, event: e.StepFailed) -> None:
        step, error = event.step, event.error
        self.errors[step] = error
        if self.run.step_status(step) != Status.RUNNING:
            return  # abandoned meanwhile
        policy = self._policy(step)
        own = policy.retry if policy is not None else None
        delay = None if self.phase is not Phase.FORWARD else next_delay(resolve_retry(own, self.retries), self.run.attempt(step), error, event.random)
        if delay is not None and self._in_time(step, delay):
            self.run.retry(step)
            self._set((RETRY, step), delay)
        elif policy is not None and policy.fallback is not None:
            self._cancel((TOTAL, step))
            self._start_fallback(step, error)
        else:
            self._fail(step, error)

    def _in_time(self, step: int, delay: float) -> bool:
        deadline = self.timers.get((TOTAL, step))
        return deadline is None or self._now + delay < deadline

    def _start_fallback(self, step: int, error: BaseException) -> None:
        try:
            value = self.run.input(step)
        except Exception:  # there is no input to give: the error said so
            self._fail(step, error)
            return
        self._start(e.StartActivity(step, Activity.ACTIVITY_FALLBACK, value))

    def _fail(self, step: int, error: BaseException) -> None:
        """The step failed for good."""
        self._cancel((TOTAL, step))
        policy = self._policy(step)
        self.errors[step] = error
        self.run.fail(step)
        if self.phase is Phase.FORWARD and not (policy is not None and policy.allow_fail):
            self.phase = Phase.FAILING
            self.verdict = (Status.FAILURE, self._describe(step, error))
            self.run.doom()
            self._abandon_retries(Status.ABORTED)
        self._out.append(e.GoOn())

    def _describe(self, step: int, error: BaseException) -> StepFailed:
        item: Step = self.run.plan.items[step]
        flow = self.run.plan.flow
        attempt = self.run.attempt(step)
        tries = "" if attempt == 1 else f" after {attempt} attempts"
        failed = StepFailed(
            f"step {item.id!r} of flow {flow!r} failed{tries}: {type(error).__name__}: {error}",
            flow=flow, step=item.id, attempt=attempt,
        )  # fmt: skip
        failed.__cause__ = error
        return failed

    # --- fallbacks and compensations ----------------------------------------------------------------------------------

    def _on_activity(self, event: e.ActivityEnded) -> None:
        if event.activity == Activity.ACTIVITY_COMPENSATION:
            if not event.ok:
                self.compensation_errors[event.step] = event.value
            self._compensate_next()
            return
        if self.run.step_status(event.step) != Status.RUNNING:
            return  # aborted meanwhile: a late outcome
        error = self.errors[event.step]
        policy = self._policy(event.step)
        if event.ok and policy is not None and policy.recovers:
            self.recovered.add(event.step)
            self.run.succeed(event.step, event.value)
            self._out.append(e.GoOn())
            return
        if not event.ok and isinstance(event.value, BaseException):
            error.add_note(f"its fallback failed, too: {type(event.value).__name__}: {event.value}")
        self._fail(event.step, error)

    def _start(self, command: e.StartActivity) -> None:
        if self.paused:
            self.waiting.append(command)
        else:
            self._out.append(command)

    def _roll_back(self) -> bool:
        """Begin to compensate what succeeded; False when nothing wants it."""
        policies = self.run.plan.policies
        self.to_compensate = [
            int(step)
            for step in self.run.plan.graph.order()
            if step in policies and policies[step].compensation is not None
            and self.run.step_status(step) == Status.SUCCESS
        ]  # fmt: skip
        if not self.to_compensate:
            return False
        self.phase = Phase.ROLLING_BACK
        self._compensate_next()
        return True

    def _compensate_next(self) -> None:
        if self.to_compensate:
            step = self.to_compensate.pop()
            self._start(e.StartActivity(step, Activity.ACTIVITY_COMPENSATION, self.run.output(step)))
        else:
            self._finish()

    # --- timers -------------------------------------------------------------------------------------------------------

    def _on_timer(self, event: e.TimerRang) -> None:
        if self.timers.pop(event.timer, None) is None:
            return
        kind, step = event.timer
        if kind == RETRY:
            self.run.requeue(step)
            self._out.append(e.GoOn())
        elif kind == TOTAL:
            self._total_passed(step)
        elif event.timer == EXECUTION:
            error = ExecutionTimeout(
                f"execution of flow {self.run.plan.flow!r} took longer than {self.timeout} s", flow=self.run.plan.flow
            )
            self._end_early(Status.FAILURE, error, self.rollback)
        else:
            self._out.append(e.DetachTasks())

    def _total_passed(self, step: int) -> None:
        if self.run.step_status(step) == Status.RUNNING:
            self.timers[(TOTAL, step)] = self._now  # it stays known, so that no retry follows
            self._out.append(e.CancelStep(step))
        elif (RETRY, step) in self.timers:
            self._cancel((RETRY, step))
            self.run.begin(step)
            self._fail(step, self.errors.get(step, StepTimeout("total_timeout passed")))

    def _set(self, timer: e.Timer, delay: float) -> None:
        if self.paused:
            self.frozen[timer] = delay
        else:
            self.timers[timer] = self._now + delay
            self._out.append(e.SetTimer(timer, delay))

    def _cancel(self, timer: e.Timer) -> None:
        self.frozen.pop(timer, None)
        if self.timers.pop(timer, None) is not None:
            self._out.append(e.CancelTimer(timer))

    def _abandon_retries(self, status: Status) -> None:
        """Steps that wait for a retry will not get it."""
        for kind, step in [*self.timers, *self.frozen]:
            if kind == RETRY:
                self._cancel((RETRY, step))
                self._cancel((TOTAL, step))
                self.run.abandon(step, status)

    # --- pause, resume, abort, stop -----------------------------------------------------------------------------------

    def _on_pause(self, event: e.PauseAsked) -> None:
        if self.paused:
            return
        if self.run.status_number not in (Status.PENDING, Status.RUNNING):
            raise IllegalMove(f"an execution that is {Status(self.run.status_number).name} can't be paused")
        self.paused = True
        self.run.ask(Intent.INTENT_PAUSE)
        self.run.move(Status.PAUSED)
        for timer, deadline in list(self.timers.items()):
            if timer != GRACE_TIMER:
                self._cancel(timer)
                self.frozen[timer] = max(0.0, deadline - self._now)

    def _on_resume(self, event: e.ResumeAsked) -> None:
        if not self.paused:
            return
        self.paused = False
        self.run.ask(Intent.INTENT_RUN)
        self.run.move(Status.RUNNING)
        frozen, self.frozen = self.frozen, {}
        for timer, left in frozen.items():
            self._set(timer, left)
        waiting, self.waiting = self.waiting, []
        self._out.extend(waiting)
        self._out.append(e.GoOn())

    def _on_abort(self, event: e.AbortAsked) -> None:
        error = ExecutionAborted(f"execution of flow {self.run.plan.flow!r} was {event.reason}", flow=self.run.plan.flow)
        self._end_early(Status.ABORTED, error, event.rollback)

    def _on_stop(self, event: e.StopAsked) -> None:
        error = ExecutionStopped(
            f"the executor stopped before the execution of flow {self.run.plan.flow!r} could finish", flow=self.run.plan.flow
        )
        self._end_early(Status.STOPPED, error, rollback=False)

    @property
    def _abandoned(self) -> Status:
        return Status.STOPPED if self.verdict[0] is Status.STOPPED else Status.ABORTED

    def _end_early(self, status: Status, error: BaseException, rollback: bool) -> None:
        """Nothing starts any more; what is under way is cancelled."""
        if self.phase in (Phase.CANCELLING, Phase.ROLLING_BACK) and status is not Status.STOPPED:
            return  # it is ending already, and how was decided first
        if self.paused:
            self.paused = False
            self.run.move(Status.RUNNING)
        self.phase = Phase.CANCELLING
        self.verdict = (status, error)
        self.rollback = rollback
        self.run.ask(Intent.INTENT_ABORT)
        self.waiting.clear()
        self.to_compensate.clear()
        for timer in [*self.timers, *self.frozen]:
            self._cancel(timer)
        self.run.abandon_all(self._abandoned)
        self._out.append(e.CancelTasks())
        self._set(GRACE_TIMER, GRACE)
        self._out.append(e.GoOn())

    def _on_settled(self, event: e.Settled) -> None:
        if self.phase is Phase.ROLLING_BACK or self.paused:
            return
        status = self.verdict[0]
        if status in (Status.FAILURE, Status.ABORTED) and self.rollback and self._roll_back():
            return
        self._finish()

    def _finish(self) -> None:
        for timer in [*self.timers, *self.frozen]:
            self._cancel(timer)
        self.phase = Phase.OVER
        self._out.append(e.Finish(*self.verdict))

    def _policy(self, step: int) -> StepPolicy | None:
        policy: StepPolicy | None = self.run.plan.policies.get(step)
        return policy

    # --- invariants -----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Verify what must hold after every event; raises AssertionError. For tests."""
        self.run.check()
        assert not set(self.timers) & set(self.frozen), "a timer is both set and frozen"
        assert self.paused or not (self.frozen or self.waiting), "something waits for a resume, but nothing is paused"
        for kind, step in self.timers:
            if kind == RETRY:
                assert self.run.step_status(step) == Status.PENDING, f"step {step} waits for a retry, but is not PENDING"
        if self.phase is Phase.CANCELLING:
            running = self.run.counts[1]
            assert running == 0 and self.run.finished, "a cancelled execution has steps that have not ended"
        if self.phase is Phase.OVER:
            assert not (self.timers or self.frozen or self.waiting or self.to_compensate), "something outlives the execution"
        for step in self.recovered:
            assert self.run.step_status(step) == Status.SUCCESS, f"step {step} was recovered, but did not succeed"

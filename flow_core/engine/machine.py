"""`Machine`: what follows from everything that is not plain success. Events in, commands out.

Theory. A `core.Run` knows which steps are ready, running and over; plain success never leaves it. The machine is made
for an execution at its first failure, timer, pause or abort, and moves through phases::

    FORWARD ──a step failed for good──> FAILING ─────everything ended────> [ROLLING_BACK] ──> OVER: FAILURE
       │                                   │                                      ^
       ├──abort, stop, timeout─────────────┴──> CANCELLING ──everything ended─────┘─────────> OVER: ABORTED, STOPPED,
       │                                                                                            FAILURE
       └──every step ended──> OVER: SUCCESS

A pause is no phase but a flag: it can fall into any of them. While it is set timers are frozen with what was left of
them, and fallbacks and compensations wait; both are taken up by the resume.

FAILING: only steps with ``join="done"`` (clean-ups) start, and only they are retried; running ones end and are
recorded, so that they can be compensated. CANCELLING: every step has ended; what is left are coroutines that clean up,
for `GRACE` seconds at most. ROLLING_BACK: compensations run one at a time, in reverse topological order, each with the
output of its step as input; no timeout cuts that short, and of all requests only a stop does. Whatever decided the end
first stays the reason of it, or the cause of the reason.

Lives here: that theory as code. Does not live here: performing commands (floor 2), computing delays
(``engine/policy.py``), the book of timers (``engine/alarms.py``), what must always hold (``engine/invariants.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, ClassVar

from flow_core.core.run import Intent
from flow_core.core.stepper import Stepper
from flow_core.core.task import Activity
from flow_core.engine import events as e
from flow_core.engine.compiler import StepPolicy
from flow_core.engine.failures import aborted, step_failed, stopped, text_of, timed_out
from flow_core.engine.invariants import check
from flow_core.engine.retry import next_delay, resolve_retry
from flow_core.engine.timers import EXECUTION, GRACE, GRACE_TIMER, RETRY, TOTAL, Alarms
from flow_core.errors import IllegalMove
from flow_core.model.options import Retry
from flow_core.model.status import Status
from flow_core.model.step import Step

__all__ = ["Machine", "Phase"]


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
        run: the execution's stepper.
        retries: the execution's own setting, for steps that have none.
        rollback: whether a failure runs the compensations.
        timeout: seconds for the whole execution.
    """

    def __init__(
        self, run: Stepper, *, retries: int | Retry | None = None, rollback: bool = True, timeout: float | None = None
    ) -> None:
        self.run = run
        self.retries = retries
        self.rollback = rollback
        self.timeout = timeout
        self.phase = Phase.FORWARD
        self.paused = False
        #: Why it is paused, for people.
        self.reason = ""
        #: How the execution will end, as far as decided: the first failure, the abort, the stop.
        self.verdict: tuple[Status, BaseException | None] = (Status.SUCCESS, None)
        #: Last error of each step that failed at least once.
        self.errors: dict[int, BaseException] = {}
        #: Steps whose fallback's output became theirs.
        self.recovered: set[int] = set()
        #: Errors of compensations; they never hide the first error.
        self.compensation_errors: dict[int, BaseException] = {}
        #: Steps whose compensation has run.
        self.compensated: set[int] = set()
        #: Steps that were under way in another process and start anew -> when their total_timeout is over, loop time.
        self.due: dict[int, float] = {}
        #: Steps whose total_timeout is over while an attempt runs: no other follows.
        self.out_of_time: set[int] = set()
        #: Fallbacks and compensations that wait for the resume.
        self.waiting: list[e.StartActivity] = []
        #: Steps still to compensate, the next one last.
        self.to_compensate: list[int] = []
        self._out: list[e.Command] = []
        self._alarms = Alarms(self._out)

    @property
    def timers(self) -> dict[e.Timer, float]:
        """Timers that are set -> when they ring (loop time)."""
        return self._alarms.deadlines

    @property
    def frozen(self) -> dict[e.Timer, float]:
        """Timers stopped by a pause -> seconds that were left."""
        return self._alarms.frozen

    def begin(self, now: float) -> list[e.Command]:
        """Set the execution's own timer, when it has a timeout."""
        self._alarms.now = now
        if self.timeout is not None:
            self._alarms.set(EXECUTION, self.timeout)
        return self._taken()

    def handle(self, event: e.Event, now: float) -> list[e.Command]:
        """Take in one event at loop time ``now`` (seconds); returns what is to be done, in this order.

        Raises:
            IllegalMove: a pause that makes no sense now.
        """
        self._alarms.now = now
        if self.phase is not Phase.OVER:
            self._ON[type(event)](self, event)
        return self._taken()

    def _taken(self) -> list[e.Command]:
        commands = self._out.copy()
        self._out.clear()
        return commands

    # --- attempts -----------------------------------------------------------------------------------------------------

    def _on_started(self, event: e.StepStarted) -> None:
        policy = self._policy(event.step)
        total = (TOTAL, event.step)
        if policy is None or policy.total_timeout is None or total in self._alarms:
            return
        if self.run.step_status(event.step) == Status.RUNNING:
            due = self.due.pop(event.step, self._alarms.now + policy.total_timeout)
            self._alarms.set(total, max(0.0, due - self._alarms.now))

    def _on_succeeded(self, event: e.StepSucceeded) -> None:
        self._alarms.cancel((TOTAL, event.step))

    def _on_failed(self, event: e.StepFailed) -> None:
        step, error = event.step, event.error
        if self.run.step_status(step) != Status.RUNNING:
            return  # abandoned meanwhile
        self.errors[step] = error
        delay = self._retry_delay(event)
        if delay is None:
            self._give_up(step, error)
        else:
            self._out.append(e.NoteAttempt(step, self.run.attempt(step), delay, error))
            self.run.retry(step)
            self._alarms.set((RETRY, step), delay)

    def _retry_delay(self, event: e.StepFailed) -> float | None:
        """Seconds until the next attempt, None when there is none."""
        step = event.step
        if step in self.out_of_time or not (self.phase is Phase.FORWARD or self._is_clean_up(step)):
            return None
        policy = self._policy(step)
        retry = resolve_retry(None if policy is None else policy.retry, self.retries)
        delay = next_delay(retry, self.run.attempt(step), event.error, event.random)
        left = self._alarms.left((TOTAL, step))
        return delay if delay is None or left is None or delay < left else None

    def _is_clean_up(self, step: int) -> bool:
        item: Step = self.run.plan.items[step]
        return item.join == "done"

    def _give_up(self, step: int, error: BaseException) -> None:
        """The last attempt failed: the fallback's turn, when there is one."""
        policy = self._policy(step)
        if policy is None or policy.fallback is None:
            self._fail(step, error)
            return
        self._alarms.cancel((TOTAL, step))
        try:
            value = self.run.input(step)
        except Exception:  # there is no input to give: the error said so
            self._fail(step, error)
        else:
            self._out.append(e.NoteAttempt(step, self.run.attempt(step), None, error))
            self._start(e.StartActivity(step, Activity.ACTIVITY_FALLBACK, value))

    def _fail(self, step: int, error: BaseException) -> None:
        """The step failed for good."""
        self._out.append(e.NoteStep(step, Status.FAILURE, error))
        self._alarms.cancel((TOTAL, step))
        self.run.fail(step)
        policy = self._policy(step)
        if self.phase is Phase.FORWARD and not (policy is not None and policy.allow_fail):
            self.phase = Phase.FAILING
            self.verdict = (Status.FAILURE, step_failed(self.run, step, error))
            self.run.fail_fast()
            self._abandon_retries()
        self._out.append(e.GoOn())

    def _abandon_retries(self) -> None:
        """Steps between two attempts, waiting for their time or a slot, don't get another; clean-ups do."""
        for step in self.errors:
            if self.run.step_status(step) == Status.PENDING and not self._is_clean_up(step):
                self._alarms.cancel((RETRY, step))
                self._alarms.cancel((TOTAL, step))
                self.run.abandon(step, Status.ABORTED)

    # --- fallbacks and compensations ----------------------------------------------------------------------------------

    def _on_activity(self, event: e.ActivityEnded) -> None:
        if event.activity == Activity.ACTIVITY_COMPENSATION:
            error = None if event.ok else event.value
            if error is not None:
                self.compensation_errors[event.step] = error
            self.compensated.add(event.step)
            self._out.append(e.NoteCompensation(event.step, error))
            self._compensate_next()
            return
        if self.run.step_status(event.step) != Status.RUNNING:
            return  # aborted meanwhile: a late outcome
        error = self.errors[event.step]
        policy = self._policy(event.step)
        if event.ok and policy is not None and policy.recovers:
            self.recovered.add(event.step)
            self._out.append(e.NoteStep(event.step, Status.SUCCESS, event.value))
            self.run.succeed(event.step, event.value)
            self._out.append(e.GoOn())
            return
        if not event.ok and isinstance(event.value, BaseException):
            error.add_note(f"its fallback failed, too: {type(event.value).__name__}: {text_of(event.value)}")
        self._fail(event.step, error)

    def _start(self, command: e.StartActivity) -> None:
        if self.paused:
            self.waiting.append(command)
        else:
            self._out.append(command)

    def _roll_back(self) -> None:
        """Compensate what succeeded; then it is over."""
        policies = self.run.plan.policies
        self.to_compensate = [
            int(step)
            for step in self.run.plan.graph.order()
            if step in policies and policies[step].compensation is not None
            and self.run.step_status(step) == Status.SUCCESS and step not in self.compensated
        ]  # fmt: skip
        if self.to_compensate:
            self.phase = Phase.ROLLING_BACK
            self.run.ask(Intent.INTENT_RUN)  # compensations are not aborted, though the steps were
        self._compensate_next()

    def _compensate_next(self) -> None:
        if self.to_compensate:
            step = self.to_compensate.pop()
            self._start(e.StartActivity(step, Activity.ACTIVITY_COMPENSATION, self.run.output(step)))
        else:
            self._finish()

    # --- timers -------------------------------------------------------------------------------------------------------

    def _on_timer(self, event: e.TimerRang) -> None:
        if not self._alarms.ring(event.timer):
            return
        kind, step = event.timer
        if kind == RETRY:
            self.run.requeue(step)
            self._out.append(e.GoOn())
        elif kind == TOTAL:
            self._total_passed(step)
        elif event.timer == EXECUTION:
            self._end_early(Status.FAILURE, timed_out(self.run, self.timeout), self.rollback)
        else:
            self._out.append(e.DetachTasks())

    def _total_passed(self, step: int) -> None:
        if self.run.step_status(step) == Status.RUNNING:
            self.out_of_time.add(step)
            self._out.append(e.CancelStep(step))
        else:  # it is between two attempts: no other follows
            self._alarms.cancel((RETRY, step))
            self.run.begin(step)
            self._give_up(step, self.errors[step])

    # --- pause, resume, abort, stop -----------------------------------------------------------------------------------

    def _on_pause(self, event: e.PauseAsked) -> None:
        if self.paused:
            return
        if self.run.status_number not in (Status.PENDING, Status.RUNNING):
            raise IllegalMove(f"an execution that is {Status(self.run.status_number).name} can't be paused")
        self.paused = True
        self.reason = event.reason
        self.run.ask(Intent.INTENT_PAUSE)
        self.run.move(Status.PAUSED)
        self._out.append(e.NotePause(True, event.reason))
        self._alarms.freeze(but=GRACE_TIMER)

    def _on_resume(self, event: e.ResumeAsked) -> None:
        if self.paused:
            self._resume()

    def _resume(self) -> None:
        self.paused = False
        self._out.append(e.NotePause(False))
        self.run.ask(Intent.INTENT_ABORT if self.phase is Phase.CANCELLING else Intent.INTENT_RUN)
        self.run.move(Status.RUNNING)
        self._alarms.thaw()
        self._out += self.waiting
        self.waiting.clear()
        self._out.append(e.GoOn())

    def _on_abort(self, event: e.AbortAsked) -> None:
        self._end_early(Status.ABORTED, aborted(self.run, event.reason), event.rollback)

    def _on_stop(self, event: e.StopAsked) -> None:
        self._end_early(Status.STOPPED, stopped(self.run), rollback=False)

    def _end_early(self, status: Status, error: BaseException, rollback: bool) -> None:
        """Nothing starts any more; what is under way is cancelled."""
        ending = self.phase in (Phase.CANCELLING, Phase.ROLLING_BACK)
        if ending and status is not Status.STOPPED:
            # How it ends was decided before. But who asks for the end waits for it, and not for somebody's resume.
            if self.paused:
                self._resume()
            return
        if self.paused:
            self.paused = False
            self.run.move(Status.RUNNING)
            self._out.append(e.NotePause(False))
        self._decide(status, error)
        if status is not Status.STOPPED:  # a stop is no end: who starts again goes on with it
            self._out.append(e.NoteEnding(self.verdict[0], rollback, self.verdict[1] or error))
        self.phase = Phase.CANCELLING
        self.rollback = rollback
        self.run.ask(Intent.INTENT_ABORT)
        self.waiting.clear()
        self.to_compensate.clear()
        self._alarms.cancel_all()
        self._alarms.thaw()
        self.run.abandon_all(Status.STOPPED if status is Status.STOPPED else Status.ABORTED)
        self._out.append(e.CancelTasks())
        self._alarms.set(GRACE_TIMER, GRACE)
        self._out.append(e.GoOn())

    def _decide(self, status: Status, error: BaseException) -> None:
        """How it ends. A failure stays one when time runs out later; behind an abort or a stop it is the cause."""
        first = self.verdict[1]
        if first is None or status is not Status.FAILURE:
            error.__cause__ = first
            self.verdict = (status, error)

    def _on_settled(self, event: e.Settled) -> None:
        if self.phase is Phase.ROLLING_BACK or self.paused:
            return
        self._alarms.cancel_all()
        if self.verdict[0] in (Status.FAILURE, Status.ABORTED) and self.rollback:
            self._roll_back()
        else:
            self._finish()

    def _finish(self) -> None:
        self._alarms.cancel_all()
        self.phase = Phase.OVER
        self._out.append(e.Finish(*self.verdict))

    def _policy(self, step: int) -> StepPolicy | None:
        policy: StepPolicy | None = self.run.plan.policies.get(step)
        return policy

    def check(self) -> None:
        """Verify what must hold after every event; raises AssertionError. For tests."""
        check(self)

    _ON: ClassVar[dict[type, Callable[[Machine, Any], None]]] = {
        e.StepStarted: _on_started,
        e.StepSucceeded: _on_succeeded,
        e.StepFailed: _on_failed,
        e.ActivityEnded: _on_activity,
        e.TimerRang: _on_timer,
        e.PauseAsked: _on_pause,
        e.ResumeAsked: _on_resume,
        e.AbortAsked: _on_abort,
        e.StopAsked: _on_stop,
        e.Settled: _on_settled,
    }

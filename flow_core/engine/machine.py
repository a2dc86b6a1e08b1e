"""`Machine`: decides what follows from everything but plain success. Events in, facts and effects out.

Theory. A `core.Run` knows which steps are ready, running and over; plain success never leaves it. The machine is made
for an execution at its first failure, timer, pause or abort, and moves through phases::

    FORWARD ──a step failed for good──> FAILING ─────everything ended────> [ROLLING_BACK] ──> OVER: FAILURE
       │                                   │                                      ^
       ├──abort, stop, timeout─────────────┴──> CANCELLING ──everything ended─────┘─────────> OVER: ABORTED, STOPPED,
       │                                                                                            FAILURE
       └──every step ended──> OVER: SUCCESS

A pause is a flag, not a phase: it can be set in any of them. While it is set, timers are frozen with the time they had
left, and fallbacks and compensations wait; a resume continues both.

FAILING: only steps with ``join="done"`` (clean-ups) start, and only they are retried; running ones end and are
recorded, so that they can be compensated. CANCELLING: every step has ended; what is left are coroutines that clean up,
for `GRACE` seconds at most. ROLLING_BACK: compensations run one at a time, in reverse topological order, each with the
output of its step as input; only a stop interrupts them, no timeout does. The first error that decided the end stays
the reason of it, or the cause of the reason.

What the machine decides is a *fact*: a record of ``model/records.py`` whose error is still the exception and whose
output is still the value. Only `Machine.apply` changes the state for a fact, whether it was just decided or comes from
a store; timers, starts and cancellations, which matter only in this process, are effects.
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
from flow_core.engine.retry import next_delay, resolve_retry
from flow_core.engine.timers import EXECUTION, GRACE, GRACE_TIMER, RETRY, TOTAL, ExecutionTimers
from flow_core.errors import IllegalMove
from flow_core.model.options import Retry
from flow_core.model.records import AttemptFailed, Compensated, Ending, Fact, Paused, Resumed, StepEnded
from flow_core.model.status import Status
from flow_core.model.step import Step

__all__ = ["Machine", "Phase"]

GO_ON = e.GoOn()


class Phase(Enum):
    """The phase of an execution that is more than plain success."""

    FORWARD = "forward"
    FAILING = "failing"
    CANCELLING = "cancelling"
    ROLLING_BACK = "rolling back"
    OVER = "over"


class Machine:
    """Decides what failures, timers, pauses and aborts mean for one execution.

    Args:
        run: the execution's stepper.
        retries: the execution's own setting, for steps that have none.
        rollback: whether a failure runs the compensations.
        timeout: seconds for the whole execution.
        utc_offset: gives UTC seconds minus loop seconds, for the times of facts.
    """

    def __init__(
        self, run: Stepper, *, retries: int | Retry | None = None, rollback: bool = True, timeout: float | None = None,
        utc_offset: Callable[[Stepper], float] = lambda _: 0.0,
    ) -> None:  # fmt: skip
        self.run = run
        self.utc_offset = utc_offset
        self.retries = retries
        self.rollback = rollback
        self.timeout = timeout
        self.phase = Phase.FORWARD
        self.paused = False
        #: Why it is paused: a text for people.
        self.reason = ""
        #: How the execution will end, as far as decided: the first failure, the abort, the stop.
        self.verdict: tuple[Status, BaseException | None] = (Status.SUCCESS, None)
        #: Last error of each step that failed at least once.
        self.errors: dict[int, BaseException] = {}
        #: Steps that took over the output of their fallback.
        self.recovered: set[int] = set()
        #: Errors of compensations; they never hide the first error.
        self.compensation_errors: dict[int, BaseException] = {}
        #: Steps whose compensation has run.
        self.compensated: set[int] = set()
        #: Steps that ran in another process and start again -> when their total_timeout expires, loop time.
        self.due: dict[int, float] = {}
        #: Steps whose total_timeout expired during an attempt, which is their last.
        self.out_of_time: set[int] = set()
        #: Fallbacks and compensations that wait for a resume.
        self.waiting: list[e.StartActivity] = []
        #: Steps still to compensate, the next one last.
        self.to_compensate: list[int] = []
        self._out: list[e.Command] = []
        self.execution_timers = ExecutionTimers(self._out)

    @property
    def timers(self) -> dict[e.Timer, float]:
        """Timers that are set -> when they ring (loop time)."""
        return self.execution_timers.deadlines

    @property
    def frozen(self) -> dict[e.Timer, float]:
        """Timers stopped by a pause -> seconds that were left."""
        return self.execution_timers.frozen

    def begin(self, now: float) -> list[e.Command]:
        """Set the execution's own timer, when it has a timeout."""
        self.execution_timers.now = now
        if self.timeout is not None:
            self.execution_timers.set(EXECUTION, self.timeout)
        return self.take_commands()

    def handle(self, event: e.Event, now: float) -> list[e.Command]:
        """Handle one event at loop time ``now`` (seconds); returns the commands to perform, in order.

        Raises:
            IllegalMove: the execution can't be paused now.
        """
        self.execution_timers.now = now
        if self.phase is not Phase.OVER:
            self._ON[type(event)](self, event)
        return self.take_commands()

    def take_commands(self) -> list[e.Command]:
        """The commands since the last call: facts to keep, and effects to perform."""
        commands = self._out.copy()
        self._out.clear()
        return commands

    # --- attempts -----------------------------------------------------------------------------------------------------

    def _on_started(self, event: e.AttemptStarted) -> None:
        policy = self.policy(event.step)
        total = (TOTAL, event.step)
        if policy is None or policy.total_timeout is None or total in self.execution_timers:
            return
        if self.run.step_status(event.step) == Status.RUNNING:
            due = self.due.pop(event.step, self.execution_timers.now + policy.total_timeout)
            self.execution_timers.set(total, max(0.0, due - self.execution_timers.now))

    def _on_succeeded(self, event: e.StepSucceeded) -> None:
        self.execution_timers.cancel((TOTAL, event.step))

    def _on_failed(self, event: e.AttemptRaised) -> None:
        step, error = event.step, event.error
        if self.run.step_status(step) != Status.RUNNING:
            return  # abandoned meanwhile
        delay = self._retry_delay(event)
        if delay is None:
            self._give_up(step, error)
        else:
            self._decide(self._attempt_failed(step, error, delay), step)
            self.execution_timers.set((RETRY, step), delay)

    def _attempt_failed(self, step: int, error: BaseException, delay: float | None) -> AttemptFailed:
        offset, started = self.utc_offset(self.run), self.run.times(step)[0]
        now = self.execution_timers.now + offset
        began = now if started is None else started + offset
        due = None if delay is None else now + delay
        return AttemptFailed("", self._id(step), self.run.attempt(step), due, error, began, now)

    def _retry_delay(self, event: e.AttemptRaised) -> float | None:
        """Seconds until the next attempt, None when there is none."""
        step = event.step
        if step in self.out_of_time or not (self.phase is Phase.FORWARD or self._is_clean_up(step)):
            return None
        policy = self.policy(step)
        retry = resolve_retry(None if policy is None else policy.retry, self.retries)
        delay = next_delay(retry, self.run.attempt(step), event.error, event.random)
        left = self.execution_timers.left((TOTAL, step))
        return delay if delay is None or left is None or delay < left else None

    def _is_clean_up(self, step: int) -> bool:
        item: Step = self.run.plan.items[step]
        return item.join == "done"

    def _give_up(self, step: int, error: BaseException) -> None:
        """The last attempt failed: start the fallback, if there is one."""
        policy = self.policy(step)
        if policy is None or policy.fallback is None:
            self._fail(step, error)
            return
        try:
            value = self.run.input(step)
        except Exception:  # the step has no input, which is why it failed
            self._fail(step, error)
        else:
            self._decide(self._attempt_failed(step, error, None), step)
            self._start(e.StartActivity(step, Activity.ACTIVITY_FALLBACK, value))

    def _fail(self, step: int, error: BaseException) -> None:
        """The step failed for good."""
        self._decide(self._step_ended(step, Status.FAILURE, None, error), step)
        self._out.append(GO_ON)

    def _step_ended(self, step: int, status: Status, value: Any, error: BaseException | None) -> StepEnded:
        offset, started = self.utc_offset(self.run), self.run.times(step)[0]
        began, now = 0.0 if started is None else started + offset, self.execution_timers.now + offset
        id_, attempt, recovered = self._id(step), self.run.attempt(step), status is Status.SUCCESS
        return StepEnded("", id_, attempt, int(status), value, error, recovered, False, began, now)

    def _abandon_retries(self) -> None:
        """Give up the retries of all steps that wait for their next attempt, except of clean-ups."""
        for step in self.errors:
            if self.run.step_status(step) == Status.PENDING and not self._is_clean_up(step):
                self.execution_timers.cancel((RETRY, step))
                self.execution_timers.cancel((TOTAL, step))
                self.run.abandon(step, Status.ABORTED)

    # --- fallbacks and compensations ----------------------------------------------------------------------------------

    def _on_activity(self, event: e.ActivityEnded) -> None:
        if event.activity == Activity.ACTIVITY_COMPENSATION:
            undone = Compensated("", self._id(event.step), None if event.ok else event.value, self._utc)
            self._decide(undone, event.step)
            self._compensate_next()
            return
        if self.run.step_status(event.step) != Status.RUNNING:
            return  # aborted meanwhile: a late outcome
        error = self.errors[event.step]
        policy = self.policy(event.step)
        if event.ok and policy is not None and policy.recovers:
            self._decide(self._step_ended(event.step, Status.SUCCESS, event.value, None), event.step)
            self._out.append(GO_ON)
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
        """Compensate the steps that succeeded, then finish."""
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
        if not self.execution_timers.ring(event.timer):
            return
        kind, step = event.timer
        if kind == RETRY:
            self.run.requeue(step)
            self._out.append(GO_ON)
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
            self.execution_timers.cancel((RETRY, step))
            self.run.begin(step)
            self._give_up(step, self.errors[step])

    # --- pause, resume, abort, stop -----------------------------------------------------------------------------------

    def _on_pause(self, event: e.PauseAsked) -> None:
        if self.paused:
            return
        if self.run.status_number not in (Status.PENDING, Status.RUNNING):
            raise IllegalMove(f"an execution that is {Status(self.run.status_number).name} can't be paused")
        self._decide(Paused("", event.reason, self._utc))

    def _on_resume(self, event: e.ResumeAsked) -> None:
        if self.paused:
            self._resume()

    def _resume(self) -> None:
        self._decide(Resumed("", "", self._utc))
        self._out += self.waiting
        self.waiting.clear()
        self._out.append(GO_ON)

    def _on_abort(self, event: e.AbortAsked) -> None:
        self._end_early(Status.ABORTED, aborted(self.run, event.reason), event.rollback)

    def _on_stop(self, event: e.StopAsked) -> None:
        self._end_early(Status.STOPPED, stopped(self.run), rollback=False)

    def _end_early(self, status: Status, error: BaseException, rollback: bool) -> None:
        """Start no more steps, and cancel the running ones."""
        ending = self.phase in (Phase.CANCELLING, Phase.ROLLING_BACK)
        if ending and status is not Status.STOPPED:
            # The end is already decided. But the caller waits for it, so it must not depend on a later resume.
            if self.paused:
                self._resume()
            return
        if status is Status.STOPPED:  # not the end: the next process continues the execution
            if self.paused:
                self.apply(Resumed(""))
            self._conclude(status, error)
            self._cancel(Status.STOPPED, rollback)
        else:
            if self.paused:
                self._decide(Resumed("", "", self._utc))
            first = self.verdict[1]
            if first is not None and status is Status.FAILURE:  # a failure stays one when time runs out later
                status, error = self.verdict[0], first
            self._decide(Ending("", int(status), rollback, error, self._utc))
        self._out.append(e.CancelTasks())
        self.execution_timers.set(GRACE_TIMER, GRACE)
        self._out.append(GO_ON)

    def _on_settled(self, event: e.Settled) -> None:
        if self.phase is Phase.ROLLING_BACK or self.paused:
            return
        self.execution_timers.cancel_all()
        if self.verdict[0] in (Status.FAILURE, Status.ABORTED) and self.rollback:
            self._roll_back()
        else:
            self._finish()

    def _finish(self) -> None:
        self.execution_timers.cancel_all()
        self.phase = Phase.OVER
        self._out.append(e.Finish(*self.verdict))

    # --- facts --------------------------------------------------------------------------------------------------------

    @property
    def _utc(self) -> float:
        return self.execution_timers.now + self.utc_offset(self.run)

    def _id(self, step: int) -> str:
        item: Step = self.run.plan.items[step]
        return item.id

    def _decide(self, fact: Fact, step: int = -1) -> None:
        """Apply a fact and hand it out to be kept, before the commands that follow from it."""
        self._out.append(fact)
        self.apply(fact, step)

    def apply(self, fact: Fact, step: int = -1) -> None:
        """Change the state as a fact says: one just decided, or one read from a store.

        Args:
            step: index of the step that the fact is about, if any.
        """
        self._APPLY[type(fact)](self, fact, step)

    def _apply_attempt(self, fact: AttemptFailed, step: int) -> None:
        self.errors[step] = fact.error
        self._begin(step)
        if self.run.step_status(step) != Status.RUNNING:
            return  # its outcome is known
        self.execution_timers.cancel((RETRY, step))
        if fact.due_utc is None:
            self.execution_timers.cancel((TOTAL, step))
        else:
            self.run.retry(step)

    def _apply_step(self, fact: StepEnded, step: int) -> None:
        if fact.status == Status.SKIPPED:
            if self.run.step_status(step) == Status.PENDING:
                self.run.skip(step)
        elif fact.status == Status.SUCCESS:
            if fact.recovered:
                self.recovered.add(step)
            if self.run.step_status(step) == Status.RUNNING:
                self.run.succeed(step, fact.output)
            else:
                offset = self.utc_offset(self.run)
                began, ended = max(0.0, fact.started_utc - offset), max(0.0, fact.time_utc - offset)
                self.run.recall(step, fact.output, fact.attempt, began, ended)
        else:
            self._apply_failure(fact, step)

    def _apply_failure(self, fact: StepEnded, step: int) -> None:
        self.errors[step] = fact.error
        self._begin(step)
        for _ in range(fact.attempt - self.run.attempt(step)):
            self.run.retry(step)
            self.run.begin(step)
        self.execution_timers.cancel((RETRY, step))
        self.execution_timers.cancel((TOTAL, step))
        self.run.fail(step)
        policy = self.policy(step)
        if self.phase is Phase.FORWARD and not (policy is not None and policy.allow_fail):
            self.phase = Phase.FAILING
            self.verdict = (Status.FAILURE, step_failed(self.run, step, fact.error))
            self.run.fail_fast()
            self._abandon_retries()

    def _begin(self, step: int) -> None:
        """Begin a step that has not started in this process, since the fact comes from a store."""
        if self.run.step_status(step) == Status.PENDING:
            self.run.begin(step)

    def _apply_compensation(self, fact: Compensated, step: int) -> None:
        self.compensated.add(step)
        if fact.error is not None:
            self.compensation_errors[step] = fact.error

    def _apply_pause(self, fact: Paused, _: int) -> None:
        self.paused, self.reason = True, fact.reason
        self.run.ask(Intent.INTENT_PAUSE)
        self.run.move(Status.PAUSED)
        self.execution_timers.freeze(but=GRACE_TIMER)

    def _apply_resume(self, fact: Resumed, _: int) -> None:
        self.paused = False
        self.run.ask(Intent.INTENT_ABORT if self.phase is Phase.CANCELLING else Intent.INTENT_RUN)
        self.run.move(Status.RUNNING)
        self.execution_timers.thaw()

    def _apply_ending(self, fact: Ending, _: int) -> None:
        self._conclude(Status(fact.status), fact.error)
        self._cancel(Status.ABORTED, fact.rollback)

    def _conclude(self, status: Status, error: BaseException) -> None:
        """Set how it ends. A failure outlasts a later timeout, and becomes the cause of a later abort or stop."""
        first = self.verdict[1]
        if error is not first and (first is None or status is not Status.FAILURE):
            error.__cause__ = first
            self.verdict = (status, error)

    def _cancel(self, status: Status, rollback: bool) -> None:
        """Start no more steps, and end all unfinished ones as ``status``."""
        self.phase = Phase.CANCELLING
        self.rollback = rollback
        self.run.ask(Intent.INTENT_ABORT)
        self.waiting.clear()
        self.to_compensate.clear()
        self.execution_timers.cancel_all()
        self.execution_timers.thaw()
        self.run.abandon_all(status)

    def policy(self, step: int) -> StepPolicy | None:
        """The policy of a step; None when it has none."""
        policy: StepPolicy | None = self.run.plan.policies.get(step)
        return policy

    def check(self) -> None:
        """Verify what must hold after every event; raises AssertionError. For tests."""
        run, timers = self.run, self.execution_timers
        run.check()
        timers.check()
        assert self.paused == timers.is_frozen, "timers are frozen exactly while it is paused"
        assert self.paused or not self.waiting, "something waits for a resume, but nothing is paused"
        for kind, step in [*timers.deadlines, *timers.frozen]:
            status = Status(run.step_status(step)) if kind in (RETRY, TOTAL) else Status.PENDING
            assert status is Status.PENDING or (kind == TOTAL and status is Status.RUNNING), (
                f"step {step} has a timer {kind!r}, but it is {status.name}"
            )
        if self.phase in (Phase.CANCELLING, Phase.ROLLING_BACK, Phase.OVER):
            assert run.finished, f"it is {self.phase.value}, but has steps that have not ended"
        assert GRACE_TIMER not in timers or self.phase is Phase.CANCELLING, "grace, but nothing was cancelled"
        if self.phase is Phase.OVER:
            assert not (self.timers or self.frozen or self.waiting or self.to_compensate), "something outlives it"
        for step in self.recovered:
            assert run.step_status(step) == Status.SUCCESS, f"step {step} was recovered, but did not succeed"

    _ON: ClassVar[dict[type, Callable[[Machine, Any], None]]] = {
        e.AttemptStarted: _on_started, e.StepSucceeded: _on_succeeded, e.AttemptRaised: _on_failed,
        e.ActivityEnded: _on_activity, e.TimerRang: _on_timer, e.PauseAsked: _on_pause, e.ResumeAsked: _on_resume,
        e.AbortAsked: _on_abort, e.StopAsked: _on_stop, e.Settled: _on_settled,
    }  # fmt: skip
    _APPLY: ClassVar[dict[type, Callable[[Machine, Any, int], None]]] = {
        AttemptFailed: _apply_attempt, StepEnded: _apply_step, Compensated: _apply_compensation, Paused: _apply_pause,
        Resumed: _apply_resume, Ending: _apply_ending,
    }  # fmt: skip

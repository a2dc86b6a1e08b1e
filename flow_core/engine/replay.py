"""`replay`: an execution as its records left it. Transitions are repeated, decisions are not taken again.

Theory. Which order steps ended in does not matter to a run, what they ended with does. So first all successes and skips
are recalled, then failed attempts, then failures for good (the first of which skips what has not started), then a
decision from outside, then a pause. A step without an outcome is as if it had never started, except that an
at-most-once step whose start was recorded has failed: nobody knows whether its effect happened. In an execution that
was failing already, other steps that were under way are not started again.

Timers go on where they were: what was left of them then, less the time since, but for the time that it was paused. A
step with a total_timeout starts anew with what is left of it.

Lives here: the replay, sans-IO. Does not live here: where records come from, starting what is ready (floor 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flow_core.core.run import Intent
from flow_core.core.task import Activity
from flow_core.engine import events as e
from flow_core.engine.failures import restore_error
from flow_core.engine.machine import Machine, Phase
from flow_core.engine.timers import EXECUTION, RETRY, TOTAL
from flow_core.errors import Interrupted, StoreCorrupt
from flow_core.model.payload import decode_outcome
from flow_core.model.records import (
    AttemptFailed,
    Compensated,
    Ending,
    ExecutionStarted,
    Paused,
    Record,
    Resumed,
    StepEnded,
    StepStarted,
)
from flow_core.model.status import Status
from flow_core.model.step import Step

__all__ = ["Replayed", "last_pause", "replay"]


class Replayed(NamedTuple):
    """What is to be done when the execution goes on: ``commands`` at once, then feed ``events``."""

    commands: list[e.Command]
    events: list[e.Event]


def replay(machine: Machine, records: Sequence[Record], now: float, utc: float) -> Replayed:
    """Bring a machine and its run, which has not been driven, to where the records say.

    Args:
        machine: new, of a run that is prepared and not launched.
        records: of an unfinished execution, in the order of their commits, its start first.
        now: loop seconds.
        utc: UTC seconds of the same moment.

    Raises:
        StoreCorrupt: the records name a step that the plan does not have.
    """
    if not records or not isinstance(records[0], ExecutionStarted):
        raise StoreCorrupt("an execution without a start")
    return _Replay(machine, records, now, utc).run()


def last_pause(records: Sequence[Record]) -> Paused | None:
    """The pause that an execution is in, as its records say; None when it is in none."""
    last = next((record for record in reversed(records) if isinstance(record, Paused | Resumed)), None)
    return last if isinstance(last, Paused) else None


class _Replay:
    def __init__(self, machine: Machine, records: Sequence[Record], now: float, utc: float) -> None:
        self.machine = machine
        self.slab = machine.run
        self.records = records
        self.now = now
        self.utc = utc
        self.index = {step.id: i for i, step in enumerate(self.slab.plan.items)}
        self.ended = {record.step for record in records if isinstance(record, StepEnded)}
        self.fallbacks: list[int] = []
        machine._alarms.now = now

    def run(self) -> Replayed:
        outcomes = [record for record in self.records if isinstance(record, StepEnded)]
        for record in outcomes:
            if record.status != Status.FAILURE:
                self._succeeded(record)
        for attempt in self.records:
            if isinstance(attempt, AttemptFailed):
                self._attempt_failed(attempt)
        self._begun()
        interrupted = self._interrupted()  # before a failure skips what had not started
        self._failures([record for record in outcomes if record.status == Status.FAILURE])
        self.slab.drop_stale()  # roots, and what successes made ready, may wait for a retry
        self._compensations()
        self._deadline()
        self._decided()
        self._paused()
        self.machine._taken()  # what was commanded then has been done then
        commands: list[e.Command] = [e.SetTimer(timer, at - self.now) for timer, at in self.machine.timers.items()]
        for step in self.fallbacks:
            self._fallback(step, commands)
        return Replayed(commands, [e.StepFailed(step, error) for step, error in interrupted])

    # --- steps --------------------------------------------------------------------------------------------------------

    def _step(self, record: StepEnded | AttemptFailed | StepStarted | Compensated) -> int:
        found = self.index.get(record.step)
        if found is None:
            raise StoreCorrupt(
                f"execution {record.execution} has a record of step {record.step!r}, which its flow "
                f"{self.slab.plan.flow!r} does not have in revision {self.slab.plan.revision}",
                execution=record.execution, step=record.step,
            )  # fmt: skip
        return found

    def _loop_time(self, utc: float) -> float:
        return max(0.0, self.now - (self.utc - utc))

    def _succeeded(self, record: StepEnded) -> None:
        step = self._step(record)
        if record.status == Status.SKIPPED:
            if self.slab.step_status(step) == Status.PENDING:
                self.slab.skip(step)
            return
        value = decode_outcome(record.output, record.json)
        started, ended = self._loop_time(record.started_utc), self._loop_time(record.time_utc)
        self.slab.recall(step, value, record.attempt, started, ended)
        if record.recovered:
            self.machine.recovered.add(step)

    def _attempt_failed(self, record: AttemptFailed) -> None:
        step = self._step(record)
        error = restore_error(record.error)
        self.machine.errors[step] = error
        if record.step in self.ended:
            return  # what came of it is recorded
        if step in self.fallbacks:
            return
        self.machine._alarms.cancel((RETRY, step))
        self.slab.begin(step)
        if record.due_utc is None:
            self.machine._alarms.cancel((TOTAL, step))
            self.fallbacks.append(step)
            return
        self.slab.retry(step)
        left = record.due_utc - record.time_utc - self._awake(record.time_utc)
        self.machine._alarms.set((RETRY, step), max(0.0, left))
        policy = self.machine._policy(step)
        if policy is not None and policy.total_timeout is not None and (TOTAL, step) not in self.machine._alarms:
            left = policy.total_timeout - self._awake(record.started_utc)
            self.machine._alarms.set((TOTAL, step), max(0.0, left))

    def _failures(self, failed: Sequence[StepEnded]) -> None:
        steps = [self._step(record) for record in failed]
        for step, record in zip(steps, failed, strict=True):  # all of them ran before the first one failed
            self.slab.begin(step)
            for _ in range(record.attempt - self.slab.attempt(step)):
                self.slab.retry(step)
                self.slab.begin(step)
        for step, record in zip(steps, failed, strict=True):
            error = restore_error(record.error)
            self.machine.errors[step] = error
            self.machine._fail(step, error)
        if self.machine.phase is Phase.FAILING:
            self.machine._abandon_retries()

    def _begun(self) -> None:
        """Steps whose first attempt was under way start it anew, and have the rest of their time for it."""
        for record in self.records:
            if not isinstance(record, StepStarted) or record.step in self.ended:
                continue
            step = self._step(record)
            policy = self.machine._policy(step)
            if policy is not None and policy.total_timeout is not None and step not in self.machine.errors:
                self.machine.due[step] = self.now + policy.total_timeout - self._awake(record.time_utc)

    def _interrupted(self) -> list[tuple[int, BaseException]]:
        """At-most-once steps that had started and have neither outcome nor a failed attempt of that number."""
        failed = {(r.step, r.attempt) for r in self.records if isinstance(r, AttemptFailed)}
        found: list[tuple[int, BaseException]] = []
        for record in self.records:
            if not isinstance(record, StepStarted) or record.step in self.ended:
                continue
            if (record.step, record.attempt) in failed:
                continue
            step = self._step(record)
            if self.slab.step_status(step) != Status.PENDING or not self._once(step):
                continue
            self.machine._alarms.cancel((RETRY, step))
            self.slab.begin(step)
            error = Interrupted(
                f"step {record.step!r} was under way when its process ended: whether it took effect is not known",
                flow=self.slab.plan.flow, execution=record.execution, step=record.step, attempt=record.attempt,
                fix='look at its effect, then restart the execution; delivery="at_most_once" does not try again',
            )  # fmt: skip
            found.append((step, error))
        return found

    def _once(self, step: int) -> bool:
        item: Step = self.slab.plan.items[step]
        return item.delivery == "at_most_once"

    def _fallback(self, step: int, commands: list[e.Command]) -> None:
        if self.slab.step_status(step) != Status.RUNNING:
            return  # abandoned
        start = e.StartActivity(step, Activity.ACTIVITY_FALLBACK, self.slab.input(step))
        if self.machine.paused:
            self.machine.waiting.append(start)
        else:
            commands.append(start)

    # --- the execution ------------------------------------------------------------------------------------------------

    def _compensations(self) -> None:
        for record in self.records:
            if isinstance(record, Compensated):
                step = self._step(record)
                self.machine.compensated.add(step)
                if record.error is not None:
                    self.machine.compensation_errors[step] = restore_error(record.error)

    def _deadline(self) -> None:
        if self.machine.timeout is not None:
            left = self.machine.timeout - self._awake(self.records[0].time_utc)
            self.machine._alarms.set(EXECUTION, max(0.0, left))

    def _decided(self) -> None:
        """An abort, or a timeout of the execution, that had been decided."""
        endings = [record for record in self.records if isinstance(record, Ending)]
        if not endings:
            return
        ending = endings[-1]
        status = Status(ending.status)
        machine = self.machine
        machine._decide(status, restore_error(ending.error))
        machine.phase = Phase.CANCELLING
        machine.rollback = ending.rollback
        self.slab.ask(Intent.INTENT_ABORT)
        machine._alarms.cancel_all()
        self.fallbacks.clear()
        self.slab.abandon_all(Status.ABORTED)

    def _paused(self) -> None:
        last = last_pause(self.records)
        if last is None:
            return
        machine = self.machine
        machine.paused, machine.reason = True, last.reason
        self.slab.ask(Intent.INTENT_PAUSE)
        self.slab.move(Status.RUNNING)
        self.slab.move(Status.PAUSED)
        machine._alarms.freeze(but=("grace", 0))

    def _awake(self, since: float) -> float:
        """Seconds from ``since`` (UTC) until now during which the execution was not paused."""
        asleep, fell = 0.0, None
        for record in self.records:
            if isinstance(record, Paused) and fell is None:
                fell = max(record.time_utc, since)
            elif isinstance(record, Resumed) and fell is not None:
                asleep += max(0.0, record.time_utc - fell)
                fell = None
        if fell is not None:
            asleep += max(0.0, self.utc - fell)
        return max(0.0, self.utc - since - asleep)

"""`replay`: brings an execution back to the state that its records describe, by applying their facts again.

Theory. The state of a run depends on the outcomes of steps, not on their order. So all successes and skips are applied
first, then failed attempts, then final failures (the first of which skips the steps that have not started), then
compensations and the rest, a request from outside, and a pause. A step without an outcome counts as never started,
except that an at-most-once step whose start was recorded has failed, because nobody knows whether it took effect. In an
execution that was failing already, other steps that were running are not started again.

Timers keep running across the restart, but stand still while the execution is paused. A step with a total_timeout
starts again with the time that is left of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from flow_core.core.task import Activity
from flow_core.engine import events as e
from flow_core.engine.failures import restore_error
from flow_core.engine.machine import Machine
from flow_core.engine.timers import EXECUTION, RETRY, TOTAL
from flow_core.errors import Interrupted, StoreCorrupt
from flow_core.model.payload import decode_outcome
from flow_core.model.projection import Projection
from flow_core.model.records import (
    AttemptFailed,
    Compensated,
    Ending,
    ExecutionEnded,
    ExecutionStarted,
    Fact,
    Paused,
    Record,
    Resumed,
    StepEnded,
    StepStarted,
)
from flow_core.model.status import Status

__all__ = ["Replayed", "replay"]

#: Records with a place of their own in the replay, or none; the others are applied between them, in order.
IN_TURN = (ExecutionStarted, StepStarted, StepEnded, AttemptFailed, Ending, Paused, Resumed, ExecutionEnded)


class Replayed(NamedTuple):
    """How the execution continues: perform ``commands``, then feed ``events``.

    ``plain``: the machine has no state beyond that of the run.
    """

    commands: list[e.Command]
    events: list[e.Event]
    plain: bool


def replay(machine: Machine, records: Sequence[Record], now: float, utc: float) -> Replayed:
    """Bring a machine and its run to the state that the records describe.

    Args:
        machine: a new one, of a run that is prepared but not launched.
        records: those of an unfinished execution, in the order of their commits, its start first.
        now: loop seconds.
        utc: UTC seconds of the same moment.

    Raises:
        StoreCorrupt: the records name a step that the plan does not have.
    """
    if not records or not isinstance(records[0], ExecutionStarted):
        raise StoreCorrupt("an execution without a start")
    return _Replay(machine, records, now, utc).run()


class _Replay:
    def __init__(self, machine: Machine, records: Sequence[Record], now: float, utc: float) -> None:
        self.machine = machine
        self.rows = machine.run
        self.records = records
        self.now = now
        self.utc = utc
        self.timers = machine.execution_timers
        self.timers.now = now
        self.index = {step.id: i for i, step in enumerate(self.rows.plan.items)}
        self.outcomes = {record.step: record for record in records if isinstance(record, StepEnded)}

    def run(self) -> Replayed:
        self._apply(r for r in self.outcomes.values() if r.status != Status.FAILURE)
        attempts = [record for record in self.records if isinstance(record, AttemptFailed)]
        self._apply(attempts)
        interrupted = self._interrupted()  # before a failure skips what had not started
        failures = [record for record in self.outcomes.values() if record.status == Status.FAILURE]
        for record in failures:  # all of them ran before the first one failed
            if self.rows.step_status(self._step(record)) == Status.PENDING:
                self.rows.begin(self._step(record))
        self._apply(failures)
        self.rows.drop_stale()  # roots, and what successes made ready, may wait for a retry
        self._apply(record for record in self.records if not isinstance(record, IN_TURN))
        fallbacks = self._arm(attempts)
        self._apply([record for record in self.records if isinstance(record, Ending)][-1:])
        pause = Projection(self.records).pause
        if pause is not None:
            self.rows.move(Status.RUNNING)
            self.machine.apply(pause)
        self.machine.take_commands()  # these were performed before the restart
        commands: list[e.Command] = [e.SetTimer(timer, at - self.now) for timer, at in self.machine.timers.items()]
        for step in fallbacks:
            self._fallback(step, commands)
        events: list[e.Event] = [e.AttemptRaised(step, error) for step, error in interrupted]
        under_way = commands or events or self.machine.due or self.machine.paused or self.machine.timeout is not None
        return Replayed(commands, events, not under_way and all(map(_is_plain, self.records)))

    def _apply(self, records: Any) -> None:
        for record in records:
            step = self._step(record) if hasattr(record, "step") else -1
            self.machine.apply(_fact(record), step)

    def _step(self, record: StepEnded | AttemptFailed | StepStarted | Compensated) -> int:
        found = self.index.get(record.step)
        if found is None:
            raise StoreCorrupt(
                f"execution {record.execution} has a record of step {record.step!r}, which its flow "
                f"{self.rows.plan.flow!r} does not have in revision {self.rows.plan.revision}",
                execution=record.execution, step=record.step,
            )  # fmt: skip
        return found

    def _under_way(self) -> Iterator[tuple[int, StepStarted]]:
        """Steps with a recorded start but no outcome."""
        for record in self.records:
            if isinstance(record, StepStarted) and record.step not in self.outcomes:
                yield self._step(record), record

    def _interrupted(self) -> list[tuple[int, BaseException]]:
        """At-most-once steps that started, with neither an outcome nor a failed attempt of that number."""
        failed = {(r.step, r.attempt) for r in self.records if isinstance(r, AttemptFailed)}
        found: list[tuple[int, BaseException]] = []
        for step, record in self._under_way():
            once = self.rows.plan.items[step].delivery == "at_most_once"
            if not once or (record.step, record.attempt) in failed or self.rows.step_status(step) != Status.PENDING:
                continue
            self.rows.begin(step)
            error = Interrupted(
                f"step {record.step!r} was under way when its process ended: whether it took effect is not known",
                flow=self.rows.plan.flow, execution=record.execution, step=record.step, attempt=record.attempt,
                fix='look at its effect, then restart the execution; delivery="at_most_once" does not try again',
            )  # fmt: skip
            found.append((step, error))
        return found

    # --- timers -------------------------------------------------------------------------------------------------------

    def _arm(self, attempts: Sequence[AttemptFailed]) -> list[int]:
        """Set the timers that were running before the restart; returns the steps whose fallback was running."""
        fallbacks = []
        latest = {record.step: record for record in attempts if record.step not in self.outcomes}
        for record in latest.values():
            step = self._step(record)
            status, policy = self.rows.step_status(step), self.machine.policy(step)
            if record.due_utc is None and status == Status.RUNNING:
                fallbacks.append(step)
            if record.due_utc is None or status != Status.PENDING:
                continue
            self._set((RETRY, step), record.due_utc - record.time_utc, record.time_utc)
            if policy is not None and policy.total_timeout is not None:
                first = next(one for one in attempts if one.step == record.step)
                self._set((TOTAL, step), policy.total_timeout, first.started_utc)
        for step, begun in self._under_way():  # the first attempt starts again, with the rest of the time
            policy = self.machine.policy(step)
            if policy is not None and policy.total_timeout is not None and step not in self.machine.errors:
                self.machine.due[step] = self.now + policy.total_timeout - self._awake(begun.time_utc)
        if self.machine.timeout is not None:
            self._set(EXECUTION, self.machine.timeout, self.records[0].time_utc)
        return fallbacks

    def _set(self, timer: e.Timer, seconds: float, since: float) -> None:
        self.timers.set(timer, max(0.0, seconds - self._awake(since)))

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

    def _fallback(self, step: int, commands: list[e.Command]) -> None:
        if self.rows.step_status(step) != Status.RUNNING:
            return  # abandoned
        start = e.StartActivity(step, Activity.ACTIVITY_FALLBACK, self.rows.input(step))
        if self.machine.paused:
            self.machine.waiting.append(start)
        else:
            commands.append(start)


def _is_plain(record: Record) -> bool:
    """Whether a record leaves no state in the machine."""
    if isinstance(record, StepEnded):
        return record.status != Status.FAILURE and not record.recovered
    return isinstance(record, ExecutionStarted | StepStarted | Paused | Resumed)


def _fact(record: Any) -> Fact:
    """A stored record as the fact that the machine decided: with an exception, and a value."""
    if isinstance(record, StepEnded) and record.status == Status.SUCCESS:
        return record._replace(output=decode_outcome(record.output, record.json))
    if not hasattr(record, "error") or (isinstance(record, Compensated) and record.error is None):
        plain: Fact = record
        return plain
    found: Fact = record._replace(error=restore_error(record.error))
    return found

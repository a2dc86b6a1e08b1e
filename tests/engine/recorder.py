"""`Recorded`: a script whose execution is written down, and can be taken up from its records in a fresh run.

Lives here: the records that floor 2 would write, and the crash. Does not live here: any expectation of one test.

Loop time and UTC differ by `AHEAD` in the first life, and by another number in each further one: nothing may depend on
the loop's clock.
"""

from __future__ import annotations

from typing import Any

from flow_core.core.run import Intent, Run
from flow_core.core.task import Activity
from flow_core.engine import events as e
from flow_core.engine.machine import Machine
from flow_core.engine.replay import Replayed, replay
from flow_core.model.payload import encode_outcome
from flow_core.model.records import ErrorRecord, ExecutionEnded, ExecutionStarted, Record, StepEnded, StepStarted
from flow_core.model.status import Status
from tests.engine.script import RecordingStepper, Script

__all__ = ["AHEAD", "Recorded", "error_of"]

#: UTC seconds minus loop seconds in the first life.
AHEAD = 1_000_000.0
ID = "x"


def error_of(error: BaseException | None) -> ErrorRecord | None:
    if error is None:
        return None
    return ErrorRecord(getattr(error, "code", "error"), str(error), type(error).__name__)


class Recorded(Script):
    """See the module and `Script`; ``records`` is what a store would hold when all was committed at once."""

    def __init__(self, steps: Any, request: Any = b"", **options: Any) -> None:
        self.ahead = AHEAD
        self.records: list[Record] = []
        self.options = {name: options[name] for name in ("retries", "rollback", "timeout") if name in options}
        super().__init__(steps, request, utc_offset=lambda _: AHEAD, **options)

    # --- writing ------------------------------------------------------------------------------------------------------

    @property
    def utc(self) -> float:
        return self.now + self.ahead

    def write(self, record: Record) -> None:
        self.records.append(record)

    def began(self, step: str) -> float:
        return self.begun.get(step, self.now) + self.ahead

    def ended(self, step: str, status: Status, value: Any = None, recovered: bool = False) -> None:
        attempt = self.run.attempt(self.plan.index(step))
        if status is Status.SUCCESS:
            data, json = encode_outcome(value)
            self.write(StepEnded(ID, step, attempt, status, data, None, recovered, json, self.began(step), self.utc))
        else:
            self.write(
                StepEnded(ID, step, attempt, status, None, error_of(value), False, False, self.began(step), self.utc)
            )

    def succeed(self, *steps: str, value: Any = None) -> None:
        for step in steps:
            self.ended(step, Status.SUCCESS, step if value is None else value)
            super().succeed(step, value=value)

    def _start(self, index: int) -> None:
        if not self.records:  # the first that happens: nothing starts before the start is committed
            self.write(ExecutionStarted(ID, "f", 1, b"", time_utc=self.utc))
        step = self.plan.items[index]
        self.begun = {**getattr(self, "begun", {}), step.id: self.now}
        before = self.of(step.id)
        if step.delivery == "at_most_once":
            self.write(StepStarted(ID, step.id, self.run.attempt(index), self.utc))
        super()._start(index)
        if before is Status.PENDING and self.of(step.id) is Status.SKIPPED:
            self.ended(step.id, Status.SKIPPED)

    def _perform(self, commands: list[e.Command]) -> None:
        self.begun = getattr(self, "begun", {})
        if not self.records:
            self.write(ExecutionStarted(ID, "f", 1, b"", time_utc=self.utc))
        stopping = self.machine.verdict[0] is Status.STOPPED
        for command in commands:
            if not stopping:
                self.note(command)
            super()._perform([command])

    def note(self, command: e.Command) -> None:
        if not isinstance(command, tuple):
            if isinstance(command, e.Finish):
                self.write(ExecutionEnded(ID, int(command.status), error_of(command.error), self.utc))
            return
        fact: Any = command._replace(execution=ID)
        if hasattr(fact, "error"):
            fact = fact._replace(error=error_of(fact.error))
        if hasattr(fact, "started_utc"):
            fact = fact._replace(started_utc=self.began(fact.step))
        if isinstance(fact, StepEnded) and fact.recovered:
            output, json = encode_outcome(fact.output)
            fact = fact._replace(output=output, json=json)
        self.write(fact)

    # --- the crash ----------------------------------------------------------------------------------------------------

    def again(self, count: int | None = None, *, down: float = 0.0, drive: bool = True) -> Recorded:
        """The execution in another process, ``down`` seconds later.

        Args:
            count: of its records that were committed; None: all, and it went on until now.
            drive: whether it goes on.
        """
        records, other = self.records[:count], Recorded.__new__(Recorded)
        other.__dict__.update(self.__dict__)
        other.records = [*records]
        other.ahead = self.ahead - 1000.0
        other.now = (self.utc if count is None else records[-1].time_utc) + down - other.ahead
        other.timers, other.attempts, other.activities, other.begun = {}, {}, {}, {}
        other.told, other.zombies, other.started, other.inputs, other.end = [], [], [], {}, None
        other.run = RecordingStepper(Run(self.plan, b""))
        other.run.backdate(max(0.0, records[0].time_utc - other.ahead))
        other.machine = Machine(other.run, utc_offset=lambda _: other.ahead, **self.options)
        other.replayed = replay(other.machine, other.records, other.now, other.utc)
        if drive:
            other.carry_on(other.replayed)
        return other

    def carry_on(self, replayed: Replayed) -> None:
        """What floor 2 does with an execution that was taken up."""
        Script._perform(self, replayed.commands)
        self._go_on()
        for event in replayed.events:
            self._feed(event)
            self._go_on()

    @property
    def paused(self) -> bool:
        return self.run.intent == Intent.INTENT_PAUSE

    def timer(self, kind: str, step: str) -> float | None:
        """Seconds until the timer of a step rings, or would when the pause is over."""
        return self.machine.execution_timers.left((kind, self.plan.index(step)))

    def fallbacks(self) -> set[str]:
        """Steps whose fallback is under way, or waits for the resume."""
        running = {name for name, what in self.activities if what == "fallback"}
        waiting = self.machine.waiting
        kind = Activity.ACTIVITY_FALLBACK
        return running | {self.plan.items[one.step].id for one in waiting if one.activity == kind}

"""`Script`: the runtime, played by a test: no loop, no clock, no coroutine.

Lives here: performing a machine's commands on virtual time, and checking what must hold after every event. Does not
live here: any expectation of one test.

A step does nothing by itself. The test says how each attempt, fallback and compensation ends, and when time passes::

    script = Script([Step("a", work, retry=1)])
    script.fail("a", OSError())
    script.advance(60)
    script.succeed("a", 1)
    assert script.status is Status.SUCCESS
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flow_core.core.plan import Plan
from flow_core.core.run import Intent, Run
from flow_core.core.stepper import Stepper
from flow_core.core.task import Activity
from flow_core.engine import events as e
from flow_core.engine.bindings import Bindings
from flow_core.engine.definition import Definition
from flow_core.engine.machine import Machine
from flow_core.errors import StepTimeout
from flow_core.model.status import MOVES, TERMINAL, Status
from flow_core.model.step import Step

__all__ = ["FALLBACK", "UNDO", "RecordingStepper", "Script", "bindings_of", "moves_seen", "plan_of", "work"]

FALLBACK, UNDO = "fallback", "undo"
_NUMBERS = {FALLBACK: Activity.ACTIVITY_FALLBACK, UNDO: Activity.ACTIVITY_COMPENSATION}
_WORDS = {number: word for word, number in _NUMBERS.items()}

#: Every move of a step that any script made.
moves_seen: set[tuple[Status, Status]] = set()


async def work(value: Any) -> Any:
    """What steps are made of here; nobody calls it."""
    raise AssertionError("a script calls nothing")


def bindings_of(**predicates: Callable[[Any], bool]) -> Bindings:
    """Bindings with some predicates."""
    bindings = Bindings()
    bindings.predicates.update(predicates)
    return bindings


def plan_of(steps: Sequence[Step], start: str | None = None, bindings: Bindings | None = None) -> Plan:
    """The plan of a flow named ``f``."""
    definition = Definition("f")
    definition.create(steps)
    return definition.plan(bindings or Bindings(), start)


class RecordingStepper(Stepper):
    """A stepper that refuses illegal moves of its steps, and keeps the legal ones."""

    def _move(self, method: Callable[..., Any], *arguments: Any) -> Any:
        before = self.statuses()
        result = method(*arguments)
        for old, new in zip(map(Status, before), map(Status, self.statuses()), strict=True):
            if old is not new:
                assert new in MOVES[old], f"a step went from {old.name} to {new.name}"
                moves_seen.add((old, new))
        return result

    def take(self) -> int | None:
        return self._move(super().take)

    def succeed(self, index: int, value: Any = None) -> None:
        self._move(super().succeed, index, value)

    def fail(self, index: int) -> None:
        self._move(super().fail, index)

    def skip(self, index: int) -> None:
        self._move(super().skip, index)

    def retry(self, index: int) -> None:
        self._move(super().retry, index)

    def begin(self, index: int) -> None:
        self._move(super().begin, index)

    def abandon(self, index: int, status: int) -> None:
        self._move(super().abandon, index, status)

    def abandon_all(self, status: int) -> None:
        self._move(super().abandon_all, status)

    def fail_fast(self) -> None:
        self._move(super().fail_fast)


class Script:
    """One execution, stepped by hand; `check` runs after every event.

    Args:
        steps: of the flow, or its plan.
        request: input of the roots.
        slots: most attempts that run at the same time.
        random: what the machine gets for the jitter.
        machine: arguments of `Machine`.
    """

    def __init__(
        self, steps: Sequence[Step] | Plan, request: Any = b"", *, slots: int = 1000, random: float = 1.0,
        bindings: Bindings | None = None, **machine: Any,
    ) -> None:  # fmt: skip
        self.plan = steps if isinstance(steps, Plan) else plan_of(steps, bindings=bindings)
        self.run = RecordingStepper(Run(self.plan, request))
        self.machine = Machine(self.run, **machine)
        self.slots, self.random, self.now = slots, random, 0.0
        #: Timers as floor 2 holds them -> when they ring.
        self.timers: dict[e.Timer, float] = {}
        #: Steps whose attempt runs -> number of the attempt; activities that run -> their input.
        self.attempts: dict[str, int] = {}
        self.activities: dict[tuple[str, str], Any] = {}
        #: Attempts that were told to stop; coroutines that were cancelled and have not ended.
        self.told: list[str] = []
        self.zombies: list[str] = []
        #: What started, in order: ("a", 1) for the attempt of a step, ("a", UNDO), ("a", FALLBACK) for activities.
        self.started: list[tuple[str, int | str]] = []
        self.inputs: dict[str, Any] = {}
        self.end: e.Finish | None = None
        self._perform(self.machine.begin(self.now))
        self._go_on()

    # --- what the test does -------------------------------------------------------------------------------------------

    def succeed(self, *steps: str, value: Any = None) -> None:
        """The running attempts of these steps end well, each with its own id as output unless one is given."""
        for step in steps:
            del self.attempts[step]
            index = self.plan.index(step)
            self.run.succeed(index, step if value is None else value)
            if self._total_timeout(index) is not None:
                self._feed(e.StepSucceeded(index))
            self._go_on()

    def fail(self, step: str, error: BaseException | None = None) -> BaseException:
        """The running attempt of a step raises."""
        del self.attempts[step]
        error = error or OSError(f"{step} is down")
        self._feed(e.AttemptRaised(self.plan.index(step), error, self.random))
        self._go_on()
        return error

    def time_out(self, step: str) -> None:
        """An attempt that was told to stop does so."""
        self.told.remove(step)
        self.fail(step, StepTimeout(f"step {step!r} took too long"))

    def finish(self, step: str, activity: str, value: Any = None) -> None:
        """A fallback or a compensation ends: with ``value``, which may be an error."""
        del self.activities[step, activity]
        ok = not isinstance(value, BaseException)
        self._feed(e.ActivityEnded(self.plan.index(step), _NUMBERS[activity], ok, value))
        self._go_on()

    def advance(self, seconds: float) -> None:
        """Let time pass; timers that come due ring in their order."""
        until = self.now + seconds
        while self.timers and min(self.timers.values()) <= until:
            self.ring(min(self.timers, key=self.timers.__getitem__))
        self.now = until

    def ring(self, timer: e.Timer | None = None) -> None:
        """The given timer rings, or the next one, at its time."""
        timer = timer or min(self.timers, key=self.timers.__getitem__)
        self.now = max(self.now, self.timers.pop(timer))
        self._feed(e.TimerRang(timer))
        self._go_on()

    def let_go(self) -> None:
        """The cancelled coroutines end."""
        self.zombies.clear()
        self._go_on()

    def pause(self) -> None:
        self._feed(e.PauseAsked())
        self._go_on()

    def resume(self) -> None:
        self._feed(e.ResumeAsked())
        self._go_on()

    def abort(self, *, rollback: bool = False, reason: str = "aborted") -> None:
        self._feed(e.AbortAsked(rollback, reason))
        self._go_on()

    def stop(self) -> None:
        self._feed(e.StopAsked())
        self._go_on()

    # --- what it asks -------------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """Status of the execution."""
        return Status(self.run.status_number)

    @property
    def error(self) -> BaseException | None:
        """What it ended with."""
        assert self.end is not None, "the execution is not over"
        return self.end.error

    @property
    def statuses(self) -> dict[str, str]:
        """Status names of all steps."""
        return {s.id: Status(n).name for s, n in zip(self.plan.items, self.run.statuses(), strict=True)}

    def of(self, step: str) -> Status:
        """Status of one step."""
        return Status(self.run.step_status(self.plan.index(step)))

    def undone(self) -> list[str]:
        """Steps whose compensation started, in order."""
        return [step for step, what in self.started if what == UNDO]

    # --- the runtime --------------------------------------------------------------------------------------------------

    def _feed(self, event: e.Event) -> None:
        self._perform(self.machine.handle(event, self.now))
        self.check()

    def _go_on(self) -> None:
        self._drive()
        self.check()
        under_way = self.attempts or self.activities or self.zombies
        if self.run.finished and not under_way and self.end is None and self.status is not Status.PAUSED:
            self._feed(e.Settled())

    def _perform(self, commands: list[e.Command]) -> None:
        for command in commands:
            match command:
                case e.SetTimer(timer, delay):
                    assert timer not in self.timers, f"{timer} is set twice"
                    self.timers[timer] = self.now + delay
                case e.CancelTimer(timer):
                    del self.timers[timer]
                case e.StartActivity(step, activity, value):
                    name, what = self.plan.items[step].id, _WORDS[activity]
                    self.started.append((name, what))
                    self.activities[name, what] = value
                case e.CancelStep(step):
                    self.told.append(self.plan.items[step].id)
                case e.CancelTasks():
                    self.zombies += [*self.attempts, *(name for name, _ in self.activities)]
                    self.attempts.clear()
                    self.activities.clear()
                case e.DetachTasks():
                    self.zombies.clear()
                case e.Finish(status, _):
                    self._finish(command, status)
                case e.GoOn():
                    pass  # every event is followed by `_go_on` here

    def _finish(self, command: e.Finish, status: Status) -> None:
        assert self.end is None, "an execution ends once"
        if self.status is Status.PENDING:
            self.run.move(Status.RUNNING)
        self.run.move(status)
        self.end = command

    def _drive(self) -> None:
        while self.run.intent == Intent.INTENT_RUN and self.end is None and len(self.attempts) < self.slots:
            ready = self.run.ready_steps
            if not ready:
                return
            if self.status is Status.PENDING:
                self.run.move(Status.RUNNING)
            self._start(ready[0])

    def _start(self, index: int) -> None:
        step: Step = self.plan.items[index]
        policy = self.plan.policies.get(index)
        error: BaseException | None = None
        try:
            self.inputs[step.id] = self.run.input(index)
            if policy is not None and policy.condition is not None and not policy.condition(self.inputs[step.id]):
                self.run.skip(index)
                return
        except Exception as raised:
            error = raised
        assert self.run.take() == index
        self.started.append((step.id, self.run.attempt(index)))
        self.attempts[step.id] = self.run.attempt(index)
        if error is not None:
            self.fail(step.id, error)
        elif self._total_timeout(index) is not None:
            self._feed(e.AttemptStarted(index))

    def _total_timeout(self, index: int) -> float | None:
        policy = self.plan.policies.get(index)
        return None if policy is None else policy.total_timeout

    # --- invariants ---------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """What holds after every event, whatever the test is about."""
        self.machine.check()
        assert self.timers == self.machine.timers, "floor 2 and the machine disagree about the timers"
        assert sum(what == UNDO for _, what in self.activities) <= 1, "compensations run one at a time"
        running = {s.id for s, n in zip(self.plan.items, self.run.statuses(), strict=True) if n == Status.RUNNING}
        fallbacks = {name for name, what in self.activities if what == FALLBACK}
        assert set(self.attempts) <= running, f"attempts of steps that don't run: {set(self.attempts) - running}"
        assert fallbacks <= running, f"fallbacks of steps that don't run: {fallbacks - running}"
        if self.end is not None:
            assert not (self.attempts or self.activities or self.timers), "something outlives the execution"
            assert self.status is self.end.status and self.status in TERMINAL
            assert self.run.finished

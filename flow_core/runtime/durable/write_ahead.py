"""`DurablePerformer`: the scheduler's handler for executions that are kept in a store.

What a machine decides is written first and done when it is committed; the commands of one execution keep their order.
While such a move is on its way the execution starts no step (`Run.holds`). A failed attempt that is tried again needs
no commit before its timer runs: it is no outcome.

Lives here: that order. Does not live here: committing (``runtime/journal.py``), what is written
(``runtime/scribe.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from flow_core.core.run import Intent
from flow_core.core.stepper import Stepper
from flow_core.core.task import Activity
from flow_core.engine import events as e
from flow_core.engine.machine import Machine
from flow_core.errors import PayloadError, StoreUnavailable
from flow_core.model.payload import encode_outcome
from flow_core.model.records import ExecutionEnded, StepEnded
from flow_core.model.status import Status
from flow_core.runtime.commands import Performer
from flow_core.runtime.durable.recorder import SUCCESS, Scribe

if TYPE_CHECKING:
    from flow_core.runtime.durable.journal import Journal
    from flow_core.runtime.execution import Execution

__all__ = ["DurablePerformer", "insist"]

T = TypeVar("T")

#: Seconds between two looks at the store while the executor stops, and how many looks there are.
PATIENCE, LOOKS = 0.5, 10
NOTES = (e.NoteAttempt, e.NoteStep, e.NotePause, e.NoteEnding, e.NoteCompensation)


class DurablePerformer(Performer):
    """See the module and `Performer`."""

    journal: Journal  # set when the store is open
    scribe: Scribe

    # --- from the scheduler -----------------------------------------------------------------------------------------

    def step_held(  # noqa: PLR0917 - the scheduler calls it for each step
        self, run: Execution, step: int, value: Any, attempt: int, started: float, ended: float, last: bool
    ) -> None:
        """A step succeeded; with ``last`` so has the execution. Raises `PayloadError` when the value can't be kept."""
        ahead = self.scribe.ahead
        item = run.plan.items[step]
        if type(value) is bytes and len(value) < 65_536:
            output, json = value, False
        else:
            output, json = encode_outcome(value, f"output of step {item.id!r}")
        self.journal.outcome(
            run,
            step,
            StepEnded(run.id, item.id, attempt, SUCCESS, output, None, False, json, started + ahead, ended + ahead),
        )
        if last:
            self.journal.write(ExecutionEnded(run.id, SUCCESS, None, ended + ahead))

    def step_started(self, run: Execution, step: int) -> None:
        """The same; when a step with a total_timeout first started is written down, which holds up nothing."""
        super().step_started(run, step)
        policy = run.plan.policies[step]
        if (
            policy.total_timeout is not None
            and Stepper(run).attempt(step) == 1
            and policy.step.delivery != "at_most_once"
        ):
            self.journal.write(self.scribe.announced(run, step, self.scheduler.time))

    def step_skipped(self, run: Execution, step: int) -> None:
        """A condition said no; what follows from that waits."""
        self.journal.write(self.scribe.skipped(run, step, self.scheduler.time))
        self._hold(run, [e.GoOn()])

    def step_announced(self, run: Execution, step: int, value: Any) -> None:
        """An at-most-once step starts when that is committed."""
        self.journal.write(self.scribe.announced(run, step, self.scheduler.time))
        self.scheduler.reserve(run, step)
        self.journal.then(run.id, partial(self._announced, run, step, value))

    def _announced(self, run: Execution, step: int, value: Any, error: BaseException | None) -> None:
        self.scheduler.give_back(run, step)
        if error is not None or run.over or Stepper(run).step_status(step) != Status.RUNNING:
            return
        machine: Machine | None = Stepper(run).machine
        if machine is not None and step in machine.out_of_time:  # the store took longer than the step may
            self.step_failed(run, step, self.timeout_error(run, step, None))
        else:
            self.scheduler.start_activity(run, step, Activity.ACTIVITY_ATTEMPT, value)
        self.scheduler.go_on(run)

    def activity_ended(self, run: Execution, step: int, activity: int, ok: bool, value: Any) -> None:
        """A fallback or a compensation is over; a fallback's output has to be one that can be kept."""
        if ok and activity == Activity.ACTIVITY_FALLBACK:
            try:
                encode_outcome(value, f"output of the fallback of step {run.plan.items[step].id!r}")
            except PayloadError as error:
                ok, value = False, error
        super().activity_ended(run, step, activity, ok, value)

    # --- machine -------------------------------------------------------------------------------------------------

    def feed(self, run: Execution, event: e.Event) -> None:
        """Hand an event to the machine, unless the execution's end is on its way: then there is nothing to decide."""
        if run.over or Stepper(run).ending:
            return
        machine = self.machine_of(run)
        commands = machine.handle(event, self.scheduler.time)
        if machine.verdict[0] is Status.STOPPED:  # no end: whoever has the store goes on with it
            super()._perform(run, [command for command in commands if not isinstance(command, NOTES)])
        else:
            self._perform(run, commands)

    def begin(self, run: Execution) -> None:
        """Set the timer of an execution that has a timeout."""
        Performer._perform(self, run, self.machine_of(run).begin(self.scheduler.time))

    async def wait_for_end(self, runs: list[Execution]) -> None:
        """The same; but a store that can't be written, or does not answer, is not waited for: what is not recorded
        goes on later."""
        for _ in range(LOOKS):
            if self.journal.trouble or self.journal.closed:
                break
            try:
                async with asyncio.timeout(PATIENCE):
                    await super().wait_for_end(runs)
                return
            except TimeoutError:
                continue
        error = self.journal.trouble or self.journal.closed or StoreUnavailable("the store did not answer in time")
        for run in runs:
            self.drop(run, error)

    def resume_with(self, run: Execution, commands: list[e.Command]) -> None:
        """Perform what a replay left to do: nothing of it is news."""
        Performer._perform(self, run, commands)

    async def recorded(self, run: Execution) -> None:
        """Wait until everything that was decided about an execution is committed. Raises why it never will be."""
        await self.journal.committed(run.id)

    def drop(self, run: Execution, error: BaseException) -> None:
        """End an execution here and now, without a record: it never began, or others go on with it."""
        if run.over:
            return
        Stepper(run).ask(Intent.INTENT_ABORT)
        Stepper(run).abandon_all(Status.STOPPED)
        for task in self.scheduler.cancel_tasks(run):
            self._let_go(task)
        machine: Machine | None = Stepper(run).machine
        for timer in [] if machine is None else [*machine.timers]:
            self._cancel_timer(run, timer)
        self.scheduler.finish(run, Status.STOPPED, error)
        if self.scheduler.kept and self.scheduler.kept[-1] is run:
            self.scheduler.kept.pop()  # nothing is known of how it ends

    def _perform(self, run: Execution, commands: list[e.Command]) -> None:
        """Write what was decided, then perform the rest, at once when nothing has to be committed before."""
        gated = False
        effects: list[e.Command] = []
        for command in commands:
            if isinstance(command, NOTES):
                self.journal.write(self.scribe.note(run, command, self.scheduler.time))
                gated |= not (isinstance(command, e.NoteAttempt) and command.delay is not None)
                continue
            if isinstance(command, e.Finish):
                ended = self.scribe.ended(run, command.status, command.error, self.scheduler.time)
                self.journal.write(ended)
                gated = True
            effects.append(command)
        if gated or Stepper(run).holds:
            self._hold(run, effects)
        else:
            super()._perform(run, effects)

    def _hold(self, run: Execution, effects: list[e.Command]) -> None:
        Stepper(run).holds += 1
        self.journal.then(run.id, partial(self._go_on, run, effects))

    def _go_on(self, run: Execution, effects: list[e.Command], error: BaseException | None) -> None:
        Stepper(run).holds -= 1
        if error is None and not run.over:
            super()._perform(run, effects)
            self.scheduler.go_on(run)


async def insist(start: Callable[[], Awaitable[T]]) -> T:
    """Await ``start()``, and again while the store can't be used.

    For a step that starts an execution: it must not fail for an outage, as its failure would be recorded for good.
    """
    while True:
        try:
            return await start()
        except StoreUnavailable:
            await asyncio.sleep(PATIENCE)

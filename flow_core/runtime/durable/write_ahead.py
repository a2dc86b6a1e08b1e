"""The order of records and effects.

What a machine decides is written first and done when it is committed; the commands of one execution keep their order.
While such a decision is on its way the execution starts no step (`Run.holds`). A failed attempt that is tried again
needs no commit before its timer runs: it is no outcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from flow_core.core.stepper import Stepper
from flow_core.core.task import Activity
from flow_core.engine import events as e
from flow_core.engine.machine import Machine
from flow_core.errors import StoreUnavailable
from flow_core.model.payload import encode_outcome
from flow_core.model.records import AttemptFailed, ExecutionEnded, StepEnded
from flow_core.model.status import Status
from flow_core.runtime.durable.recorder import SHORT, SUCCESS, Recorder, new
from flow_core.runtime.history import keep

if TYPE_CHECKING:
    from flow_core.runtime.commands import CommandRunner
    from flow_core.runtime.durable.journal import Journal
    from flow_core.runtime.execution import Execution

__all__ = ["WriteAhead", "insist"]

T = TypeVar("T")

#: Seconds between two looks at the store while the executor stops, and how many looks there are.
PATIENCE, LOOKS = 0.5, 10


class WriteAhead:
    """Writes what was decided about durable executions, and has it done when it is committed: a `Commit`.

    Args:
        journal: where records go. Its owner puts a new one here when the right to write was lost and won again.
        recorder: makes the records.
    """

    def __init__(self, journal: Journal, recorder: Recorder) -> None:
        self.journal = journal
        self.recorder = recorder

    @property
    def utc_offset(self) -> float:
        """UTC seconds minus loop seconds, as in the records that are written now."""
        return self.recorder.ahead

    def decided(self, runner: CommandRunner, run: Execution, commands: list[e.Command]) -> None:
        """Write what was decided, then perform the rest, at once when nothing has to be committed before."""
        stepper = Stepper(run)
        if stepper.machine.verdict[0] is Status.STOPPED:  # no end: whoever has the store goes on with it
            runner.perform(run, commands)
            return
        gated = False
        effects: list[e.Command] = []
        for command in commands:
            if isinstance(command, e.MachineMessage):
                if isinstance(command, e.Finish):
                    ended = self.recorder.ended(run, command.status, command.error, runner.scheduler.time)
                    self.journal.write(ended)
                    gated = True
                effects.append(command)
                continue
            record = self.recorder.stored(run, command)
            self.journal.write(record)
            keep(run, record)
            gated |= not (isinstance(command, AttemptFailed) and command.due_utc is not None)
        if gated or stepper.holds:
            self._hold(runner, run, effects)
        else:
            runner.perform(run, effects)

    def _hold(self, runner: CommandRunner, run: Execution, effects: list[e.Command]) -> None:
        Stepper(run).holds += 1
        self.journal.then(run.id, partial(self._go_on, runner, run, effects))

    def _go_on(
        self, runner: CommandRunner, run: Execution, effects: list[e.Command], error: BaseException | None
    ) -> None:
        Stepper(run).holds -= 1
        if error is None and not run.over:
            runner.perform(run, effects)
            runner.scheduler.go_on(run)

    def attempt_started(self, runner: CommandRunner, run: Execution, step: int) -> None:
        """When a step with a total_timeout first started is written down, which holds up nothing."""
        policy = run.plan.policies[step]
        first = policy.total_timeout is not None and Stepper(run).attempt(step) == 1
        if first and policy.step.delivery != "at_most_once":
            self.journal.write(self.recorder.announced(run, step, runner.scheduler.time))

    def step_held(  # noqa: PLR0917 - the scheduler calls it for each step
        self, run: Execution, step: int, value: Any, attempt: int, started: float, ended: float, last: bool
    ) -> None:
        """A step succeeded; with ``last`` so has the execution. Raises `PayloadError` when the value can't be kept."""
        name, ahead, item = run.id, self.recorder.ahead, run.plan.items[step]
        output, json = value, False
        if type(value) is not bytes or len(value) >= SHORT:
            output, json = encode_outcome(value, f"output of step {item.id!r}")
        at = ended + ahead
        facts = (name, item.id, attempt, SUCCESS, output, None, False, json, started + ahead, at)
        end = new(ExecutionEnded, (name, SUCCESS, None, at)) if last else None
        self.journal.outcome(run, step, new(StepEnded, facts), end)

    def step_skipped(self, runner: CommandRunner, run: Execution, step: int) -> None:
        """A condition said no; what follows from that waits."""
        self.journal.write(self.recorder.skipped(run, step, runner.scheduler.time))
        self._hold(runner, run, [e.GoOn()])

    def step_announced(self, runner: CommandRunner, run: Execution, step: int, value: Any) -> None:
        """An at-most-once step starts when that is committed."""
        self.journal.write(self.recorder.announced(run, step, runner.scheduler.time))
        runner.scheduler.reserve(run, step)
        self.journal.then(run.id, partial(self._announced, runner, run, step, value))

    @staticmethod
    def _announced(runner: CommandRunner, run: Execution, step: int, value: Any, error: BaseException | None) -> None:
        stepper = Stepper(run)
        scheduler = runner.scheduler
        scheduler.give_back(run, step)
        if error is not None or run.over or stepper.step_status(step) != Status.RUNNING:
            return
        machine: Machine | None = stepper.machine
        if machine is not None and step in machine.out_of_time:  # the store took longer than the step may
            runner.step_failed(run, step, runner.timeout_error(run, step, None))
        else:
            scheduler.start_activity(run, step, Activity.ACTIVITY_ATTEMPT, value)
        scheduler.go_on(run)

    def check_output(self, run: Execution, step: int, value: Any) -> None:
        """Raise `PayloadError` when the output of a fallback can't be written."""
        encode_outcome(value, f"output of the fallback of step {run.plan.items[step].id!r}")

    async def recorded(self, run: Execution) -> None:
        """Wait until everything that was decided about an execution is committed. Raises why it never will be."""
        await self.journal.committed(run.id)

    async def wait_for_end(self, runner: CommandRunner, runs: list[Execution]) -> None:
        """Wait for the end of executions that were asked to stop, as long as the store answers and can be written.

        Those that are not recorded in time go on later, or elsewhere.
        """
        for _ in range(LOOKS):
            if self.journal.trouble or self.journal.closed:
                break
            try:
                async with asyncio.timeout(PATIENCE):
                    for run in runs:
                        await run.wait()
                return
            except TimeoutError:
                continue
        error = self.journal.trouble or self.journal.closed or StoreUnavailable("the store did not answer in time")
        for run in runs:
            runner.drop(run, error)


async def insist(start: Callable[[], Awaitable[T]]) -> T:
    """Await ``start()``, and again while the store can't be used.

    For a step that starts an execution: it must not fail for an outage, as its failure would be recorded for good.
    """
    while True:
        try:
            return await start()
        except StoreUnavailable:
            await asyncio.sleep(PATIENCE)

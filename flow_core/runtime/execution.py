"""`Execution`: the handle of one execution."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any, Protocol

from flow_core.core.run import Run
from flow_core.core.stepper import Stepper
from flow_core.engine import events as e
from flow_core.engine.machine import Machine
from flow_core.errors import IllegalMove
from flow_core.model.payload import encode_value
from flow_core.model.status import Status
from flow_core.model.transition import Transition
from flow_core.runtime.history import transitions_of

__all__ = ["Controls", "Execution"]


class Controls(Protocol):
    """The part of the scheduler's handler that an execution's handle uses."""

    def feed(self, run: Execution, event: e.Event) -> None:
        """Pass an event to the execution's machine."""

    async def recorded(self, run: Execution) -> None:
        """Wait until everything decided about the execution is kept. Raises the reason when it never will be."""

    def changed(self, run: Execution) -> None:
        """Wake the listeners of the execution."""


class Execution(Run):
    """One execution of a flow, running or finished. ``await`` it for its result::

        execution = await flow.execute("checkout", order, async_=True)
        async for move in execution:
            print(move.step, move.status.name)
        total = await execution

    ``execute`` makes it. Every method may be called at any time; other threads may read ids and statuses.
    """

    __slots__ = ("__weakref__",)

    # --- state ----------------------------------------------------------------------------------------------

    @property
    def flow(self) -> str:
        """Name of the flow."""
        return self.plan.flow

    @property
    def revision(self) -> int:
        """Revision of the flow that this execution runs."""
        return self.plan.revision

    @property
    def status(self) -> Status:
        """Status of the execution."""
        return Status(self._status_number)

    @property
    def response(self) -> Any:
        """The result value: the output named in ``execute(output=...)``, else that of the only sink, else all sinks' by
        name. None while there is none.
        """
        output = self.options.output if self.options is not None else None
        if output is not None:
            for writer in reversed(self.plan.writers(output)):
                if self._has_output(writer):
                    return self._output(writer)
            return None
        sinks = self.plan.sinks
        if len(sinks) == 1:
            return self._output(sinks[0])
        return {self.plan.items[sink].output_name: self._output(sink) for sink in sinks if self._has_output(sink)}

    def result(self, step: str) -> bytes:
        """Output of a step as bytes.

        Raises:
            UnknownStep: the flow has no such step.
            IllegalMove: the step has not succeeded; the message names its status.
        """
        index = self.plan.index(step)
        if not self._has_output(index):
            raise IllegalMove(
                f"step {step!r} of execution {self.id} has no output: it is {self.step_status_of(step).name}",
                flow=self.flow, execution=self, step=step,
            )  # fmt: skip
        return encode_value(self._output(index), f"output of step {step!r}")

    def step_status_of(self, step: str) -> Status:
        """Status of a step. Raises `UnknownStep`."""
        return Status(Stepper(self).step_status(self.plan.index(step)))

    @property
    def recovered(self) -> tuple[str, ...]:
        """Ids of the steps that took over the output of their fallback."""
        machine: Machine | None = Stepper(self).machine
        return () if machine is None else tuple(self.plan.items[i].id for i in sorted(machine.recovered))

    @property
    def errors(self) -> dict[str, BaseException]:
        """Last error of each step that failed at least once, and of compensations as ``step.compensation``."""
        machine: Machine | None = Stepper(self).machine
        if machine is None:
            return {}
        items = self.plan.items
        found = {items[i].id: error for i, error in machine.errors.items()}
        return found | {f"{items[i].id}.compensation": error for i, error in machine.compensation_errors.items()}

    def history(self) -> list[Transition]:
        """All transitions so far in order of time: attempts and ends of steps, pauses, and the execution itself."""
        return transitions_of(self)

    # --- waiting -------------------------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, Any]:
        waiter = self._scheduler.waiter(self)
        if waiter is not None:
            yield from waiter
        return self.outcome()

    def outcome(self) -> Any:
        """The result value of a finished execution; raises the error that ended it when it did not succeed."""
        if not self.over:
            raise IllegalMove(f"execution {self.id} is not over: it is {self.status.name}", execution=self)
        if self.error is not None:
            raise self.error
        return self.response

    async def wait(self) -> Status:
        """Wait until it ends, and return its status. Cancelling the wait does not abort the execution."""
        waiter = self._scheduler.waiter(self)
        if waiter is not None:
            await waiter
        return self.status

    def when_over(self, callback: Callable[[Execution], None]) -> None:
        """Call ``callback`` with this execution when it ends, at once if it has. Needs no task per execution."""
        waiter = self._scheduler.waiter(self)
        if waiter is None:
            callback(self)
        else:
            waiter.add_done_callback(lambda _: callback(self))

    async def __aiter__(self) -> AsyncIterator[Transition]:
        """Its transitions, past ones first, until it ends. Those of one turn of the loop arrive together."""
        changed = self.listen()
        seen: Counter[Any] = Counter()
        try:
            while True:
                over = self.over
                changed.clear()
                told: Counter[Any] = Counter()  # of this round: an execution may be paused more than once
                for move in self.history():
                    key = (move.step, move.status, move.attempt)
                    told[key] += 1
                    if told[key] > seen[key]:
                        seen[key] += 1
                        yield move
                if over:
                    return
                await changed.wait()
        finally:
            self.unlisten(changed)

    def listen(self) -> asyncio.Event:
        """An event that is set at every change of the execution, until `unlisten`."""
        changed, stepper = asyncio.Event(), Stepper(self)
        if stepper.events is None:
            stepper.events = set()
            stepper.watched = True
        stepper.events.add(changed)
        return changed

    def unlisten(self, changed: asyncio.Event) -> None:
        """Undo `listen`."""
        Stepper(self).events.discard(changed)

    # --- control --------------------------------------------------------------------------------------------------

    async def pause(self) -> None:
        """Stop starting new steps. Running steps finish and are recorded; timers freeze.

        With a store this returns when the pause is committed, so that the pause outlasts a crash.

        Raises:
            IllegalMove: it has ended; LeaseLost: another executor has taken it over.
        """
        self._refuse_over("paused")
        self._controls.feed(self, e.PauseAsked())
        await self._controls.recorded(self)
        self._controls.changed(self)
        if self.over:  # its end was on the way to the store when it was asked
            self._refuse_over("paused")

    async def resume(self) -> None:
        """Continue after a pause. Does nothing when it is not paused.

        Raises:
            IllegalMove: it has ended; LeaseLost: another executor has taken it over.
        """
        self._refuse_over("resumed")
        self._controls.feed(self, e.ResumeAsked())
        await self._controls.recorded(self)

    async def abort(self, *, rollback: bool = False, reason: str = "aborted") -> None:
        """End it: no new step starts, coroutines are cancelled, threads see ``ctx.cancelled``, late results are lost.

        Returns when the cancelled coroutines have ended (after one second it no longer waits for them) and, with
        ``rollback``, the compensations are done. Does nothing when it has ended.
        """
        if not self.over:
            self._controls.feed(self, e.AbortAsked(rollback, reason))
            await self.wait()

    def _refuse_over(self, what: str) -> None:
        if self.over:
            raise IllegalMove(
                f"execution {self.id} is over ({self.status.name}) and can't be {what}",
                fix="restart it", flow=self.flow, execution=self,
            )  # fmt: skip

    @property
    def _controls(self) -> Controls:
        controls: Controls = self._scheduler.handler
        return controls

    def __repr__(self) -> str:
        steps, running, succeeded, failed, _ = self.counts
        done = f"{succeeded}/{steps} done, {running} running, {failed} failed"
        return f"<Execution {self.id} of {self.flow} {self.status.name}: {done}>"

"""`Launcher`: starts executions; `finish` waits for their end."""

from __future__ import annotations

from asyncio import CancelledError
from typing import Any

from flow_core.core.plan import Plan
from flow_core.core.scheduler import Scheduler
from flow_core.core.stepper import Stepper
from flow_core.engine import events as e
from flow_core.engine.compiler import check_start
from flow_core.model.options import DEFAULT_EXECUTE_OPTIONS, ExecuteOptions
from flow_core.runtime.commands import CommandRunner
from flow_core.runtime.context import StepContext
from flow_core.runtime.execution import Execution
from flow_core.runtime.registry import Registry

__all__ = ["Launcher", "abandon", "finish"]


class Launcher:
    """Makes executions and starts them.

    Args:
        scheduler: where they run.
        runner: its handler.
        registry: finds them by the ids that their callers gave.
    """

    def __init__(self, scheduler: Scheduler, runner: CommandRunner, registry: Registry) -> None:
        self._scheduler = scheduler
        self._runner = runner
        self._registry = registry

    def prepare(
        self, plan: Plan, request: Any, options: ExecuteOptions, caller: StepContext | None = None, depth: int = 0
    ) -> Execution:
        """A new execution. The caller must `launch` it at once: with no memory left nothing may fail in between.

        Args:
            caller: the attempt that waits for it.
            depth: its nesting depth, when its caller is not known (any more).
        """
        parent = None
        if caller is not None:
            depth, parent = caller.depth + 1, caller.run
        run: Execution = self._scheduler.prepare(
            plan, request, options, options.concurrency or 0, options.priority, depth, options.id, caller, parent
        )
        return run

    def launch(self, run: Execution) -> None:
        """Run a prepared execution as far as it goes without waiting."""
        try:
            if run.options.id is not None and not Stepper(run).durable:
                self._registry.remember(run)
            if run.options.timeout is not None:
                self._runner.begin(run)
            self._scheduler.launch(run)
        except BaseException as error:
            if not run.over:
                self._runner.feed(run, e.AbortAsked(reason="not started: no memory"))
            elif run.error is not error:  # a step raised SystemExit; else the scheduler broke it off
                raise
            self._registry.forget(run)  # no memory: it ended here, and its id is free
            raise

    def start(self, plan: Plan, request: Any, options: ExecuteOptions | None, caller: StepContext | None) -> Execution:
        """Prepare and launch an execution without a store, or find the one that has its id.

        Raises:
            ExecutionConflict, InvalidId, MissingInput, UnknownStep.
        """
        if options is None and caller is None and not plan.mappings:
            plain: Execution = self._scheduler.start(plan, request)
            return plain
        options = options or DEFAULT_EXECUTE_OPTIONS
        if options.id is not None:
            known = self._registry.same(plan, request, options.id, caller)
            if known is not None:
                return known
        check_start(plan, options)
        run = self.prepare(plan, request, options, caller)
        self.launch(run)
        return run


async def finish(run: Execution) -> None:
    """Wait until an execution ends, and raise the error that ended it, if any.

    Cancelling this wait aborts the execution, as cancelling ``await coroutine`` would, unless others wait for it, too.
    """
    if not run.over:
        try:
            await Stepper(run).scheduler.waiter(run)
        except CancelledError:
            abandon(run)
            raise
    if run.error is not None:
        raise run.error


def abandon(run: Execution) -> None:
    """Abort an execution whose caller was cancelled, unless others wait for it, too."""
    stepper = Stepper(run)
    stepper.others -= 1
    if stepper.others < 0:
        stepper.scheduler.handler.feed(run, e.AbortAsked(reason="cancelled by its caller"))

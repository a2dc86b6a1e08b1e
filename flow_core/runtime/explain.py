"""`explain`: what an execution is waiting for, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flow_core.core.stepper import Stepper
from flow_core.engine.machine import Machine
from flow_core.engine.timers import EXECUTION, RETRY
from flow_core.model.explanation import Explanation, Reason
from flow_core.model.status import Status

if TYPE_CHECKING:
    from flow_core.errors import StoreError
    from flow_core.runtime.durable.stored_execution import StoredExecution
    from flow_core.runtime.durable.waiting import Waiting
    from flow_core.runtime.execution import Execution

__all__ = ["explain", "explain_stored", "explain_waiting"]

#: Reasons listed at most: an execution of a million steps is explained by its first ones.
MOST_REASONS = 100
#: (execution, step) -> text about the service that its call waits for, or None.
WaitsFor = Callable[[str, str], str | None]


def explain_waiting(waiting: Waiting) -> Explanation:
    """Explain why an execution that another process left unfinished does not continue here."""
    info = waiting.info
    return Explanation(info.flow, info.execution, info.status, (Reason(None, waiting.kind, waiting.reason),))


def explain_stored(stored: StoredExecution) -> Explanation:
    """Explain an execution that only the store knows."""
    if stored.over:
        reason = Reason(None, "over", "it is over" + (f": {stored.error}" if stored.error else ""))
    else:
        reason = Reason(None, "elsewhere", "it is under way in another process, or waits for one that takes it over")
    return Explanation(stored.flow, stored.id, stored.status, (reason,))


def explain(run: Execution, trouble: StoreError | None = None, waits_for: WaitsFor | None = None) -> Explanation:
    """Explain what an execution waits for: predecessors, limits, timers, a pause, running steps, or the store.

    Args:
        trouble: the error of the store while it can't be written.
        waits_for: asks the rpc client which service a running step's call waits for.
    """
    reasons = _of_execution(run)
    if trouble is not None and not run.over:
        reasons.append(Reason(None, "store", f"nothing goes on that has to be committed: {trouble.message}"))
    if not run.over:
        reasons += _of_steps(run, waits_for)
    return Explanation(run.flow, run.id, run.status, tuple(reasons[:MOST_REASONS]))


def _of_execution(run: Execution) -> list[Reason]:
    machine: Machine | None = Stepper(run).machine
    if run.over:
        return [Reason(None, "over", "it is over" + (f": {run.error}" if run.error else ""))]
    reasons: list[Reason] = []
    if run.status is Status.PAUSED:
        why = f" ({machine.reason})" if machine is not None and machine.reason else ""
        reasons.append(Reason(None, "paused", f"it is paused{why}: no step starts until it is resumed"))
    if machine is not None:
        if machine.phase.value != "forward":
            reasons.append(Reason(None, "ending", f"it is {machine.phase.value}: {machine.verdict[1]}"))
        left = _left(run, machine, EXECUTION)
        if left is not None:
            reasons.append(Reason(None, "timeout", f"it times out in {left:.3g} s", seconds=left))
    return reasons


def _left(run: Execution, machine: Machine, timer: tuple[str, int]) -> float | None:
    if timer in machine.frozen:
        return machine.frozen[timer]
    at = machine.timers.get(timer)
    return None if at is None else max(0.0, at - Stepper(run).scheduler.time)


def _of_steps(run: Execution, waits_for: WaitsFor | None) -> list[Reason]:
    reasons: list[Reason] = []
    ready = set(Stepper(run).ready_steps)
    for index, number in enumerate(Stepper(run).statuses()):
        if len(reasons) >= MOST_REASONS:
            break
        if number == Status.RUNNING:
            reasons.append(_running(run, index, waits_for))
        elif number == Status.PENDING:
            reasons.append(_pending(run, index, index in ready))
    return reasons


def _running(run: Execution, index: int, waits_for: WaitsFor | None) -> Reason:
    step = run.plan.items[index].id
    whom = None if waits_for is None else waits_for(run.id, step)
    if whom is not None:
        return Reason(step, "owner", f"step {step!r} waits for {whom}")
    started = Stepper(run).times(index)[0]
    since = 0.0 if started is None else Stepper(run).scheduler.time - started
    return Reason(
        step, "running", f"step {step!r} has been running for {since:.3g} s (attempt {Stepper(run).attempt(index)})"
    )


def _pending(run: Execution, index: int, ready: bool) -> Reason:
    step = run.plan.items[index].id
    machine: Machine | None = Stepper(run).machine
    if machine is not None:
        left = _left(run, machine, (RETRY, index))
        if left is not None:
            error = machine.errors.get(index)
            text = f"step {step!r} is retried in {left:.3g} s, attempt {Stepper(run).attempt(index)}, after {error!r}"
            return Reason(step, "retry", text, seconds=left)
    if ready:
        scheduler = Stepper(run).scheduler
        if run.status is Status.PAUSED:
            return Reason(step, "paused", f"step {step!r} is ready, but the execution is paused")
        if scheduler.running >= scheduler.slots.limit:
            return Reason(
                step, "limit", f"step {step!r} is ready; the executor runs {scheduler.running} steps, its limit"
            )
        if run.counts[1] >= Stepper(run).limit:
            return Reason(
                step, "limit", f"step {step!r} is ready; the execution runs {Stepper(run).limit} steps, its limit"
            )
        return Reason(step, "turn", f"step {step!r} is ready and starts in the next turn of the loop")
    waits = tuple(
        run.plan.items[p].id
        for p in run.plan.graph.predecessors(index)
        if Stepper(run).step_status(p) in (Status.PENDING, Status.RUNNING)
    )
    shown = ", ".join(map(repr, waits[:5])) + (f" and {len(waits) - 5} more" if len(waits) > 5 else "")
    return Reason(step, "predecessor", f"step {step!r} waits for {shown}", waits_for=waits)

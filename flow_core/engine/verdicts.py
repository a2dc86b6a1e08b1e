"""The errors that an execution ends with.

Lives here: their words and fields. Does not live here: when one is due (``engine/execution.py``).
"""

from __future__ import annotations

from flow_core.core.run import Run
from flow_core.engine.recorded import restore_error, text_of
from flow_core.errors import ExecutionAborted, ExecutionStopped, ExecutionTimeout, FlowError, StepFailed
from flow_core.limits import MAX_NESTING
from flow_core.records import ErrorRecord
from flow_core.step import Step

__all__ = ["aborted", "step_failed", "stopped", "stored_verdict", "timed_out"]


def step_failed(run: Run, step: int, error: BaseException) -> StepFailed:
    """Step number ``step`` of ``run`` failed for good with ``error``."""
    item: Step = run.plan.items[step]
    flow = run.plan.flow
    attempt = run.attempt(step)
    tries = "" if attempt == 1 else f" after {attempt} attempts"
    failed = StepFailed(
        f"step {item.id!r} of flow {flow!r} failed{tries}{_because(error)}",
        flow=flow, step=item.id, attempt=attempt,
    )  # fmt: skip
    failed.__cause__ = error
    return failed


def _because(error: BaseException) -> str:
    """What failed. Of executions that were started by executions the innermost: each names the one it started."""
    inner, depth = error, 0
    while isinstance(inner, StepFailed) and inner.__cause__ is not None and depth < MAX_NESTING:
        error, inner, depth = inner, inner.__cause__, depth + 1
    if depth == 0:
        return f": {type(error).__name__}: {error if isinstance(error, FlowError) else text_of(error)}"
    return f", {depth} execution{'s' * (depth > 1)} further down: {error}"


def timed_out(run: Run, timeout: float | None) -> ExecutionTimeout:
    """The whole execution took longer than ``timeout`` seconds."""
    flow = run.plan.flow
    return ExecutionTimeout(f"execution of flow {flow!r} took longer than {timeout} s", flow=flow)


def aborted(run: Run, reason: str) -> ExecutionAborted:
    """Somebody aborted the execution."""
    flow = run.plan.flow
    return ExecutionAborted(f"execution of flow {flow!r} was {reason}", flow=flow)


def stopped(run: Run) -> ExecutionStopped:
    """The executor stopped."""
    flow = run.plan.flow
    return ExecutionStopped(f"the executor stopped before the execution of flow {flow!r} could finish", flow=flow)


def stored_verdict(record: ErrorRecord, flow: str, execution: object) -> BaseException:
    """What decided the end of an execution, as a store tells it."""
    error = restore_error(record)
    if isinstance(error, FlowError):
        error.flow, error.execution = flow, execution
    return error

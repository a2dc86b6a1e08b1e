"""The errors that an execution ends with, and errors read back from records.

Only classes of flow-core come back, found by their stable code. Any other error comes back as a `RecordedError` that
tells its class by name, because stored data never becomes code.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from flow_core import errors
from flow_core.core.stepper import Stepper
from flow_core.errors import ExecutionAborted, ExecutionStopped, ExecutionTimeout, FlowError, RecordedError, StepFailed
from flow_core.model.ids import MAX_NESTING
from flow_core.model.records import ErrorRecord
from flow_core.model.step import Step

__all__ = ["aborted", "restore_error", "step_failed", "stopped", "stored_verdict", "text_of", "timed_out"]


def text_of(error: BaseException) -> str:
    """The message of an error, even if its ``__str__`` fails."""
    try:
        return error.message if isinstance(error, FlowError) else str(error)
    except Exception as failed:  # a ``__str__`` of somebody's own
        return f"its text can't be made: {type(failed).__name__}"


UNKNOWN: Final = ErrorRecord("error", "nothing was recorded of it", "Exception")


@cache
def _classes() -> dict[str, type[FlowError]]:
    found = [getattr(errors, name) for name in errors.__all__]
    return {cls.code: cls for cls in found if isinstance(cls, type) and issubclass(cls, FlowError)}


def restore_error(record: ErrorRecord | None) -> BaseException:
    """Make an error from its record."""
    code, message, name = record or UNKNOWN
    cls = _classes().get(code)
    if cls is None or cls is RecordedError:
        return RecordedError(f"{name}: {message}", type=name)
    error = cls.__new__(cls, message)  # without its __init__: some ask for more than a record keeps
    FlowError.__init__(error, message)
    return error


def step_failed(run: Stepper, step: int, error: BaseException) -> StepFailed:
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
    """The cause as text: of nested executions, that of the innermost one."""
    inner, depth = error, 0
    while isinstance(inner, StepFailed) and inner.__cause__ is not None and depth < MAX_NESTING:
        error, inner, depth = inner, inner.__cause__, depth + 1
    if depth == 0:
        return f": {type(error).__name__}: {error if isinstance(error, FlowError) else text_of(error)}"
    return f", {depth} execution{'s' * (depth > 1)} further down: {error}"


def timed_out(run: Stepper, timeout: float | None) -> ExecutionTimeout:
    """The whole execution took longer than ``timeout`` seconds."""
    flow = run.plan.flow
    return ExecutionTimeout(f"execution of flow {flow!r} took longer than {timeout} s", flow=flow)


def aborted(run: Stepper, reason: str) -> ExecutionAborted:
    """Somebody aborted the execution."""
    flow = run.plan.flow
    return ExecutionAborted(f"execution of flow {flow!r} was {reason}", flow=flow)


def stopped(run: Stepper) -> ExecutionStopped:
    """The executor stopped."""
    flow = run.plan.flow
    return ExecutionStopped(f"the executor stopped before the execution of flow {flow!r} could finish", flow=flow)


def stored_verdict(record: ErrorRecord, flow: str, execution: object) -> BaseException:
    """The error that ended an execution, made from its record."""
    error = restore_error(record)
    if isinstance(error, FlowError):
        error.flow, error.execution = flow, execution
    return error

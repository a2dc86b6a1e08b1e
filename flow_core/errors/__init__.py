"""Every error flow-core raises, as one tree grouped by who can fix it.

::

    FlowError
    ├── RegistrationError          you: the definition of a flow is wrong
    │   ├── InvalidId  InvalidStep  InvalidOption  DuplicateStep  UnknownStep  UnknownFlow
    │   ├── CycleError  OutputConflict  RevisionConflict  UnresolvedSteps  LimitExceeded
    │   └── EncodeError  DecodeError  UnknownOperation  DuplicateOperation
    ├── ExecutionError             the run: one execution did not end well, or was asked for something it can't do
    │   ├── StepFailed  StepTimeout  ExecutionTimeout  ExecutionAborted  ExecutionStopped  Interrupted
    │   ├── ExecutionConflict  UnknownExecution  IllegalMove  MissingInput  PayloadError
    │   └── ExecutorStopped  QueueFull  RecordedError
    ├── StoreError                 the disk or the database
    │   ├── Conflict  LeaseLost  ForeignStore  StoreCorrupt  SchemaTooNew
    │   └── StoreUnavailable  StoreTimeout  StoreFull
    ├── AdapterError               the outside world: a service or a broker
    │   └── Unavailable  NoReply  Rejected  NotServed  TargetRefused
    ├── AuthError                  the caller may not do this, or not now
    │   └── Unauthenticated  PermissionDenied  QuotaExceeded
    ├── Permanent                  raised by your step: never retried
    └── InternalError              us: please file a bug

Each class has a stable ``code`` for programs; most errors have a ``fix`` line for people. What is retried is decided in
``engine/retry.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flow_core.errors.base import FlowError, did_you_mean
from flow_core.errors.outside import AdapterError, NoReply, NotServed, Permanent, Rejected, TargetRefused, Unavailable
from flow_core.errors.store import (
    Conflict,
    ForeignStore,
    LeaseLost,
    SchemaTooNew,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreTimeout,
    StoreUnavailable,
)

__all__ = [
    "AdapterError", "AuthError", "Conflict", "CycleError", "DecodeError", "DuplicateOperation", "DuplicateStep",
    "EncodeError", "ExecutionAborted", "ExecutionConflict", "ExecutionError", "ExecutionStopped", "ExecutionTimeout",
    "ExecutorStopped", "FlowError", "ForeignStore", "IllegalMove", "InternalError", "Interrupted", "InvalidId",
    "InvalidOption", "InvalidStep", "LeaseLost", "LimitExceeded", "MissingInput", "NoReply", "NotServed",
    "OutputConflict", "PayloadError", "Permanent", "PermissionDenied", "QueueFull", "QuotaExceeded", "RecordedError",
    "RegistrationError", "Rejected", "RevisionConflict", "SchemaTooNew", "StepFailed", "StepTimeout", "StoreCorrupt",
    "StoreError", "StoreFull", "StoreTimeout", "StoreUnavailable", "TargetRefused", "Unauthenticated", "Unavailable",
    "UnknownExecution", "UnknownFlow", "UnknownOperation", "UnknownStep", "UnresolvedSteps", "did_you_mean",
]  # fmt: skip


# --- RegistrationError: the definition is wrong ---------------------------------------------------------------------


class RegistrationError(FlowError):
    """The definition of a flow, a step or an option is wrong. Nothing was changed."""

    code = "registration"


class InvalidId(RegistrationError, ValueError):
    """An id is empty, too long, or has characters outside ``[A-Za-z0-9._:-]``."""

    code = "invalid_id"


class InvalidStep(RegistrationError, TypeError):
    """A step was built from the wrong types."""

    code = "invalid_step"


class InvalidOption(RegistrationError, ValueError):
    """An option has an impossible value."""

    code = "invalid_option"


class DuplicateStep(RegistrationError):
    """The flow already has a step of this id."""

    code = "duplicate_step"


class UnknownStep(RegistrationError, LookupError):
    """The flow has no step of this id."""

    code = "unknown_step"


class UnknownFlow(RegistrationError, LookupError):
    """No flow of this name is registered."""

    code = "unknown_flow"


class CycleError(RegistrationError):
    """The order of the steps is circular. ``path`` holds the ids around the circle, first and last the same."""

    code = "cycle"

    def __init__(self, path: Sequence[object], **where: Any) -> None:
        self.path = tuple(path)
        super().__init__(
            "cycle: " + " -> ".join(map(str, self.path)), fix="remove one of these orders (after= or before=)", **where
        )


class OutputConflict(RegistrationError):
    """Two steps with no order between them write the same output."""

    code = "output_conflict"


class RevisionConflict(RegistrationError):
    """Someone else changed the flow: it is no longer at the expected revision."""

    code = "revision_conflict"

    def __init__(self, message: str, *, expected: int, actual: int, **where: Any) -> None:
        super().__init__(message, **where)
        self.expected = expected
        self.actual = actual


class UnresolvedSteps(RegistrationError):
    """Steps name other steps that are not registered yet. ``missing`` maps each missing id to those that name it."""

    code = "unresolved_steps"

    def __init__(self, message: str, *, missing: dict[str, list[str]], **where: Any) -> None:
        super().__init__(message, **where)
        self.missing = missing


class LimitExceeded(RegistrationError, ValueError):
    """A limit was passed; the message names the limit and its value."""

    code = "limit_exceeded"


class EncodeError(RegistrationError, ValueError):
    """A step or an option can't be encoded as protobuf without losing part of it."""

    code = "encode"


class DecodeError(RegistrationError, ValueError):
    """Bytes can't be decoded; the text names the message and the field that are wrong."""

    code = "decode"


class UnknownOperation(DecodeError, LookupError):
    """No operation is registered under this type."""

    code = "unknown_operation"


class DuplicateOperation(RegistrationError):
    """Two operations claim the same type."""

    code = "duplicate_operation"


# --- ExecutionError: one execution ----------------------------------------------------------------------------------


class ExecutionError(FlowError):
    """An execution did not succeed, or can't do now what was asked."""

    code = "execution"


class StepFailed(ExecutionError):
    """A step failed for good: its attempts are used up and no fallback helped. The cause is ``__cause__``."""

    code = "step_failed"


class StepTimeout(ExecutionError, TimeoutError):
    """An attempt, or all attempts together, of a step took longer than allowed."""

    code = "step_timeout"


class ExecutionTimeout(ExecutionError, TimeoutError):
    """The execution took longer than ``execute(timeout=)``."""

    code = "execution_timeout"


class ExecutionAborted(ExecutionError):
    """The execution was aborted."""

    code = "execution_aborted"


class ExecutionStopped(ExecutionError):
    """The executor stopped before the execution could finish."""

    code = "execution_stopped"


class Interrupted(ExecutionError):
    """An at-most-once step was under way when the process died: whether its effect happened is not known."""

    code = "interrupted"


class RecordedError(ExecutionError):
    """An error that a step raised in another process, or before a restart. ``type``: the name of its class."""

    code = "recorded"

    def __init__(self, message: str, *, type: str = "Exception", **where: Any) -> None:
        super().__init__(message, **where)
        self.type = type


class ExecutionConflict(ExecutionError):
    """An execution of this id exists, with another flow or another request."""

    code = "execution_conflict"


class UnknownExecution(ExecutionError, LookupError):
    """No execution of this id is known (it may have been forgotten, see ``keep=``)."""

    code = "unknown_execution"


class IllegalMove(ExecutionError):
    """The execution or step can't go from its status to the one asked for."""

    code = "illegal_move"


class MissingInput(ExecutionError):
    """A step started with ``step=`` needs an output from outside, and ``inputs=`` does not give it."""

    code = "missing_input"


class PayloadError(ExecutionError, ValueError):
    """A payload is not bytes, can't be encoded, or is larger than the limit. Never retried."""

    code = "payload"


class ExecutorStopped(ExecutionError):
    """The executor is stopped, or stopping: it takes no new work."""

    code = "executor_stopped"


class QueueFull(ExecutionError):
    """The queue of the executor is full and the caller did not want to wait."""

    code = "queue_full"


# --- the rest of the world; StoreError and its kinds are in store.py --------------------------------------------------


class AuthError(FlowError):
    """The caller is unknown, or may not do this, or not now."""

    code = "auth"


class Unauthenticated(AuthError):
    """The caller could not be authenticated: no key, an unknown or expired key, or an unmapped certificate."""

    code = "unauthenticated"


class PermissionDenied(AuthError):
    """The caller is known, and its role does not allow this."""

    code = "permission_denied"


class QuotaExceeded(AuthError):
    """The caller asks too often, or holds too much. ``retry_after``: seconds, None when waiting alone won't help."""

    code = "quota_exceeded"

    def __init__(self, message: str, *, retry_after: float | None = None, **where: Any) -> None:
        super().__init__(message, **where)
        self.retry_after = retry_after


class InternalError(FlowError):
    """A bug in flow-core. Please report it with the text of this error."""

    code = "internal"

"""Exit codes, and which error means which. The table in ``docs/cli.md`` is this one."""

from __future__ import annotations

from typing import Final

from flow_core import errors as e

__all__ = ["CONFLICT", "FAILED", "INTERRUPTED", "OK", "UNREACHABLE", "USAGE", "code_of"]

#: Done; with --wait: the execution succeeded.
OK: Final = 0
#: The execution failed, the store is damaged, or something went wrong that has no number of its own.
FAILED: Final = 1
#: Bad arguments, a bad setting or a bad file. Nothing was done.
USAGE: Final = 2
#: There is no such flow, step or execution; or what is there does not allow it.
CONFLICT: Final = 3
#: The server or store can't be reached, or does not allow this caller to do it.
UNREACHABLE: Final = 4
#: Ctrl-C.
INTERRUPTED: Final = 130

#: The first line that fits decides.
_TABLE: Final[tuple[tuple[tuple[type[BaseException], ...], int], ...]] = (
    ((e.AuthError, e.Unavailable, e.NoReply, e.StoreUnavailable, e.ExecutorStopped), UNREACHABLE),
    ((e.UnknownFlow, e.UnknownStep, e.UnknownExecution, e.UnresolvedSteps), CONFLICT),
    ((e.DuplicateStep, e.RevisionConflict, e.CycleError, e.OutputConflict), CONFLICT),
    ((e.ExecutionConflict, e.IllegalMove, e.Conflict), CONFLICT),
    ((e.RegistrationError, e.MissingInput, e.PayloadError, e.TargetRefused, ImportError), USAGE),
)


def code_of(error: BaseException) -> int:
    """The exit code for an error."""
    return next((code for kinds, code in _TABLE if isinstance(error, kinds)), FAILED)

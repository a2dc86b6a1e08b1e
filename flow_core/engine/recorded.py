"""Errors read back from records.

Lives here: what a stored error becomes. Only classes of flow-core come back, found by their stable code; any other is
a `RecordedError` that tells its class by name, because stored data never becomes code.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from flow_core import errors
from flow_core.errors import FlowError, RecordedError
from flow_core.records import ErrorRecord

__all__ = ["restore_error", "text_of"]


def text_of(error: BaseException) -> str:
    """What an error says: its message, or that it can't be made into one."""
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
    """The error that a record stands for."""
    code, message, name = record or UNKNOWN
    cls = _classes().get(code)
    if cls is None or cls is RecordedError:
        return RecordedError(f"{name}: {message}", type=name)
    error = cls.__new__(cls, message)  # without its __init__: some ask for more than a record keeps
    FlowError.__init__(error, message)
    return error

"""Ids, durations and counts: their limits, and the checks whose errors name these limits.

The limits of one executor are its options (``ExecutorOptions``).
"""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Any, Final

from flow_core.errors import InvalidId, InvalidOption, InvalidStep

__all__ = ["MAX_ID", "MAX_NESTING", "MAX_PAYLOAD", "MAX_STEPS", "check_address", "check_count", "check_id", "seconds"]

#: Largest payload (request or output), bytes.
MAX_PAYLOAD: Final = 2 * 1024 * 1024
#: Longest id of a flow, step, output or execution, characters.
MAX_ID: Final = 255
#: Most steps of one flow, in process.
MAX_STEPS: Final = 1_000_000
#: Deepest nesting of executions started by FlowExecuteOperation.
MAX_NESTING: Final = 64

_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,255}").fullmatch


def check_id(value: Any, what: str) -> str:
    """Return ``value`` when it is a legal id, else raise `InvalidId` that names ``what`` and the reason."""
    if type(value) is str and _ID(value):
        return value
    if not isinstance(value, str):
        raise InvalidId(f"{what} must be a str, not {type(value).__name__}: {value!r:.80}")
    if _ID(value):
        return str(value)
    if not value:
        raise InvalidId(f"{what} is empty", fix="give it at least one character")
    if len(value) > MAX_ID:
        raise InvalidId(f"{what} is {len(value)} characters long: {value[:40]!r}..., the limit MAX_ID is {MAX_ID}")
    bad = sorted(set(re.sub(r"[A-Za-z0-9._:-]", "", value)))
    raise InvalidId(f"{what} {value!r:.80} holds {''.join(bad)!r:.20}", fix="use letters, digits and . _ : - only")


def seconds(value: float | timedelta | None, what: str) -> float | None:
    """A duration as float seconds; raises `InvalidOption` when it is not a number, not finite, or not positive."""
    if value is None:
        return None
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidOption(f"{what} must be seconds (float) or a timedelta, not {type(value).__name__}: {value!r:.80}")
    try:
        number = float(value)
    except OverflowError:  # an int beyond the range of floats
        number = math.inf
    if not math.isfinite(number) or number <= 0:
        raise InvalidOption(f"{what} must be positive and finite, not {number!r}", fix=f"leave {what} out for no limit")
    return number


def check_count(value: int | None, what: str, *, least: int = 0) -> int | None:
    """Return ``value`` when it is None or an int of at least ``least``, else raise `InvalidOption`."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidOption(f"{what} must be an int, not {type(value).__name__}: {value!r:.80}")
    if value < least:
        raise InvalidOption(f"{what} must be at least {least}, not {value}")
    return value


def check_address(value: Any, what: str) -> str:
    """Return ``value`` when it can address something outside (a service, an endpoint, a topic), else `InvalidStep`.

    Wider than an id, since paths and subjects have more characters; but nothing invisible, which could end up in a
    header line or split a protocol's command.
    """
    if not isinstance(value, str):
        raise InvalidStep(f"{what} must be a str, not {type(value).__name__}: {value!r:.80}")
    if not 0 < len(value) <= MAX_ID:
        raise InvalidStep(f"{what} must have 1 to {MAX_ID} characters, not {len(value)}: {value!r:.40}")
    if not value.isprintable() or " " in value:
        raise InvalidStep(f"{what} {value!r:.80} holds a space or an unprintable character")
    return value

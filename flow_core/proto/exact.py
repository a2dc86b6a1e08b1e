"""JSON that reads back as exactly what was written, or is refused: the form of context values.

Payloads are less strict (``model/payload.py``): there a tuple may become a list.
"""

from __future__ import annotations

import math
from typing import Any

__all__ = ["exact_dumps", "exact_loads"]


def exact_dumps(value: Any) -> bytes:
    """``value`` as JSON. Raises TypeError or ValueError when `exact_loads` would give something else back."""
    import orjson

    data = orjson.dumps(value)  # first: it refuses cycles and too deep nesting, so that the check can recurse
    _check(value)
    return data


def exact_loads(data: bytes) -> Any:
    """The value of JSON bytes. Raises ValueError."""
    import orjson

    return orjson.loads(data)


def _check(value: Any) -> None:
    """Refuse what orjson writes and reads back as something else: tuples, dates, enums, NaN, ..."""
    if type(value) is list:
        for item in value:
            _check(item)
    elif type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise TypeError(f"the key {key!r:.80} does not come back from JSON as what it was")
            _check(item)
    elif type(value) is float:
        if not math.isfinite(value):
            raise ValueError(f"{value} has no form in JSON")
    elif value is not None and type(value) not in (bool, int, str):
        raise TypeError(f"{type(value).__name__} does not come back from JSON as what it was")

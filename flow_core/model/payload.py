"""How values become bytes, where bytes are needed: a store, a wire, ``result()``.

JSON by orjson, and the rules for values that are bytes already. orjson is imported on first use: it costs a third of
the package's import time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flow_core.errors import PayloadError
from flow_core.model.ids import MAX_PAYLOAD

__all__ = ["check_payload", "decode_json", "decode_outcome", "encode_mapping", "encode_outcome", "encode_value"]


def check_payload(data: bytes, what: str = "payload", limit: int = MAX_PAYLOAD) -> bytes:
    """Return ``data`` when it is bytes and within ``limit``, else raise `PayloadError` naming what is wrong."""
    if not isinstance(data, bytes):
        raise PayloadError(f"{what} must be bytes, not {type(data).__name__}: {data!r:.80}")
    if len(data) > limit:
        raise PayloadError(f"{what} is {len(data)} bytes, the limit MAX_PAYLOAD is {limit}")
    return data


def encode_value(value: Any, what: str = "value") -> bytes:
    """``value`` as bytes: bytes stay what they are, None is empty, anything else becomes JSON.

    Raises:
        PayloadError: JSON can't express the value, or the result is over the limit.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        return check_payload(bytes(value), what)
    if value is None:
        return b""
    if isinstance(value, Mapping):
        return encode_mapping(value, what)
    return check_payload(_dumps(value, what), what)


def encode_outcome(value: Any, what: str = "output") -> tuple[bytes, bool]:
    """(data, whether it is JSON): ``value`` so that `decode_outcome` gives it back, None and bytes apart.

    Raises:
        PayloadError: JSON can't express the value, or the result is over the limit.
    """
    if type(value) is bytes:
        if len(value) > MAX_PAYLOAD:
            check_payload(value, what)
        return value, False
    if isinstance(value, (bytearray, memoryview)):
        return check_payload(bytes(value), what), False
    if isinstance(value, Mapping):
        return encode_mapping(value, what), True
    return check_payload(_dumps(value, what), what), True


def decode_outcome(data: bytes | None, json: bool) -> Any:
    """The reverse of `encode_outcome`. Values that JSON has no form for come back as their nearest: tuples as lists."""
    import orjson

    return orjson.loads(data) if json and data is not None else data


def encode_mapping(values: Mapping[str, Any], what: str = "value") -> bytes:
    """A mapping as one JSON object. Values that are bytes are JSON already (what services return) and go in as is.

    Empty bytes become null: they are how `encode_value` writes None, and what an operation without a result returns.

    Raises:
        PayloadError: a value is neither JSON bytes nor expressible as JSON.
    """
    import orjson

    parts: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, (bytes, bytearray, memoryview)):
            raw = bytes(value)
            if not raw:
                parts[key] = None
                continue
            try:
                orjson.loads(raw)
            except orjson.JSONDecodeError:
                raise PayloadError(
                    f"{what}: {key!r} is {len(raw)} bytes that are not JSON, they can't become part of a JSON object",
                    fix="name one input= for the step, or combine them in a LocalOperation",
                ) from None
            parts[key] = orjson.Fragment(raw)
        else:
            parts[key] = value
    return check_payload(_dumps(parts, what), what)


def decode_json(data: bytes) -> Any:
    """The value of JSON bytes; bytes that are not JSON come back as they are, empty ones as None."""
    import orjson

    if not data:
        return None
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return data


def _dumps(value: Any, what: str) -> bytes:
    import orjson

    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    except TypeError as error:
        raise PayloadError(
            f"{what} of type {type(value).__name__} can't be written as JSON: {error}",
            fix="return bytes, or types that JSON knows",
        ) from error

"""Finds the place in a protobuf message where the bytes go wrong.

A reader of the wire format walks the bytes beside a message descriptor and names the first place that is not as the
schema says. It runs only after protobuf has refused the bytes, because protobuf does not say where.
Format: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["first_fault"]

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
#: FieldDescriptor.type -> the wire type that carries it; only what flow.proto uses.
_WIRE_TYPE: Final = {
    1: FIXED64, 3: VARINT, 4: VARINT, 5: VARINT, 8: VARINT, 9: LENGTH, 11: LENGTH, 12: LENGTH, 13: VARINT, 14: VARINT,
}  # fmt: skip
_STRING: Final = 9
_FIXED: Final = {FIXED64: 8, FIXED32: 4}


class _Fault(Exception):
    """Carries the description of the first fault out of the recursion."""


def first_fault(data: bytes, descriptor: Any) -> str | None:
    """Say where ``data`` departs from the message of ``descriptor``, or None when it does not.

    Truncation, invalid UTF-8, wrong wire types and fields that the schema does not have are all departures.
    """
    try:
        _walk(memoryview(data), descriptor, descriptor.name)
    except _Fault as fault:
        return str(fault)
    return None


def _walk(data: memoryview, descriptor: Any, path: str) -> None:
    at = 0
    seen: dict[int, int] = {}
    while at < len(data):
        tag, after = _varint(data, at, f"{path}, tag at byte {at}")
        number, wire = tag >> 3, tag & 7
        field = descriptor.fields_by_number.get(number)
        if field is None:
            raise _Fault(f"{path}: no field has the number {number} (byte {at})")
        where = f"{path}.{field.name}"
        if wire != _WIRE_TYPE[field.type]:
            raise _Fault(f"{where}: wire type {wire} instead of {_WIRE_TYPE[field.type]} (byte {at})")
        index = seen[number] = seen.get(number, -1) + 1
        at = _value(data, after, wire, field, f"{where}[{index}]" if index else where)


def _value(data: memoryview, at: int, wire: int, field: Any, where: str) -> int:
    """Check one value and return where it ends."""
    if wire == VARINT:
        return _varint(data, at, where)[1]
    size, at = (_FIXED[wire], at) if wire in _FIXED else _varint(data, at, f"{where}, its length")
    if size > len(data) - at:
        raise _Fault(f"{where}: {size} bytes announced, {len(data) - at} left")
    value = data[at : at + size]
    if field.message_type is not None:
        _walk(value, field.message_type, where)
    elif field.type == _STRING:
        try:
            bytes(value).decode()
        except UnicodeDecodeError as error:
            raise _Fault(f"{where}: not UTF-8 at its byte {error.start}") from None
    return at + size


def _varint(data: memoryview, at: int, where: str) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise _Fault(f"{where}: the bytes end in the middle of a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _Fault(f"{where}: a number of more than 10 bytes")

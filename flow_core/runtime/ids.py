"""Ids of executions as text: UUIDv7 (RFC 9562) that also say where the execution is.

Lives here: the conversion between the two 64-bit numbers that the core makes and text. Does not live here: making them
(``core/ledger.pyx``, which documents the layout).
"""

from __future__ import annotations

import re

__all__ = ["format_id", "parse_id", "words_of"]

_FORM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").fullmatch


def format_id(high: int, low: int) -> str:
    """The canonical text of a UUID given as two 64-bit numbers."""
    tail = low & 0xFFFFFFFFFFFF
    return f"{high >> 32:08x}-{high >> 16 & 0xFFFF:04x}-{high & 0xFFFF:04x}-{low >> 48:04x}-{tail:012x}"


def words_of(text: str) -> tuple[int, int] | None:
    """The two 64-bit numbers of a generated id; None for an id that a caller made up."""
    if not _FORM(text):
        return None
    digits = text.replace("-", "")
    return int(digits[:16], 16), int(digits[16:], 16)


def parse_id(text: str, nonce: int) -> tuple[int, int] | None:
    """(slot, generation) of a generated id; None when it is not one of this executor's."""
    words = words_of(text)
    if words is None or words[1] & 0xFFFFFFFF != nonce:
        return None
    high, low = words
    return (low >> 32) & 0xFFFFFF, (high & 0xFFF) | ((low >> 56) & 0x3F) << 12

"""Ids of executions as text: UUIDv7 (RFC 9562) that also say where the execution is.

Lives here: reading them. Does not live here: making them (``core/ledger.pyx``, which documents the layout), their text
(``core/run.pyx``).
"""

from __future__ import annotations

import re

__all__ = ["parse_id", "words_of"]

_FORM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").fullmatch


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

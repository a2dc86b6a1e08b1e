"""Headers on the wire: what every network client checks before it sends.

Lives here: the rules that HTTP fields and gRPC metadata share, and the name of the header that carries the time left.
Does not live here: which headers a call has (``ctx.headers()`` and ``flow_core.tracing``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

from flow_core.errors import InvalidOption, Rejected

__all__ = ["TIMEOUT", "check_headers", "own_headers"]

#: Milliseconds that are left when the call is sent, for protocols without a deadline of their own.
TIMEOUT: Final = "flow-timeout-ms"
MAX_HEADERS: Final = 64
MAX_VALUE: Final = 4096

_KEY: Final = re.compile(r"[0-9a-z_.-]{1,255}").fullmatch


def check_headers(headers: Mapping[str, str], what: str, reserved: Collection[str] = ()) -> list[tuple[str, str]]:
    """``headers`` as pairs with lower-case keys, in their order.

    Args:
        what: the call, for the error.
        reserved: keys that belong to the protocol; one that ends with ``-`` or begins with it stands for all that
            begin or end so.

    Raises:
        Rejected: a key is none or reserved, a value is not printable ASCII, or there are too many. It never repeats a
            value.
    """
    if len(headers) > MAX_HEADERS:
        raise Rejected(f"{what}: {len(headers)} headers, the limit is {MAX_HEADERS}")
    pairs = []
    for name, value in headers.items():
        key = name.lower() if isinstance(name, str) else ""
        if not _KEY(key):
            raise Rejected(f"{what}: {name!r:.80} is no name of a header", fix="use letters, digits, - _ and .")
        if reserved and _is_reserved(key, reserved):
            raise Rejected(f"{what}: the header {key!r} belongs to the protocol", fix="give it another name")
        if not isinstance(value, str):
            raise Rejected(f"{what}: header {key!r} must be a str, not {type(value).__name__}", fix="encode it as text")
        if not (value.isascii() and value.isprintable()):
            raise Rejected(f"{what}: header {key!r} is not printable ASCII", fix="encode it, e.g. with base64")
        if len(value) > MAX_VALUE:
            raise Rejected(f"{what}: header {key!r} has {len(value)} characters, the limit is {MAX_VALUE}")
        pairs.append((key, value))
    return pairs


def own_headers(headers: Mapping[str, str] | None, reserved: Collection[str] = ()) -> list[tuple[str, str]]:
    """The headers that a client sends with each call, checked. Raises `InvalidOption`."""
    try:
        return check_headers(headers or {}, "headers=", reserved)
    except Rejected as error:
        raise InvalidOption(error.message, fix=error.fix) from None


def _is_reserved(key: str, reserved: Collection[str]) -> bool:
    if key in reserved:
        return True
    return any(
        (sign[-1] == "-" and key.startswith(sign)) or (sign[0] == "-" and key.endswith(sign)) for sign in reserved
    )

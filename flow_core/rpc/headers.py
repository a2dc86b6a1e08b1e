"""Headers on the wire: what every network client checks before it sends."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

from flow_core.errors import InvalidOption, Rejected

__all__ = ["TIMEOUT", "HeaderRules"]

#: Milliseconds that are left when the call is sent, for protocols without a deadline of their own.
TIMEOUT: Final = "flow-timeout-ms"
MAX_HEADERS: Final = 64
MAX_VALUE: Final = 4096
#: Names that a client remembers as checked.
REMEMBERED: Final = 256

_KEY: Final = re.compile(r"[0-9a-z_.-]{1,255}").fullmatch


class HeaderRules:
    """Checks the headers of calls against what the protocol reserves and allows.

    Args:
        reserved: keys that belong to the protocol; one that ends with ``-`` stands for all that begin with it, one that
            begins with ``-`` for all that end with it.
    """

    def __init__(self, reserved: Collection[str]) -> None:
        self._reserved = frozenset(reserved)
        #: Name as it was given -> its key. Steps send the same names again and again.
        self._known: dict[str, str] = {}

    def check(self, headers: Mapping[str, str], what: str) -> list[tuple[str, str]]:
        """``headers`` as pairs with lower-case keys, in their order. ``what``: the call, for the error.

        Raises:
            Rejected: a key is none or reserved, a value is not printable ASCII, or there are too many. It never repeats
                a value.
        """
        if len(headers) > MAX_HEADERS:
            raise Rejected(f"{what}: {len(headers)} headers, the limit is {MAX_HEADERS}")
        known = self._known
        pairs = []
        for name, value in headers.items():
            key = known.get(name) or self._key(name, what)
            if type(value) is not str or len(value) > MAX_VALUE or not (value.isascii() and value.isprintable()):
                raise _refusal(key, value, what)
            pairs.append((key, value))
        return pairs

    def own(self, headers: Mapping[str, str]) -> list[tuple[str, str]]:
        """The headers that a client sends with each call, checked. Raises `InvalidOption`."""
        try:
            return self.check(headers, "headers=")
        except Rejected as error:
            raise InvalidOption(error.message, fix=error.fix) from None

    def _key(self, name: str, what: str) -> str:
        key = name.lower() if isinstance(name, str) else ""
        if not _KEY(key):
            raise Rejected(f"{what}: {name!r:.80} is no name of a header", fix="use letters, digits, - _ and .")
        for sign in self._reserved:
            if key == sign or (sign[-1] == "-" and key.startswith(sign)) or (sign[0] == "-" and key.endswith(sign)):
                raise Rejected(f"{what}: the header {key!r} belongs to the protocol", fix="give it another name")
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[name] = key
        return key


def _refusal(key: str, value: object, what: str) -> Rejected:
    if not isinstance(value, str):
        return Rejected(f"{what}: header {key!r} must be a str, not {type(value).__name__}", fix="encode it as text")
    if len(value) > MAX_VALUE:
        return Rejected(f"{what}: header {key!r} has {len(value)} characters, the limit is {MAX_VALUE}")
    return Rejected(f"{what}: header {key!r} is not printable ASCII", fix="encode it, e.g. with base64")

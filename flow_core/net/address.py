"""`Address`: a server's URL, checked once, whose password never gets into an error, a log or a repr."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from flow_core.errors import InvalidOption

__all__ = ["Address"]

MASK: Final = "***"
#: Schemes whose URL names a path instead of a host.
LOCAL: Final = frozenset({"unix"})


class Address:
    """The URL of a server, checked, with its secrets hidden from everybody but the client library.

    Args:
        url: ``scheme://user:password@host:port/...``. With ``several``, more of them after commas.
        schemes: those that will do; the first is the one the error suggests.
        owner: class that was given the URL, for the error.

    Attributes:
        urls: complete, secrets included: for the client library alone.
        shown: the same without user, password and query, for people.

    Raises:
        InvalidOption: no str, another scheme, no host, an impossible port. The URL itself is not in the message.
    """

    __slots__ = ("_secrets", "shown", "urls")

    def __init__(self, url: Any, schemes: Collection[str], owner: str, *, several: bool = False) -> None:
        example = f"{next(iter(schemes))}://host:port"
        if not isinstance(url, str):
            raise InvalidOption(f"url of {owner} must be a str like {example}, not {type(url).__name__}")
        self.urls = tuple(part.strip() for part in url.split(",")) if several else (url.strip(),)
        parts = [_parse(part, schemes, owner, example) for part in self.urls]
        self.shown = ",".join(_shown(part) for part in parts)
        secrets = {secret for part in parts for secret in _secrets(part)}
        self._secrets = tuple(sorted(secrets, key=len, reverse=True))

    def hide(self, text: object) -> str:
        """``text`` as str, with every secret of the URL masked."""
        words = str(text)
        for secret in self._secrets:
            words = words.replace(secret, MASK)
        return words

    def cause(self, error: BaseException) -> BaseException | None:
        """``error``, to be chained; None when it, or what led to it, would tell a secret in a traceback."""
        seen: BaseException | None = error
        depth = 0
        while seen is not None and depth < 16:
            told = f"{seen!s}{seen!r}"
            if any(secret in told for secret in self._secrets):
                return None
            seen, depth = seen.__cause__ or seen.__context__, depth + 1
        return error

    def __repr__(self) -> str:
        return self.shown


def _parse(url: str, schemes: Collection[str], owner: str, example: str) -> SplitResult:
    fix = f"use {example}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidOption(f"url of {owner} is none: host or port is malformed", fix=fix) from None
    if parts.scheme not in schemes:
        given = repr(parts.scheme) if "://" in url else "missing"
        raise InvalidOption(f"url of {owner} must start with {' or '.join(schemes)}; its scheme is {given}", fix=fix)
    if parts.scheme in LOCAL:
        if not parts.path:
            raise InvalidOption(f"url of {owner} names no path", fix=f"use {parts.scheme}:///path/to/socket")
    elif not parts.hostname or port == 0:
        raise InvalidOption(f"url of {owner} names no {'port' if parts.hostname else 'host'}", fix=fix)
    return parts


def _shown(parts: SplitResult) -> str:
    place = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{place}{parts.path}"


def _secrets(parts: SplitResult) -> set[str]:
    """The password as written and as meant; a user without a password is a token; query values may be passwords."""
    found = {parts.password or (parts.username if parts.password is None else None)}
    found |= {value for key, value in parse_qsl(parts.query) if "pass" in key or "token" in key or "secret" in key}
    known = {word for word in found if word}
    return known | {unquote(word) for word in known}

"""Where executions and definitions are kept.

Lives here: ``base`` (the contract), ``memory`` (the reference), ``sqlite`` (one file, no server), ``postgres`` (a
server that several hosts share), ``retention``, and the choice by url. Does not live here: the replay of records, which
is the engine's. A store's module is imported when it is used and not before.
"""

from __future__ import annotations

from typing import Any

from flow_core.errors import InvalidOption
from flow_core.stores.base import Change, Store
from flow_core.stores.memory import MemoryStore

__all__ = ["Change", "MemoryStore", "Store", "store_of"]


def store_of(given: Any) -> Store:
    """The store that an url names, not opened; a `Store` is taken as it is.

    Raises:
        InvalidOption: no store is known for it. The message shows the scheme only: urls may hold passwords.
    """
    if isinstance(given, Store):
        return given
    if isinstance(given, str):
        scheme, separator, _ = given.partition("://")
        if separator and scheme == "sqlite":
            from flow_core.stores.sqlite import SqliteStore

            return SqliteStore(given)
        if separator and scheme in ("postgresql", "postgres"):
            from flow_core.stores.postgres import PostgresStore

            return PostgresStore(given)
        shown = f"{scheme}://..." if separator else given[:80]
    else:
        shown = f"{given!r:.80}"
    raise InvalidOption(
        f"no store for {shown!r}", fix='use "sqlite:///flow.db", "postgresql://...", a Store, or None for none'
    )

"""A store in one SQLite file, without a server."""

from flow_core.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]

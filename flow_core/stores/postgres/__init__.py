"""A store in a PostgreSQL database, shared by several executors."""

from flow_core.stores.postgres.store import PostgresStore

__all__ = ["PostgresStore"]

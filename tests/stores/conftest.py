"""The servers that the stores' tests need, and stores on them."""

import hashlib

import pytest

from tests.servers.postgres import postgres

__all__ = ["postgres"]


@pytest.fixture
def schema(tmp_path):
    """A schema of PostgreSQL that only this test has."""
    return "t" + hashlib.sha256(str(tmp_path).encode()).hexdigest()[:20]


@pytest.fixture
def make_postgres(postgres, schema):
    """Makes stores on that schema."""
    from flow_core.stores.postgres import PostgresStore

    return lambda **options: PostgresStore(postgres.url, **{"schema": schema, **options})

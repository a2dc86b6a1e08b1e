"""Sizes of the crash suites in a test run, and the places that executions are kept in.

`python -m tests.crash` runs them whole; here they are samples, unless the environment has FLOW_TEST_CRASH=full (then
FLOW_TEST_WATCHDOG has to be some 600 seconds).
"""

import os
from typing import NamedTuple

import pytest

from tests.crash.places import PostgresSchema, SqliteFile
from tests.servers.postgres import postgres

__all__ = ["postgres"]


class Sizes(NamedTuple):
    """Each how-manieth crash point, random kills, episodes with a frozen process, and the last two on PostgreSQL."""

    every: int = 20
    kills: int = 15
    episodes: int = 2
    server_kills: int = 5
    server_episodes: int = 2
    outages: int = 3


@pytest.fixture(scope="session")
def sizes():
    return Sizes(1, 300, 10, 50, 50, 20) if os.environ.get("FLOW_TEST_CRASH") == "full" else Sizes()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.server)])
def place(request, tmp_path):
    """A place that only this test has."""
    if request.param == "sqlite":
        return SqliteFile(tmp_path)
    return PostgresSchema.fresh(tmp_path, request.getfixturevalue("postgres"))


@pytest.fixture
def server_place(tmp_path, postgres):
    """One on PostgreSQL."""
    return PostgresSchema.fresh(tmp_path, postgres)

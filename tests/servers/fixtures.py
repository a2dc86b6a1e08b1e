"""The servers as fixtures, one of each per test session; a folder's ``conftest.py`` imports those that it needs.

A test that kills a server starts it again: others use the same one.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.nats import NatsServer
from tests.servers.process import ServerProcess
from tests.servers.rabbitmq import RabbitMqServer
from tests.servers.redis import RedisServer


def _running(server: ServerProcess) -> Iterator[ServerProcess]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory):
    yield from _running(NatsServer(tmp_path_factory.mktemp("nats")))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory):
    yield from _running(RedisServer(tmp_path_factory.mktemp("redis")))


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory):
    yield from _running(RabbitMqServer(tmp_path_factory.mktemp("rabbitmq")))

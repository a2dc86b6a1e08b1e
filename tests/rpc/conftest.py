"""What the tests of network clients share: servers, certificates that live for one run, waiting for a condition."""

import asyncio

import pytest

from tests.servers.certificates import Certificates
from tests.servers.fixtures import nats_server

__all__ = ["certificates", "nats_server", "until"]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def until():
    """``await until(condition)``: let the loop turn until it holds; the watchdog ends a test where it never does."""

    async def wait(condition):
        while not condition():
            await asyncio.sleep(0.001)

    return wait

"""What the tests of network clients share: certificates that live for one run, and waiting for a condition."""

import asyncio

import pytest

from tests.servers.certificates import Certificates


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

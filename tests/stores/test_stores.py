"""Every store against the contract."""

import pytest

from flow_core.stores.memory import MemoryStore
from flow_core.stores.sqlite import SqliteStore
from tests.aio import run
from tests.stores.contract import StoreContract


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def memory(folder, clock):
    return MemoryStore(clock=clock)


def sqlite(folder, clock):
    return SqliteStore(f"sqlite:///{folder}/flow.db", clock=clock)


@pytest.fixture(params=[memory, sqlite], ids=lambda make: make.__name__)
def make(request):
    return request.param


@pytest.fixture
def again(make, tmp_path, clock):
    return lambda store: store if make is memory else make(tmp_path, clock)


@pytest.fixture
def play(make, tmp_path, clock):
    def play(scenario):
        async def main():
            async with make(tmp_path, clock) as store:
                await scenario(store, await store.begin("me", 10))

        run(main())

    return play


class TestContract(StoreContract):
    """All promises of ``contract.py``."""

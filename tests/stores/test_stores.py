"""Every store against the contract."""

import pytest

from flow_core.stores.memory import MemoryStore
from flow_core.stores.sqlite import SqliteStore
from tests.aio import run
from tests.stores.contract import StoreContract
from tests.stores.contract_owners import OwnersContract


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def memory(request, clock):
    return MemoryStore(clock=clock)


def sqlite(request, clock):
    return SqliteStore(f"sqlite:///{request.getfixturevalue('tmp_path')}/flow.db", clock=clock)


def postgres(request, clock):
    return request.getfixturevalue("make_postgres")(clock=clock)


STORES = [memory, sqlite, pytest.param(postgres, marks=pytest.mark.server)]


@pytest.fixture(params=STORES, ids=lambda make: make.__name__)
def make(request, clock):
    """Makes a store: empty the first time, with the same data afterwards (but memory)."""
    return lambda: request.param(request, clock)


@pytest.fixture
def again(make):
    return lambda store: store if isinstance(store, MemoryStore) else make()


@pytest.fixture
def play(make):
    def play(scenario):
        async def main():
            async with make() as store:
                await scenario(store, await store.begin("me", 10))

        run(main())

    return play


class TestContract(StoreContract):
    """All promises of ``contract.py``."""


class TestOwners(OwnersContract):
    """All promises of ``contract_owners.py``."""

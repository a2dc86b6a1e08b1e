"""One clock for everything: UTC is the virtual loop's time plus `EPOCH`."""

import asyncio

import pytest

from flow_core.core.driver import Driver
from flow_core.stores.base import Store
from tests.aio import VirtualLoop
from tests.durable.kit import utc
from tests.stores.faulty import Faulty

Store.register(Faulty)


@pytest.fixture(autouse=True)
def one_clock(monkeypatch):
    def driver(loop, **options):
        return Driver(loop, wall=utc, **options) if isinstance(loop, VirtualLoop) else Driver(loop, **options)

    monkeypatch.setattr("flow_core.runtime.executor.Driver", driver)
    assert asyncio  # the loop's time is what `utc` reads

"""One clock for everything: UTC is the virtual loop's time plus `EPOCH`."""

import asyncio

import pytest

from flow_core.core.scheduler import Scheduler
from flow_core.model.store import Store
from tests.aio import VirtualLoop
from tests.durable.kit import utc
from tests.stores.faulty import Faulty

Store.register(Faulty)


@pytest.fixture(autouse=True)
def one_clock(monkeypatch):
    def scheduler(loop, **options):
        return Scheduler(loop, wall=utc, **options) if isinstance(loop, VirtualLoop) else Scheduler(loop, **options)

    monkeypatch.setattr("flow_core.runtime.executor.Scheduler", scheduler)
    assert asyncio  # the loop's time is what `utc` reads

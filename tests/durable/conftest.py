"""One clock for everything: UTC is the virtual loop's time plus `EPOCH`."""

import dataclasses

import pytest

from flow_core.model.store import Store
from flow_core.runtime.loop import real_environment
from tests.aio import VirtualLoop
from tests.durable.kit import utc
from tests.stores.faulty import Faulty

Store.register(Faulty)


@pytest.fixture(autouse=True)
def one_clock(monkeypatch):
    def environment(loop):
        real = real_environment(loop)
        return dataclasses.replace(real, wall=utc) if isinstance(loop, VirtualLoop) else real

    monkeypatch.setattr("flow_core.runtime.executor.real_environment", environment)

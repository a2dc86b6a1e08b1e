"""Whole executors that are killed, frozen and robbed of their disk: samples of what `python -m tests.crash` does."""

import os

import pytest

from flow_core import Flow, FlowExecuteOperation, Step
from flow_core.errors import StoreUnavailable
from flow_core.model.revisions import Change
from flow_core.stores import MemoryStore
from tests.aio import run_virtual
from tests.crash.faults import FAULTS, one_fault
from tests.crash.frozen import freeze
from tests.crash.kills import random_kills
from tests.crash.lives import no_strace
from tests.crash.outage import outages
from tests.crash.walk import walk

SEED = 1
needs_strace = pytest.mark.skipif(no_strace() is not None, reason=str(no_strace()))
needs_waitid = pytest.mark.skipif(not hasattr(os, "waitid"), reason="NOT RUN: no waitid here")


@needs_strace
def test_killed_at_any_write_nothing_is_lost(tmp_path, sizes):
    points, kills, tally = walk(tmp_path, sizes.every)
    assert tally.violations == []
    assert kills >= 0.9 * points > 0
    assert tally.executions == 2 * points  # the order and its child
    assert tally.repeated < tally.effects / 4


def test_killed_at_random_nothing_is_lost(place, sizes):
    kills = sizes.kills if place.kind == "sqlite" else sizes.server_kills
    tally = random_kills(place, kills, SEED)
    assert tally.violations == [], f"seed {SEED}"
    assert tally.executions >= kills and tally.repeated > 0


@needs_strace
@pytest.mark.parametrize("kill", [False, True], ids=["heals", "killed"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_disk_that_fails_loses_nothing(tmp_path, name, kill):
    assert one_fault(tmp_path / "fault", name, kill=kill).violations == []


@needs_waitid
def test_one_who_was_frozen_writes_nothing(place, sizes):
    refused, tally = freeze(place, sizes.episodes if place.kind == "sqlite" else sizes.server_episodes)
    assert tally.violations == []
    assert refused > 0


@pytest.mark.server
def test_a_server_that_is_killed_loses_nothing(server_place, sizes):
    assert outages(server_place, sizes.outages, SEED).violations == []


class Deaf(MemoryStore):
    """Can't be asked for definitions ``deaf`` times, after somebody has changed some, perhaps."""

    deaf = 0

    async def definitions(self, flow=None, *, after=0):
        if self.deaf:
            self.deaf -= 1
            raise StoreUnavailable("deaf")
        return await super().definitions(flow, after=after)


def test_a_step_that_starts_a_child_outlives_an_outage():
    """What is known of the flow will do. PostgreSQL says "perhaps" after each outage."""

    async def main():
        store = Deaf()

        async def begin_outage(value):
            store.deaf = 1
            store._watchers.tell(Change.DEFINITIONS)
            return value

        async def same(value):
            return value

        async with Flow(store=store) as flow:
            await flow.create_step("leaf", Step("leaf", same))
            steps = Step("root", begin_outage), Step("child", FlowExecuteOperation("leaf"), after="root")
            await flow.create_steps("nested", steps)
            return await flow.call("nested", b"x")

    assert run_virtual(main()) == b"x"

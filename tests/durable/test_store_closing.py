"""Who makes a store closes it: a Store object that flows are given stays open, one made from an url does not."""

import asyncio
import threading

import pytest

from flow_core import Executor, Flow, Step
from flow_core.errors import StoreUnavailable
from flow_core.stores.sqlite import SqliteStore
from tests.aio import run


async def double(value):
    return 2 * value


async def flow_on(store, name):
    flow = Flow(store=store, executor=Executor(name=name))
    await flow.create_step("f", Step("a", double))
    return flow


def store_threads():
    return [thread for thread in threading.enumerate() if thread.name == "flow-core-sqlite"]


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/flow.db"


def test_a_flow_that_stops_leaves_the_store_to_the_other_flow(url):
    async def main():
        async with SqliteStore(url) as store:
            one, two = await flow_on(store, "one"), await flow_on(store, "two")
            assert await two.call("f", 1) == 2
            await one.stop()
            assert await two.call("f", 2) == 4
            await two.stop()
            assert [*await store.check()] == []
            three = await flow_on(store, "one")
            assert await three.call("f", 3) == 6
            await three.stop()

    run(main())


def test_two_flows_may_open_the_store_that_they_share_at_once(url):
    async def main():
        store = SqliteStore(url)
        one, two = await asyncio.gather(flow_on(store, "one"), flow_on(store, "two"))
        assert [await one.call("f", 1), await two.call("f", 1)] == [2, 2]
        assert len(store_threads()) == 1
        await asyncio.gather(one.stop(), two.stop())
        assert len((await store.list()).items) == 2
        await store.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            await store.list()

    run(main())


def test_a_store_made_from_an_url_is_closed_with_the_flow(url):
    async def main():
        flow = await flow_on(url, "one")
        assert await flow.call("f", 1) == 2
        assert len(store_threads()) == 1
        await flow.stop()
        assert store_threads() == []

    run(main())


def test_a_store_that_was_given_stays_open_when_the_flow_can_not_open(url):
    async def main():
        async with SqliteStore(url) as store:
            await store.save_definition("f", 1, b"damaged")
            with pytest.raises(Exception, match="f"):
                await Flow(store=store).open()
            assert len(await store.definitions()) == 1

    run(main())

"""Records of many executions share a commit, on any machine: while one is on its way the next one grows."""

import asyncio

from flow_core import Flow, Step
from flow_core.stores import MemoryStore
from tests.aio import run_virtual


class SlowStore(MemoryStore):
    """Takes a second for each commit, and counts them."""

    commits = 0

    async def commit(self, *arguments, **keywords):
        self.commits += 1
        await asyncio.sleep(1)
        return await super().commit(*arguments, **keywords)


async def nothing():
    pass


def test_executions_that_start_at_once_share_their_commits():
    async def main():
        async with SlowStore() as store, Flow(store=store) as flow:
            await flow.create_step("f", Step("a", nothing))
            before = store.commits
            await asyncio.gather(*(flow.execute("f", id=f"e{n}") for n in range(1000)))
            assert store.commits - before < 10
            assert len((await store.list(limit=2000)).items) == 1000

    run_virtual(main())

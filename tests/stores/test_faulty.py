"""The wrapper does what it says, and sending again under the same id is enough for every fault that passes."""

import pytest

from flow_core.errors import StoreUnavailable
from flow_core.stores.memory import MemoryStore
from flow_core.stores.sqlite import SqliteStore
from tests.aio import run
from tests.stores.contract import done, start
from tests.stores.faulty import FAULTS, Faulty


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_each_fault_is_told_and_only_one_is_written(fault):
    async def main():
        async with Faulty(MemoryStore(), [fault]) as store:
            with pytest.raises(FAULTS[fault][1], match=fault):
                await store.commit(await store.begin("me", 10), [start()])
            assert bool(await store.load("e")) == (fault == "written")

    run(main())


@pytest.mark.parametrize("make", [lambda path: MemoryStore(), SqliteStore])
def test_sent_again_until_it_works_is_written_once(make, tmp_path):
    async def main():
        async with Faulty(
            make(str(tmp_path / "x.db")), ["timeout", "written", "unavailable", "full", "written"]
        ) as store:
            epoch = await store.begin("me", 10)
            records = [start(), *(done(step=f"s{n}") for n in range(3))]
            for number, record in enumerate(records):
                while True:
                    try:
                        await store.commit(epoch, [record], commit_id=number)
                        break
                    except StoreUnavailable:
                        pass
            assert len(store.told) == 5
            assert [*await store.load("e")] == records

    run(main())

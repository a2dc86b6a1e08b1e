"""A process that commits one step after the other and prints the number of each after its commit has returned.

What fails as unavailable is told by name and sent again under the same id, as an executor would; a lost lease ends it.
"""

import asyncio
import itertools
import sys

from flow_core.errors import LeaseLost, StoreUnavailable
from flow_core.model.records import ExecutionStarted, StepEnded


def store_of(place, *schema):
    if place.startswith("postgresql:"):
        from flow_core.stores.postgres import PostgresStore

        return PostgresStore(place, schema=schema[0])
    from flow_core.stores.sqlite import SqliteStore

    return SqliteStore(place)


async def main(store):
    async with store:
        epoch = await store.begin("child", 10)
        await store.commit(epoch, [ExecutionStarted("e", "f", 1, b"")])
        for n in itertools.count():
            while True:
                try:
                    await store.commit(epoch, [StepEnded("e", f"s{n}", 1, 3, b"x" * 64)], commit_id=n)
                    break
                except StoreUnavailable as error:
                    print(type(error).__name__, flush=True)
                except LeaseLost:
                    print("LeaseLost", flush=True)
                    return
            print(n, flush=True)


asyncio.run(main(store_of(*sys.argv[1:])))

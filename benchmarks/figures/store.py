"""How many outcomes a second the SQLite store commits, 1,000 executions in flight, 64-byte payloads, FULL.

At the store's own level: no engine. `rows_per_s`: each round sends one StepEnded of every execution in one commit and
waits for it. `lonely_us` is one commit of one record, nothing else under way: the price of the disk.
"""

import gc
import tempfile
from time import perf_counter

from flow_core import run
from flow_core.model.records import ExecutionStarted, StepEnded
from flow_core.stores import Store
from flow_core.stores.sqlite import SqliteStore

label = "outcomes committed to SQLite (FULL), 1,000 executions in flight"
units = {"rows_per_s": "/s", "lonely_us": "us"}

IN_FLIGHT = 1_000
PAYLOAD = b"x" * 64


async def commits(made: Store, rounds: int) -> dict[str, float]:
    """The two figures of any store."""
    ids = [f"019ac1f0-0000-7000-8000-{n:012d}" for n in range(IN_FLIGHT)]
    async with made as store:
        epoch = await store.begin("bench", 60)
        await store.commit(epoch, [ExecutionStarted(id_, "f", 1, PAYLOAD) for id_ in ids])
        batches = [[StepEnded(id_, f"s{n}", 1, 3, PAYLOAD) for id_ in ids] for n in range(rounds)]
        gc.collect()
        begun = perf_counter()
        for number, batch in enumerate(batches):
            await store.commit(epoch, batch, commit_id=number)
        together = perf_counter() - begun
        begun = perf_counter()
        for n in range(rounds):
            await store.commit(epoch, [StepEnded(ids[0], f"lonely{n}", 1, 3, PAYLOAD)])
        lonely = perf_counter() - begun
    rows = rounds * IN_FLIGHT
    return {"rows_per_s": rows / together, "lonely_us": lonely / rounds * 1e6}


def measure(quick: bool = False) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        return run(commits(SqliteStore(f"sqlite:///{folder}/flow.db"), 5 if quick else 40))

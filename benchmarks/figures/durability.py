"""What one lonely durable execution waits for, and what many cost together, on SQLite (`synchronous=FULL`).

`commits_per_step`: transactions, each with one fsync, of an execution of a chain that runs alone, divided by its steps;
its start counts too. `lonely_step_us` beside `fsync_us`, the median of bare 4 KiB appends with fdatasync in the same
folder: what the disk asks for. `steps_s`: a chain of ten steps, 1,000 executions in flight, 64-byte payloads.
"""

import asyncio
import gc
import os
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

from flow_core import Executor, Flow, Step, run

label = "durable steps on SQLite (FULL)"
units = {"steps_s": "1/s", "lonely_step_us": "us", "fsync_us": "us", "commits_per_step": "fsyncs"}

PAYLOAD = b"x" * 64
STEPS = 10
IN_FLIGHT = 1_000


async def work(value: bytes) -> bytes:
    return PAYLOAD


def fsync_us(folder: str, count: int) -> float:
    """The price of one durable append, microseconds."""
    taken = []
    with open(Path(folder) / "probe", "wb", buffering=0) as file:
        for _ in range(count):
            begun = perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            taken.append(perf_counter() - begun)
    return statistics.median(taken) * 1e6


async def executions(store: str, count: int, lonely: int) -> dict[str, float]:
    async with Flow(store=store, executor=Executor(keep=0)) as flow:
        chain = [Step(f"s{n}", work, after=[f"s{n - 1}"] if n else []) for n in range(STEPS)]
        await flow.create_steps("chain", chain)
        await flow.execute("chain", PAYLOAD)
        before = flow.executor.statistics().commits
        begun = perf_counter()
        for _ in range(lonely):
            await flow.execute("chain", PAYLOAD)
        alone = perf_counter() - begun
        commits = flow.executor.statistics().commits - before
        left = iter(range(count))

        async def client() -> None:
            for _ in left:
                await flow.execute("chain", PAYLOAD)

        gc.collect()
        begun = perf_counter()
        await asyncio.gather(*(client() for _ in range(IN_FLIGHT)))
        together = perf_counter() - begun
    return {
        "steps_s": count * STEPS / together,
        "lonely_step_us": alone / lonely / STEPS * 1e6,
        "commits_per_step": commits / lonely / STEPS,
    }


def measure(quick: bool = False) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        values = run(executions(f"sqlite:///{folder}/flow.db", 2_000 if quick else 20_000, 10 if quick else 50))
        return {**values, "fsync_us": fsync_us(folder, 20 if quick else 200)}

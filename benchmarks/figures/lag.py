"""How long other tasks on the loop wait while 1,000,000 instant steps drain, in milliseconds.

A ticker task yields with `sleep(0)` and notes the time between its turns, from just before `execute` is called until it
has returned; so starting the execution and putting its result together count too. The plan is compiled before.
Garbage collection is on.
"""

import asyncio
import gc
from time import perf_counter

from benchmarks import shapes
from benchmarks.figures._common import NAME, random_steps
from benchmarks.measure import percentile
from benchmarks.workload import REQUEST, Case, plain_steps
from flow_core import Flow, Step, run

label = "longest wait of another task, 1,000,000 instant steps"
units = {"random_ms": "ms", "random_p99_ms": "ms", "fan_ms": "ms", "fan_p99_ms": "ms"}


def fan_steps(nodes: int) -> list[Step]:
    dag = shapes.dag_of(Case("fan", "noop", nodes))
    functions = plain_steps(dag, "noop", "async")
    return [
        Step(f"s{node}", functions[node], after=[f"s{p}" for p in before], input=f"s{before[0]}" if before else None)
        for node, before in enumerate(dag.predecessors)
    ]


async def gaps(steps: list[Step]) -> list[float]:
    """Seconds between the ticker's turns."""
    found: list[float] = []

    async def ticker() -> None:
        last = perf_counter()
        while True:
            await asyncio.sleep(0)
            now = perf_counter()
            found.append(now - last)
            last = now

    async with Flow() as flow:
        await flow.create_steps(NAME, steps)
        flow.plan(NAME)
        gc.collect()
        ticking = asyncio.create_task(ticker())
        await asyncio.sleep(0)
        await flow.execute(NAME, REQUEST)
        await asyncio.sleep(0)
        ticking.cancel()
    return found


def measure(quick: bool = False) -> dict[str, float]:
    nodes = 100_000 if quick else 1_000_000
    values = {}
    for name, make in (("random", random_steps), ("fan", fan_steps)):
        found = run(gaps(make(nodes)))
        values[f"{name}_ms"] = max(found) * 1e3
        values[f"{name}_p99_ms"] = percentile(found, 0.99) * 1e3
    return values

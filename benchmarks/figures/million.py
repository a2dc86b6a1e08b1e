"""A random graph of 1,000,000 steps planned and run once, cold, in seconds. Making the Step objects is not counted."""

import gc
from time import perf_counter

from benchmarks.figures._common import NAME, random_steps
from benchmarks.workload import REQUEST
from flow_core import Flow, run

label = "1,000,000 steps, planned and run"
units = {"plan_s": "s", "run_s": "s", "total_s": "s"}


async def once(nodes: int) -> dict[str, float]:
    steps = random_steps(nodes)
    async with Flow() as flow:
        gc.collect()
        begun = perf_counter()
        await flow.create_steps(NAME, steps)
        flow.plan(NAME)
        planned = perf_counter()
        await flow.execute(NAME, REQUEST)
        ended = perf_counter()
    return {"plan_s": planned - begun, "run_s": ended - planned, "total_s": ended - begun}


def measure(quick: bool = False) -> dict[str, float]:
    return run(once(100_000 if quick else 1_000_000))

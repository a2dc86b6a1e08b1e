"""Engine memory beside the user's objects, in bytes a step, at 1,000,000 steps.

Resident memory is read once the Step objects exist, again when they are registered and compiled, and its peak while
one execution runs. tracemalloc would not see what the compiled core allocates. `peak` counts everything above the
user's own objects, what only registration needs for a moment included; the outputs are the request itself.
"""

import gc

from benchmarks.figures._common import NAME, random_steps
from benchmarks.measure import peak, reset_peak, resident
from benchmarks.workload import REQUEST
from flow_core import Flow, run

label = "engine memory beside the user's objects"
units = {"planned_bytes": "bytes/step", "execution_bytes": "bytes/step", "peak_bytes": "bytes/step"}


async def once(nodes: int) -> dict[str, float]:
    async with Flow() as warm:  # what is allocated once per process is not a cost of a step
        await warm.create_steps(NAME, random_steps(100))
        await warm.execute(NAME, REQUEST)
    steps = random_steps(nodes)
    gc.collect()
    before = resident()
    if not reset_peak():
        raise OSError("this system does not let a process reset its peak memory (/proc/self/clear_refs)")
    async with Flow() as flow:
        await flow.create_steps(NAME, steps)
        flow.plan(NAME)
        gc.collect()
        planned = resident()
        await flow.execute(NAME, REQUEST)
        highest = peak()
    return {
        "planned_bytes": (planned - before) / nodes,
        "execution_bytes": max(0, highest - planned) / nodes,
        "peak_bytes": (highest - before) / nodes,
    }


def measure(quick: bool = False) -> dict[str, float]:
    return run(once(100_000 if quick else 1_000_000))

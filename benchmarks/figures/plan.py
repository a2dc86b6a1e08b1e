"""Planning a revision of the random graph whose Step objects already exist, in microseconds a step.

`register` is `create_steps` of the Step objects (names, cycle check), `compile` is `flow.plan` (the compiled graph),
`total` their sum: the median of fresh flows, each registered and compiled once.
"""

import gc
from statistics import median
from time import perf_counter

from benchmarks.figures._common import NAME, random_steps
from flow_core import Flow, run

label = "plan of a revision, Step objects already made"
units = {"register_us": "us/step", "compile_us": "us/step", "total_us": "us/step"}
NODES = 10_000


async def sample(nodes: int, count: int) -> list[tuple[float, float]]:
    steps = random_steps(nodes)
    found = []
    for _ in range(count):
        async with Flow() as flow:
            gc.collect()
            begun = perf_counter()
            await flow.create_steps(NAME, steps)
            registered = perf_counter()
            flow.plan(NAME)
            found.append((registered - begun, perf_counter() - registered))
    return found[1:]


def measure(quick: bool = False) -> dict[str, float]:
    found = run(sample(NODES, 4 if quick else 16))
    scale = 1e6 / NODES
    return {
        "register_us": median(registered for registered, _ in found) * scale,
        "compile_us": median(compiled for _, compiled in found) * scale,
        "total_us": median(sum(pair) for pair in found) * scale,
    }

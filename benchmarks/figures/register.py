"""Making 10,000 steps and registering them one by one with `create_step` into one flow, in seconds.

In order, every step after its predecessors; and backwards, where every step names steps nobody has registered yet.
"""

import gc
from time import perf_counter

from benchmarks import shapes
from benchmarks.figures._common import NAME
from benchmarks.workload import Case, plain_steps
from flow_core import Flow, Step, run

label = "10,000 steps made and registered one by one"
units = {"forward_s": "s", "backward_s": "s"}


async def register(nodes: int, backward: bool) -> float:
    dag = shapes.dag_of(Case("random", "noop", nodes))
    functions = plain_steps(dag, "noop", "async")
    order = range(nodes - 1, -1, -1) if backward else range(nodes)
    async with Flow() as flow:
        gc.collect()
        begun = perf_counter()
        for node in order:
            after = [f"s{predecessor}" for predecessor in dag.predecessors[node]]
            step = Step(f"s{node}", functions[node], after=after, input=after[0] if after else None)
            await flow.create_step(NAME, step)
        return perf_counter() - begun


def measure(quick: bool = False) -> dict[str, float]:
    nodes = 1_000 if quick else 10_000
    scale = 10_000 / nodes
    return {
        "forward_s": run(register(nodes, backward=False)) * scale,
        "backward_s": run(register(nodes, backward=True)) * scale,
    }

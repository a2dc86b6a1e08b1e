"""What several figures share: ready Step objects for a random graph, and settling the process before a reading."""

import gc
from statistics import median
from time import perf_counter

from benchmarks import shapes
from benchmarks.workload import REQUEST, Case, plain_steps
from flow_core import Flow, Step

NAME = "figure"


def random_steps(nodes: int) -> list[Step]:
    """Step objects of the random graph, no-op functions, first predecessor as input: the user's side of a flow."""
    dag = shapes.dag_of(Case("random", "noop", nodes))
    functions = plain_steps(dag, "noop", "async")
    ids = [f"s{node}" for node in range(nodes)]
    return [
        Step(ids[node], functions[node], after=[ids[p] for p in before], input=ids[before[0]] if before else None)
        for node, before in enumerate(dag.predecessors)
    ]


async def timed_executions(flow: Flow, count: int) -> float:
    """Median seconds of `count` executions, one after the other."""
    seconds = []
    for _ in range(count):
        gc.collect()
        begun = perf_counter()
        await flow.execute(NAME, REQUEST)
        seconds.append(perf_counter() - begun)
    return median(seconds)

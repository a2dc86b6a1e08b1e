"""A random graph: up to three predecessors a step, drawn among all earlier steps. The general case."""

from benchmarks.workload import VARIANTS, Case, Dag, random_predecessors

label = "random graph of 10,000 steps and 30,000 edges"


def cases(quick: bool = False) -> list[Case]:
    return [Case("random", variant, 10_000) for variant in VARIANTS]


def dag(nodes: int) -> Dag:
    return Dag(tuple(random_predecessors(nodes)))

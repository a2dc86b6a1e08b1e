"""A fan: one root, n parallel steps, one join. Shows what it costs to have everything ready at the same moment."""

from benchmarks.workload import VARIANTS, Case, Dag

label = "fan of 10,000 steps between a root and a join"


def cases(quick: bool = False) -> list[Case]:
    return [Case("fan", variant, 10_002) for variant in VARIANTS]


def dag(nodes: int) -> Dag:
    """`nodes` counts the root and the join."""
    if nodes < 3:
        raise ValueError("a fan has a root, a join and at least one step between them")
    return Dag(((), *((0,) for _ in range(nodes - 2)), tuple(range(1, nodes - 1))))

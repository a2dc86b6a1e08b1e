"""A chain: every step waits for the one before it. Nothing to overlap, so this is pure hand-over cost."""

from benchmarks.workload import VARIANTS, Case, Dag

label = "chain of 1,000 steps"


def cases(quick: bool = False) -> list[Case]:
    return [Case("chain", variant, 1_000) for variant in VARIANTS]


def dag(nodes: int) -> Dag:
    return Dag(tuple((node - 1,) if node else () for node in range(nodes)))

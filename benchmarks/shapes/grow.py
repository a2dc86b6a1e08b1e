"""The random graph at growing sizes: shows where caches end and where an engine is not linear."""

from benchmarks.shapes import random
from benchmarks.workload import VARIANTS, Case, Dag

label = "random graph of 1,000 to 1,000,000 steps"
SIZES = (1_000, 10_000, 100_000, 1_000_000)


def cases(quick: bool = False) -> list[Case]:
    sizes = SIZES[:2] if quick else SIZES
    return [Case("grow", variant, size) for size in sizes for variant in VARIANTS]


def dag(nodes: int) -> Dag:
    return random.dag(nodes)

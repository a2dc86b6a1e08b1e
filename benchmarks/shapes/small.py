"""Many executions of one small flow: the everyday load of a service, where the cost per execution shows.

a -> b, c, d;  b, c -> e;  c, d -> f;  e, f -> g;  g -> h. Once with all executions started at once (which flatters
engines that make few objects) and once with 100 in flight.
"""

from benchmarks.workload import VARIANTS, Case, Dag

label = "10,000 executions of an 8-step flow"
STEPS = ((), (0,), (0,), (0,), (1, 2), (2, 3), (4, 5), (6,))


def cases(quick: bool = False) -> list[Case]:
    count = 1_000 if quick else 10_000
    return [Case("small", variant, len(STEPS), count, load) for load in (count, 100) for variant in VARIANTS]


def dag(nodes: int = len(STEPS)) -> Dag:
    return Dag(STEPS)

"""Many executions of the small flow, every outcome committed to a database before its successors start.

The graph of `small`, 1,000 executions in flight, 64-byte payloads. Only for engines that keep executions.
"""

from benchmarks.shapes.small import STEPS, dag
from benchmarks.workload import Case

__all__ = ["cases", "dag", "label"]

label = "10,000 durable executions of an 8-step flow"


def cases(quick: bool = False) -> list[Case]:
    return [Case("durable", "noop", len(STEPS), 1_500 if quick else 10_000, 1_000)]

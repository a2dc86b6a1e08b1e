"""dask's local schedulers on a hand-made low-level graph: `sync` (one thread, no overlap) and `threaded` (two threads).

The steps are plain functions, as dask's tasks are; there is no suspending form. Executions run one after the other.
The distributed scheduler crosses processes and is not comparable; it is left out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import dask
import dask.threaded

from benchmarks.workload import Workload

label = "dask"
requires = ("dask",)
modes = {"sync": "sync", "threaded": "sync"}
variants = ("noop",)
limits = {"small": 500, "grow": 10_000}


@dataclass(slots=True)
class Plan:
    workload: Workload
    get: Callable[..., Any]
    graph: dict[str, tuple[Any, ...]]
    outputs: list[str]


def call(step: Callable[[Any], Any], first: Any, *others: Any) -> Any:
    """A task: dask hands over every predecessor's output, the step takes the first."""
    return step(first)


def build(workload: Workload) -> Plan:
    graph: dict[str, tuple[Any, ...]] = {}
    for node, before in enumerate(workload.dag.predecessors):
        given = [f"s{predecessor}" for predecessor in before] or [workload.request]
        graph[f"s{node}"] = (call, workload.steps[node], *given)
    get = dask.get if workload.mode == "sync" else partial(dask.threaded.get, num_workers=2)
    return Plan(workload, get, graph, [f"s{sink}" for sink in workload.dag.sinks()])


def run(plan: Plan) -> Any:
    count = plan.workload.case.executions
    if not count:
        return plan.get(plan.graph, plan.outputs)[-1]
    latencies = []
    for _ in range(count):
        begun = perf_counter()
        plan.get(plan.graph, plan.outputs)
        latencies.append(perf_counter() - begun)
    return latencies

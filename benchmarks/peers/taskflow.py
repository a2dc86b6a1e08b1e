"""OpenStack TaskFlow: a graph_flow under the serial and the parallel (two threads) engine, in-memory storage.

An engine is loaded, compiled and prepared when it is built; one engine serves one execution, so preparing engines is
part of the run when many executions are measured; the thread pool is shared by all of them (an engine that makes its
own takes a second to put it away). The steps are plain functions; there is no suspending form.
"""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import futurist
from taskflow import engines, task
from taskflow.patterns import graph_flow

from benchmarks.workload import Workload

label = "TaskFlow (OpenStack)"
requires = ("taskflow",)
modes = {"serial": "sync", "parallel": "sync"}
variants = ("noop",)
limits = {"chain": 200, "fan": 202, "random": 200, "small": 30, "grow": 1_000}


class Call(task.Task):
    """A node: takes every predecessor's output, gives the first to the step."""

    def __init__(self, node: int, step: Any, before: tuple[int, ...], request: bytes) -> None:
        names = [f"r{predecessor}" for predecessor in before]
        super().__init__(name=f"s{node}", provides=f"r{node}", requires=names, auto_extract=False)
        self.step = step
        self.first = names[0] if names else None
        self.request = request

    def execute(self, **given: Any) -> Any:
        return self.step(given[self.first] if self.first else self.request)


@dataclass(slots=True)
class Plan:
    workload: Workload
    threads: Any
    engine: Any


def engine_of(workload: Workload, threads: Any) -> Any:
    flow = graph_flow.Flow("benchmark")
    flow.add(
        *(
            Call(node, workload.steps[node], before, workload.request)
            for node, before in enumerate(workload.dag.predecessors)
        )
    )
    engine = engines.load(flow, engine=workload.mode, **({"executor": threads} if threads else {}))
    engine.compile()
    engine.prepare()
    return engine


def build(workload: Workload) -> Plan:
    threads = None if workload.mode == "serial" else futurist.ThreadPoolExecutor(max_workers=2)
    return Plan(workload, threads, None if workload.case.executions else engine_of(workload, threads))


def run(plan: Plan) -> Any:
    count = plan.workload.case.executions
    if not count:
        plan.engine.run()
        return plan.engine.storage.fetch(f"r{plan.workload.dag.nodes - 1}")
    latencies = []
    for _ in range(count):
        begun = perf_counter()
        engine_of(plan.workload, plan.threads).run()
        latencies.append(perf_counter() - begun)
    return latencies


def close(plan: Plan) -> None:
    if plan.threads:
        plan.threads.shutdown()

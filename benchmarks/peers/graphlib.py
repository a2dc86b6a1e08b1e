"""The standard library's `graphlib.TopologicalSorter`, which knows order and nothing else.

`walk`: get_ready/done until the graph is empty, no step is called (except in the proving run): the price of order
alone. `tasks`: the documented pattern, a sorter that feeds asyncio tasks, on uvloop. A sorter serves one execution,
so preparing it belongs to the run when many executions are measured.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from graphlib import TopologicalSorter
from time import perf_counter
from typing import Any

import uvloop

from benchmarks.measure import burst, workers
from benchmarks.workload import Workload

label = "graphlib"
requires = ("uvloop",)
modes = {"tasks": "async", "walk": "sync"}
variants = ("noop", "suspend")


@dataclass(slots=True)
class Plan:
    workload: Workload
    graph: dict[int, tuple[int, ...]]
    sorter: TopologicalSorter[int] | None
    visit: Callable[[int, list[Any]], Any] | None


def start(main: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def prepared(graph: dict[int, tuple[int, ...]]) -> TopologicalSorter[int]:
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    return sorter


def build(workload: Workload) -> Plan:
    graph = dict(enumerate(workload.dag.predecessors))

    def visit(node: int, outputs: list[Any]) -> None:
        before = graph[node]
        outputs[node] = workload.steps[node](outputs[before[0]] if before else workload.request)

    sorter = None if workload.case.executions else prepared(graph)
    return Plan(workload, graph, sorter, visit if workload.checked and workload.mode == "walk" else None)


def walk(plan: Plan, sorter: TopologicalSorter[int]) -> Any:
    outputs: list[Any] = [None] * len(plan.graph)
    while sorter.is_active():
        ready = sorter.get_ready()
        if plan.visit:
            for node in ready:
                plan.visit(node, outputs)
        sorter.done(*ready)
    return outputs[-1]


async def tasks(plan: Plan, sorter: TopologicalSorter[int]) -> Any:
    loop = asyncio.get_running_loop()
    graph, steps, request = plan.graph, plan.workload.steps, plan.workload.request
    outputs: list[Any] = [None] * len(graph)
    end = loop.create_future()

    def begin() -> None:
        for node in sorter.get_ready():
            before = graph[node]
            task = loop.create_task(steps[node](outputs[before[0]] if before else request))
            task.add_done_callback(lambda done, node=node: finish(done, node))

    def finish(task: asyncio.Task[Any], node: int) -> None:
        try:
            outputs[node] = task.result()
        except BaseException as error:
            if not end.done():
                end.set_exception(error)
            return
        sorter.done(node)
        begin()
        if not sorter.is_active() and not end.done():
            end.set_result(None)

    begin()
    await end
    return outputs[-1]


async def run(plan: Plan) -> Any:
    case, mode = plan.workload.case, plan.workload.mode
    if plan.sorter is not None:
        return walk(plan, plan.sorter) if mode == "walk" else await tasks(plan, plan.sorter)
    if mode == "walk":
        latencies = []
        for _ in range(case.executions):
            begun = perf_counter()
            walk(plan, prepared(plan.graph))
            latencies.append(perf_counter() - begun)
        return latencies

    async def one() -> None:
        await tasks(plan, prepared(plan.graph))

    if case.in_flight < case.executions:
        return await workers(one, case.executions, case.in_flight)
    return await burst(one, case.executions)

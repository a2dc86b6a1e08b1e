"""Hamilton: one function per node, the plain scheduler (`sync`) and the async scheduler (`async`, on uvloop).

Hamilton derives the graph from parameter names, so the functions are made with the signatures it wants to see. Its
execution recurses over the graph, hence the raised recursion limit and the modest sizes. Telemetry is switched off.
"""

import asyncio
import inspect
import itertools
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import uvloop
from hamilton import ad_hoc_utils, async_driver, scheduler, telemetry

from benchmarks.measure import burst, workers
from benchmarks.workload import Workload

label = "Hamilton"
requires = ("sf-hamilton", "uvloop")
modes = {"sync": "sync", "async": "async"}
variants = ("noop", "suspend")
limits = {"chain": 200, "fan": 1_002, "random": 1_000, "small": 200, "grow": 1_000}

RECURSION = 20_000
_serial = itertools.count()


@dataclass(slots=True)
class Plan:
    workload: Workload
    scheduler: Any
    outputs: list[str]


def start(main: Coroutine[Any, Any, Any]) -> Any:
    telemetry.disable_telemetry()
    sys.setrecursionlimit(RECURSION)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def function_of(node: int, before: tuple[int, ...], workload: Workload) -> Callable[..., Any]:
    step, request = workload.steps[node], workload.request
    names = [f"s{predecessor}" for predecessor in before]
    first = names[0] if names else None

    def plain(**given: Any) -> bytes:
        return step(given[first] if first else request)

    async def asynchronous(**given: Any) -> bytes:
        return await step(given[first] if first else request)

    function: Any = asynchronous if workload.mode == "async" else plain
    function.__name__ = function.__qualname__ = f"s{node}"
    keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD
    function.__signature__ = inspect.Signature(
        [inspect.Parameter(name, keyword, annotation=bytes) for name in names], return_annotation=bytes
    )
    function.__annotations__ = {**dict.fromkeys(names, bytes), "return": bytes}
    return function


async def build(workload: Workload) -> Plan:
    functions = [function_of(node, before, workload) for node, before in enumerate(workload.dag.predecessors)]
    module = ad_hoc_utils.create_temporary_module(*functions, module_name=f"benchmark_{next(_serial)}")
    outputs = [f"s{sink}" for sink in workload.dag.sinks()]
    if workload.mode == "async":
        return Plan(workload, await async_driver.Builder().with_modules(module).build(), outputs)
    return Plan(workload, scheduler.Builder().with_modules(module).build(), outputs)


async def run(plan: Plan) -> Any:
    case = plan.workload.case
    if plan.workload.mode == "sync":
        if not case.executions:
            return plan.scheduler.execute(plan.outputs)[plan.outputs[-1]]
        return [timed(plan) for _ in range(case.executions)]
    if not case.executions:
        return (await plan.scheduler.execute(plan.outputs))[plan.outputs[-1]]

    async def one() -> None:
        await plan.scheduler.execute(plan.outputs)

    if case.in_flight < case.executions:
        return await workers(one, case.executions, case.in_flight)
    return await burst(one, case.executions)


def timed(plan: Plan) -> float:
    begun = perf_counter()
    plan.scheduler.execute(plan.outputs)
    return perf_counter() - begun

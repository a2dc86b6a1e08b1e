"""flow-core through its public `Flow.execute`: statuses, limits, context variables and `current_task` included.

`first`: every step names its first predecessor's output as its input, which is what the other peers hand over.
`mapping`: the default input, a mapping of all predecessors' outputs wherever there are several; the steps return a
constant, as echoing would nest the mappings. Built means: Step objects made, registered, plan compiled.
All at once: the executions are started with `async_=True` and their handles awaited in order, so a latency is an
upper bound. The memory store is used; nothing is durable. The executor is brought up while building, as the rivals'
event loops are.
"""

from collections.abc import Coroutine
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import flow_core
from benchmarks.measure import workers
from benchmarks.workload import Workload
from flow_core import Flow, Step

label = "flow-core"
requires = ("flow-core",)
modes = {"first": "async", "mapping": "async"}
variants = ("noop", "suspend")
constant_modes = ("mapping",)
NAME = "benchmark"


@dataclass(slots=True)
class Plan:
    flow: Flow
    workload: Workload
    last: str


def start(main: Coroutine[Any, Any, Any]) -> Any:
    return flow_core.run(main)


def make_steps(workload: Workload) -> list[Step]:
    """The Step objects of a workload."""
    first = workload.mode == "first"
    made = []
    for node, before in enumerate(workload.dag.predecessors):
        after = [f"s{predecessor}" for predecessor in before]
        source = after[0] if first and after else None
        made.append(Step(f"s{node}", workload.steps[node], after=after, input=source))
    return made


async def warm_up() -> None:
    """A step outside the workload."""


async def build(workload: Workload) -> Plan:
    flow = Flow()
    await flow.__aenter__()
    await flow.execute([Step("warm_up", warm_up)])  # the executor comes up with its first use
    await flow.create_steps(NAME, make_steps(workload))
    flow.plan(NAME)
    return Plan(flow, workload, f"s{workload.dag.nodes - 1}")


async def run(plan: Plan) -> Any:
    case, flow, request = plan.workload.case, plan.flow, plan.workload.request
    if not case.executions:
        execution = await flow.execute(NAME, request)
        return execution.result(plan.last)
    if case.in_flight < case.executions:

        async def one() -> None:
            await flow.execute(NAME, request)

        return await workers(one, case.executions, case.in_flight)
    return await burst(flow, case.executions, request)


async def burst(flow: Flow, count: int, request: bytes) -> list[float]:
    clock = perf_counter
    begun = [(clock(), await flow.execute(NAME, request, async_=True)) for _ in range(count)]
    latencies = []
    for at, handle in begun:
        await handle
        latencies.append(clock() - at)
    return latencies


async def close(plan: Plan) -> None:
    await plan.flow.__aexit__(None, None, None)

"""LangGraph: a compiled StateGraph of async nodes, `ainvoke`d on uvloop, without a checkpointer.

The state is one channel whose last write wins, the cheapest state there is; so a step receives some earlier output and
not its first predecessor's, and only the order is checked. Sizes are small because a super-step costs time in
proportion to the graph.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import uvloop
from langgraph.graph import END, START, StateGraph

from benchmarks.measure import burst, workers
from benchmarks.workload import Workload

label = "LangGraph"
requires = ("langgraph", "uvloop")
modes = {"ainvoke": "async"}
variants = ("noop", "suspend")
limits = {"chain": 300, "fan": 1_002, "random": 300, "small": 300, "grow": 1_000}
checks = "order"


class State(TypedDict):
    data: Annotated[bytes, lambda old, new: new]


@dataclass(slots=True)
class Plan:
    workload: Workload
    graph: Any
    config: dict[str, Any]


def start(main: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def node_of(step: Any) -> Any:
    async def node(state: State) -> dict[str, bytes]:
        return {"data": await step(state["data"])}

    return node


def build(workload: Workload) -> Plan:
    builder = StateGraph(State)
    for node, step in enumerate(workload.steps):
        builder.add_node(f"s{node}", node_of(step))
    for node, before in enumerate(workload.dag.predecessors):
        names = [f"s{predecessor}" for predecessor in before]
        builder.add_edge(names if len(names) > 1 else names[0] if names else START, f"s{node}")
    for sink in workload.dag.sinks():
        builder.add_edge(f"s{sink}", END)
    return Plan(workload, builder.compile(), {"recursion_limit": 10**6})


async def run(plan: Plan) -> Any:
    case = plan.workload.case

    async def one() -> None:
        await plan.graph.ainvoke({"data": plan.workload.request}, plan.config)

    if not case.executions:
        return await one()
    if case.in_flight < case.executions:
        return await workers(one, case.executions, case.in_flight)
    return await burst(one, case.executions)

"""flow-core with `Flow(store="sqlite:///...")` in a temporary folder: WAL, `synchronous=FULL`.

As the other flow-core peer, but every start, outcome and end is on the disk before anything follows from it.
"""

import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flow_core
from benchmarks.measure import burst, workers
from benchmarks.peers.flow_core import NAME, make_steps
from benchmarks.workload import Workload
from flow_core import Flow

label = "flow-core (SQLite)"
requires = ("flow-core",)
modes = {"first": "async"}
variants = ("noop",)
shapes = ("durable",)


@dataclass(slots=True)
class Plan:
    flow: Flow
    workload: Workload
    folder: Any


def start(main: Coroutine[Any, Any, Any]) -> Any:
    return flow_core.run(main)


async def build(workload: Workload) -> Plan:
    folder = tempfile.TemporaryDirectory()
    flow = Flow(store=f"sqlite:///{Path(folder.name) / 'flow.db'}")
    await flow.open()
    await flow.create_steps(NAME, make_steps(workload))
    flow.plan(NAME)
    return Plan(flow, workload, folder)


async def run(plan: Plan) -> Any:
    case, flow, request = plan.workload.case, plan.flow, plan.workload.request
    if not case.executions:
        execution = await flow.execute(NAME, request)
        return execution.result(f"s{plan.workload.dag.nodes - 1}")

    async def one() -> None:
        await flow.execute(NAME, request)

    if case.in_flight < case.executions:
        return await workers(one, case.executions, case.in_flight)
    return await burst(one, case.executions)


async def close(plan: Plan) -> None:
    await plan.flow.stop()
    plan.folder.cleanup()

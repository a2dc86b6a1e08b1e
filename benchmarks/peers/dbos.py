"""DBOS: one durable async workflow, every step a `DBOS.step`, on SQLite in a temporary folder.

Every step's outcome is written to the database, which is what DBOS is for: the figures show the price of durability,
not of scheduling. A workflow is code, so the graph is executed in waves with `asyncio.gather`, as its user would write.
"""

import asyncio
import os
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from dbos import DBOS

from benchmarks.measure import burst, workers
from benchmarks.workload import Workload

label = "DBOS (SQLite)"
requires = ("dbos",)
modes = {"sqlite": "async"}
variants = ("noop", "suspend")
shapes = ("chain", "fan", "random", "small", "grow", "durable")
limits = {"chain": 200, "fan": 202, "random": 200, "small": 30, "grow": 1_000, "durable": 60}


@dataclass(slots=True)
class Plan:
    workload: Workload
    levels: list[list[int]]


# DBOS registers functions once, at import, and serializes their arguments: the graph reaches them through here.
_current: list[Plan] = []


@DBOS.step()
async def step(node: int, value: bytes) -> bytes:
    return await _current[-1].workload.steps[node](value)


@DBOS.workflow()
async def workflow(request: bytes) -> bytes:
    plan = _current[-1]
    before = plan.workload.dag.predecessors
    outputs: list[Any] = [None] * len(before)
    for level in plan.levels:
        calls = [step(node, outputs[before[node][0]] if before[node] else request) for node in level]
        for node, value in zip(level, await asyncio.gather(*calls), strict=True):
            outputs[node] = value
    return outputs[-1]


def start(main: Coroutine[Any, Any, Any]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        url = "sqlite:///" + os.path.join(folder, "dbos.sqlite")
        DBOS(
            config={
                "name": "benchmark",
                "system_database_url": url,
                "log_level": "CRITICAL",
                "run_admin_server": False,
            }
        )
        DBOS.launch()
        try:
            return asyncio.run(main)
        finally:
            DBOS.destroy()


def build(workload: Workload) -> Plan:
    plan = Plan(workload, workload.dag.levels())
    _current[:] = [plan]
    return plan


async def run(plan: Plan) -> Any:
    case = plan.workload.case
    if not case.executions:
        return await workflow(plan.workload.request)

    async def one() -> None:
        await workflow(plan.workload.request)

    if case.in_flight < case.executions:
        return await workers(one, case.executions, case.in_flight)
    return await burst(one, case.executions)

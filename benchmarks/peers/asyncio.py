"""asyncio by hand on uvloop: what a good engineer writes without a workflow engine.

`tasks`: in-degree counters, `create_task` for a step whose counter reached zero, a done-callback that counts down its
successors. The honest rival. `inline`: the same counters, but each step is awaited in place: nothing is concurrent
inside an execution, a suspended step holds up everything, so it is a floor and no rival.
Neither has statuses, limits, retries, timeouts, cancellation of an execution, or names.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import uvloop

from benchmarks.measure import burst, workers
from benchmarks.workload import Workload

label = "asyncio by hand (uvloop)"
requires = ("uvloop",)
modes = {"tasks": "async", "inline": "async"}
variants = ("noop", "suspend")


@dataclass(slots=True)
class Plan:
    """What is worked out once and shared by all executions."""

    workload: Workload
    steps: list[Callable[[Any], Any]]
    first: list[int]
    successors: list[list[int]]
    waiting: list[int]
    roots: list[int]


def start(main: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def build(workload: Workload) -> Plan:
    before = workload.dag.predecessors
    return Plan(
        workload,
        list(workload.steps),
        [p[0] if p else -1 for p in before],
        workload.dag.successors(),
        [len(p) for p in before],
        [node for node, p in enumerate(before) if not p],
    )


async def with_tasks(plan: Plan) -> list[Any]:
    loop = asyncio.get_running_loop()
    create_task = loop.create_task
    steps, first, successors = plan.steps, plan.first, plan.successors
    waiting = plan.waiting.copy()
    outputs: list[Any] = [None] * len(steps)
    open_steps = len(steps)
    end = loop.create_future()
    request = plan.workload.request

    def begin(node: int) -> None:
        source = first[node]
        task = create_task(steps[node](request if source < 0 else outputs[source]))
        task.add_done_callback(lambda done, node=node: finish(done, node))

    def finish(task: asyncio.Task[Any], node: int) -> None:
        nonlocal open_steps
        try:
            outputs[node] = task.result()
        except BaseException as error:
            if not end.done():
                end.set_exception(error)
            return
        open_steps -= 1
        for successor in successors[node]:
            waiting[successor] -= 1
            if not waiting[successor]:
                begin(successor)
        if not open_steps:
            end.set_result(None)

    for root in plan.roots:
        begin(root)
    await end
    return outputs


async def inline(plan: Plan) -> list[Any]:
    steps, first, successors = plan.steps, plan.first, plan.successors
    waiting = plan.waiting.copy()
    outputs: list[Any] = [None] * len(steps)
    ready = deque(plan.roots)
    request = plan.workload.request
    while ready:
        node = ready.popleft()
        source = first[node]
        outputs[node] = await steps[node](request if source < 0 else outputs[source])
        for successor in successors[node]:
            waiting[successor] -= 1
            if not waiting[successor]:
                ready.append(successor)
    return outputs


EXECUTE = {"tasks": with_tasks, "inline": inline}


async def run(plan: Plan) -> Any:
    case = plan.workload.case
    execute = EXECUTE[plan.workload.mode]
    if not case.executions:
        return (await execute(plan))[-1]

    async def one() -> None:
        await execute(plan)

    if case.in_flight < case.executions:
        return await workers(one, case.executions, case.in_flight)
    return await burst(one, case.executions)

"""``flow-core run FILE``: executes a recorded workflow again."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flow_core import Execution, Executor, Flow, Step, run
from flow_core.demo.screen import ProgressBar, progress_bar
from flow_core.demo.wfformat import Workflow, read_workflow, step_ids

__all__ = ["Figures", "execute", "run_file"]

#: Seconds between two looks of the progress bar.
REFRESH = 0.1
#: No limit: as many steps at the same time as a flow can have.
UNLIMITED = 1_000_000


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run showed. Times are seconds, after the speed-up.

    Attributes:
        makespan: measured, from the start of the execution to its end.
        critical_path: the longest chain of runtimes in the file: no engine can be faster.
        ratio: makespan / critical_path.
        critical_steps: ids of the tasks on that chain.
        one_sided: order relations that only one of the two tasks declared.
    """

    name: str
    tasks: int
    edges: int
    speedup: float
    concurrency: int | None
    makespan: float
    critical_path: float
    ratio: float | None
    steps_per_second: float | None
    peak_parallelism: int
    one_sided: int
    critical_steps: list[str]


class Sleepers:
    """Makes the functions of the steps, and counts how many of them are under way."""

    def __init__(self) -> None:
        self.running = 0
        self.peak = 0

    def sleeper(self, seconds: float) -> Callable[[], Coroutine[Any, Any, None]]:
        """A function that sleeps so long."""

        async def sleep() -> None:
            self.running += 1
            self.peak = max(self.peak, self.running)
            try:
                await asyncio.sleep(seconds)
            finally:
                self.running -= 1

        return sleep


def steps_of(workflow: Workflow, speedup: float, sleepers: Sleepers) -> list[Step]:
    """A step for each task. Its input is the request: what a sleeper is given does not matter."""
    ids = step_ids(workflow.ids)
    return [
        Step(name, sleepers.sleeper(seconds / speedup), after=[ids[parent] for parent in parents])
        for name, seconds, parents in zip(ids, workflow.runtimes, workflow.parents, strict=True)
    ]


async def execute(
    workflow: Workflow, *, speedup: float = 100.0, concurrency: int | None = None, bar: ProgressBar | None = None
) -> Figures:
    """Execute a workflow on the running loop and measure it. Cancelling this aborts the execution."""
    sleepers = Sleepers()
    steps = steps_of(workflow, speedup, sleepers)
    async with Flow(executor=Executor(concurrency=UNLIMITED)) as flow:
        await flow.create_steps("workflow", steps)
        execution = await flow.execute("workflow", concurrency=concurrency, async_=True)
        watcher = asyncio.create_task(_watch(execution, bar)) if bar is not None else None
        try:
            await execution
        finally:
            if not execution.over:
                await execution.abort()
            if watcher is not None:
                await watcher
    times = [move.time for move in execution.history() if move.step is None]
    makespan = (times[-1] - times[0]).total_seconds()
    graph = workflow.graph()
    critical_path, nodes = graph.critical_path([seconds / speedup for seconds in workflow.runtimes])
    return Figures(
        name=workflow.name, tasks=len(steps), edges=graph.m, speedup=speedup, concurrency=concurrency,
        makespan=makespan, critical_path=critical_path,
        ratio=makespan / critical_path if critical_path else None,
        steps_per_second=len(steps) / makespan if makespan else None,
        peak_parallelism=sleepers.peak, one_sided=workflow.one_sided,
        critical_steps=[workflow.ids[node] for node in nodes],
    )  # fmt: skip


async def _watch(execution: Execution, bar: ProgressBar) -> None:
    """Keep the bar up to date: a look now and then, because a step costs less than drawing one."""
    while not execution.over:
        bar.update(*execution.counts[1:3])
        ended = asyncio.ensure_future(execution.wait())
        await asyncio.wait({ended}, timeout=REFRESH)
        ended.cancel()
    bar.update(*execution.counts[1:3])


def run_file(file: str, *, speedup: float, concurrency: int | None, as_json: bool, quiet: bool) -> None:
    """The command. Raises `BadFile`, and KeyboardInterrupt when it was interrupted and has cleaned up."""
    workflow = read_workflow(Path(file))
    if quiet:
        figures = run(execute(workflow, speedup=speedup, concurrency=concurrency))
    else:
        with progress_bar(workflow.name, len(workflow.ids), sys.stderr) as bar:
            figures = run(execute(workflow, speedup=speedup, concurrency=concurrency, bar=bar))
    print(json.dumps(asdict(figures)) if as_json else report(figures))


def report(figures: Figures) -> str:
    """The figures for people."""
    limit = "" if figures.concurrency is None else f" (limit {figures.concurrency})"
    lines = [
        ("workflow", figures.name),
        ("tasks, edges", f"{figures.tasks:,} tasks, {figures.edges:,} edges"),
        ("makespan", f"{figures.makespan:.3f} s measured, at {figures.speedup:g} times the recorded speed"),
        ("critical path", f"{figures.critical_path:.3f} s over {len(figures.critical_steps)} tasks"),
        ("ratio", "-" if figures.ratio is None else f"{figures.ratio:.3f} (1: nothing but the order took time)"),
        ("steps/s", "-" if figures.steps_per_second is None else f"{figures.steps_per_second:,.0f}"),
        ("peak parallelism", f"{figures.peak_parallelism} steps{limit}"),
    ]
    if figures.one_sided:
        lines.append(("note", f"{figures.one_sided} edges are declared by one of their two tasks only; they count"))
    text = "\n".join(f"{name:<17} {value}" for name, value in lines)
    return f"{text}\ncritical path: {' -> '.join(_shortened(figures.critical_steps))}"


def _shortened(steps: list[str], most: int = 12) -> list[str]:
    if len(steps) <= most:
        return steps
    return [*steps[: most // 2], f"({len(steps) - most} more)", *steps[-most // 2 :]]

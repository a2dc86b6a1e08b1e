"""A scheduler with the smallest handler that works, and plans made of functions.

Lives here: what the tests of the scheduler and of the world inside a step share. Does not live here: loops
(``tests/aio.py``), machines and executors (``tests/runtime``).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from flow_core.core.graph import Graph
from flow_core.core.handler import Handler
from flow_core.core.plan import Flag, Kind, Plan
from flow_core.core.run import Run
from flow_core.core.scheduler import Scheduler
from flow_core.core.status_table import StatusTable
from flow_core.core.stepper import Stepper
from flow_core.model.operation import LocalOperation
from flow_core.model.status import Status
from flow_core.model.step import Step

__all__ = ["Held", "Main", "World", "echo", "fan", "in_a_step", "line", "plan_of", "timed", "turns"]


#: Runs a coroutine to its end on a loop.
Main = Callable[[Coroutine[Any, Any, Any]], Any]


class Held(Run):
    """A run that weak references can watch, and that shows its outputs."""

    __slots__ = ("__weakref__",)

    def output(self, index: int) -> Any:
        return self._output(index)


async def echo(value: Any) -> Any:
    return value


async def turns(count: int = 5) -> None:
    """Let the loop go round a few times."""
    for _ in range(count):
        await asyncio.sleep(0)


def plan_of(
    functions: Mapping[str, Callable[..., Any]],
    after: Mapping[str, Sequence[str]] | None = None,
    configured: Mapping[str, Mapping[str, Any]] | None = None,
) -> Plan:
    """A plan of named functions; ``configured`` holds what `Plan.configure` is told about a step on top."""
    after, configured = after or {}, configured or {}
    names = list(functions)
    index = {name: v for v, name in enumerate(names)}
    edges = [(index[before], v) for v, name in enumerate(names) for before in after.get(name, ())]
    graph = Graph(len(names), [u for u, _ in edges], [v for _, v in edges])
    plan = Plan(graph, tuple(Step(n, LocalOperation(functions[n]), after=after.get(n, ())) for n in names), "kit")
    assert not plan.compile()
    for name, more in configured.items():
        v, operation = index[name], plan.items[index[name]].operation
        told = {
            "call": operation.function,
            "kind": Kind.KIND_COROUTINE if operation.is_async else Kind.KIND_THREAD,
            "arity": operation.arity,
            "source": plan.source(v),
        }
        plan.configure(v, **{**told, **more})
    return plan


def line(*functions: Callable[..., Any], **configured: Any) -> Plan:
    """s0 -> s1 -> ..., every step told the same."""
    names = [f"s{i}" for i in range(len(functions))]
    return plan_of(
        dict(zip(names, functions, strict=True)),
        {name: [names[i]] for i, name in enumerate(names[1:])},
        dict.fromkeys(names, configured) if configured else None,
    )


def fan(count: int, function: Callable[..., Any], **configured: Any) -> Plan:
    """So many steps without an order."""
    names = [f"s{i}" for i in range(count)]
    return plan_of(dict.fromkeys(names, function), None, dict.fromkeys(names, configured) if configured else None)


def timed(seconds: float, **more: Any) -> dict[str, Any]:
    """What `Plan.configure` is told about a step with a timeout."""
    return {"flags": Flag.FLAG_TIMEOUT, "policy": SimpleNamespace(timeout=seconds), **more}


class World(Handler):
    """A scheduler whose handler records what it hears; a step that failed has failed for good."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None, *, slots: int = 4096, **options: Any) -> None:
        self.loop = loop or asyncio.get_running_loop()
        self.failed: list[tuple[int, BaseException]] = []
        self.heard: list[tuple[Any, ...]] = []
        self.threads: list[threading.Thread] = []
        self.hold_threads = False
        self.submitted: list[tuple[Any, Callable[..., Any], tuple[Any, ...]]] = []
        options.setdefault("clock", self.loop.time)
        options.setdefault("budget", 1000.0)  # a slow machine splits no turn; tests of the budget give their own
        self.table = StatusTable(slots)
        self.scheduler = Scheduler(self.loop, table=self.table, handler=self, run_type=Held, keep=0, **options)
        self.scheduler.notify = True

    # --- what the scheduler tells its handler ------------------------------------------------------------------------

    def step_failed(self, run: Run, index: int, error: BaseException) -> None:
        self.failed.append((index, error))
        Stepper(run).fail(index)

    def step_started(self, run: Run, index: int) -> None:
        self.heard.append(("started", index))

    def step_succeeded(self, run: Run, index: int) -> None:
        self.heard.append(("succeeded", index))

    def activity_ended(self, run: Run, index: int, activity: int, ok: bool, value: Any) -> None:
        self.heard.append(("activity", index, activity, ok, value))

    def changed(self, run: Run) -> None:
        self.heard.append(("changed",))

    def timer(self, key: int) -> None:
        self.heard.append(("timer", key))

    def timeout_error(self, run: Run, index: int, cause: BaseException | None) -> BaseException:
        return TimeoutError(index)

    def submit(self, task: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.submitted.append((task, function, arguments))
        if not self.hold_threads:
            self.threads.append(threading.Thread(target=self.perform, args=(task, function, arguments)))
            self.threads[-1].start()

    def perform(self, task: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """What a thread does: call, and post what came of it."""
        try:
            self.scheduler.post_outcome(task, True, function(*arguments))
        except BaseException as error:
            self.scheduler.post_outcome(task, False, error)

    def settled(self, run: Run) -> None:
        if Stepper(run).status_number not in (Status.SUCCESS, Status.FAILURE):
            failed = run.counts[3] > 0
            error = self.failed[0][1] if failed and self.failed else None
            self.scheduler.finish(run, Status.FAILURE if failed else Status.SUCCESS, error)

    def ended(self, run: Run) -> None:
        self.heard.append(("ended",))

    # --- what tests do -----------------------------------------------------------------------------------------------

    async def finished(self, run: Run) -> Run:
        """Wait for the end of an execution and verify it."""
        waiter = self.scheduler.waiter(run)
        if waiter is not None:
            await waiter
        Stepper(run).check()
        return run

    async def run(self, plan: Plan, request: Any = None, **more: Any) -> Run:
        """Start an execution and wait for its end."""
        return await self.finished(self.scheduler.start(plan, request, **more))

    async def result(self, function: Callable[..., Any], request: Any = None) -> Any:
        """What one step makes of the request; raises what it raised."""
        self.failed.clear()
        run = await self.run(line(function), request)
        if self.failed:
            raise self.failed[0][1]
        return Stepper(run).output(0)


def in_a_step(run: Main, function: Callable[[Any], Any], request: Any = None) -> Any:
    """What one step makes of the request, on the loop of ``run``."""

    async def main() -> Any:
        return await World().result(function, request)

    return run(main())

"""What tests of durable executions share: a store whose clock is the loop's, flows on it, and the crash of a flow.

Lives here: that, steps that count, and a store whose commits wait for the test. Does not live here: stores that fail
(``tests/stores/faulty.py``), loops (``tests/aio.py``).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from flow_core import Executor, Flow, Retry, Step
from flow_core.model.records import ExecutionEnded, StepEnded
from flow_core.model.status import Status
from flow_core.stores import MemoryStore
from tests.aio import run_virtual
from tests.runtime.kit import turns

EPOCH = 1_700_000_000.0
#: Virtual seconds after which a test that hangs fails: heartbeats would keep its loop alive for ever.
PATIENCE = 5_000.0


def utc() -> float:
    return asyncio.get_running_loop().time() + EPOCH


def memory() -> MemoryStore:
    """A store on the loop's clock. Stop (or crash) a flow on it and make another: that is a restart."""
    return MemoryStore(clock=utc)


def flow_on(store: Any, name: str = "one", **options: Any) -> Flow:
    """A flow on ``store``; the name of its executor is that of every incarnation."""
    return Flow(store=store, executor=Executor(name=name, drain=0, **options))


def play(main: Any, **options: Any) -> None:
    """Run a test on a virtual loop, at most `PATIENCE` seconds of it."""

    async def patient() -> None:
        async with asyncio.timeout(PATIENCE):
            await main

    run_virtual(patient(), **options)


class Dead(Exception):
    """The process that did it is gone."""


def crash(flow: Flow) -> None:
    """The process of ``flow`` is killed: nothing of it goes on, nothing more of it is written."""
    executor: Any = flow.executor
    session, scheduler, dead = executor._session, executor._scheduler, Dead()
    session._close()
    for task in [*session.recovery.tasks, session._lease._heart, flow._retaining]:
        if task is not None:
            task.cancel()
    session.journal.close(dead)
    for run in scheduler.runs_known():
        if not run.over:
            executor._runner.drop(run, dead)
    scheduler.close()
    executor._guard.cancel()


class Calls(Counter):
    """Counts the calls of step bodies: ``calls.body("a", value)``; ``good`` decides whether an attempt goes well."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []

    def body(self, name: str, value: Any = None, *, fail: int = 0, seconds: float = 0.0, gate: Any = None) -> Any:
        """A step body. ``fail``: so many calls raise; ``seconds`` it takes; ``gate``: an event it waits for."""

        async def body(given: Any) -> Any:
            self[name] += 1
            self.order.append(name)
            if seconds:
                await asyncio.sleep(seconds)
            if gate is not None:
                await gate.wait()
            if self[name] <= fail:
                raise ConnectionError(f"{name} is down")
            return name if value is None else value

        body.__qualname__ = f"body.{name}"
        return body


class Held(MemoryStore):
    """A store whose commits wait, one at a time, until the test lets them go."""

    def __init__(self) -> None:
        super().__init__(clock=utc)
        self.holding = False
        self.asked: list[list[Any]] = []
        self._gate = asyncio.Event()

    def hold(self) -> None:
        self.holding = True

    def let_go(self) -> None:
        """One commit may be made."""
        self._gate.set()

    def free(self) -> None:
        """All may."""
        self.holding = False
        self._gate.set()

    async def commit(self, epoch: Any, records: Any, *, commit_id: Any = None) -> None:
        self.asked.append([*records])
        if self.holding:
            await self._gate.wait()
            if self.holding:
                self._gate.clear()
        await super().commit(epoch, records, commit_id=commit_id)


async def outcomes(store: Any, execution: str) -> dict[str, StepEnded]:
    """The recorded outcomes of an execution, of each step one."""
    records = [record for record in await store.load(execution) if isinstance(record, StepEnded)]
    assert len(records) == len({record.step for record in records}), "a step has two outcomes"
    return {record.step: record for record in records}


async def statuses(store: Any, execution: str) -> dict[str, str]:
    """The recorded statuses of an execution's steps, and its own under ``""``."""
    found = {step: Status(record.status).name for step, record in (await outcomes(store, execution)).items()}
    ends = [record for record in await store.load(execution) if isinstance(record, ExecutionEnded)]
    assert len(ends) <= 1, "it has two ends"
    return found | ({"": Status(ends[0].status).name} if ends else {})


FIXED = Retry(3, initial=10, factor=1, jitter="none")


def chain(calls: Calls, *names: str, **options: Any) -> list[Step]:
    """Steps one after the other, that count."""
    return [Step(name, calls.body(name), after=names[i - 1] if i else (), **options) for i, name in enumerate(names)]


async def started(store, steps, request=1, name="f", **options):
    """A flow on ``store`` with an execution ``x`` of these steps."""
    flow = flow_on(store)
    await flow.create_steps(name, steps)
    return flow, await flow.execute(name, request, id="x", async_=True, **options)


async def again(store, steps, name="f", **options):
    """The flow after a restart."""
    flow = flow_on(store, **options)
    await flow.create_steps(name, steps)
    await turns()
    return flow


async def until(condition: Any) -> None:
    """Let (virtual) time pass until ``condition()`` holds; `play` ends a wait for ever."""
    while not condition():
        await asyncio.sleep(0.001)

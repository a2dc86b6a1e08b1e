"""No memory while an execution is created: the caller is told, and nothing is left behind.

Lives here: creation, one failing allocation after the other, and what is commanded after a failure. Does not live here:
a step that runs out of memory, which is a failure like others.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

import flow_core
from flow_core import ExecutorOptions, Status
from flow_core.engine import events as e
from flow_core.runtime.commands import CommandRunner, Immediate

SCRIPT = """
import _testcapi, asyncio
from flow_core import ExecuteOptions, Flow, Step

async def noop(value):
    return value

async def start(executor, plan, options):
    "Fail one allocation after the other, until the execution is created; how many starts raised?"
    for number in range(1000):
        given = options(number)
        started = executor.statistics().executions_started
        try:
            _testcapi.set_nomemory(number, number + 1)
            try:
                run = executor._launcher.start(plan, 1, given, None)
            finally:
                _testcapi.remove_mem_hooks()
            await run.wait()
            return number
        except MemoryError:
            if given is None:
                assert executor.statistics().executions_started == started
            else:
                assert given.id not in executor._registry.named
        await asyncio.sleep(0)
        assert executor.statistics().executions_live == 0, f"allocation {number}"
        assert (await executor.execute(plan, 1)).response == 1

async def main():
    async with Flow() as flow:
        await flow.create_steps("f", [Step("a", noop), Step("b", noop, after="a"), Step("c", noop, after="b")])
        await flow.execute("f", 1)
        executor, plan = flow.executor, flow.plan("f")
        assert await start(executor, plan, lambda number: None) > 1
        assert await start(executor, plan, lambda number: ExecuteOptions(id=f"e{number}", timeout=1000)) > 1

asyncio.run(main())
"""


def test_no_memory_while_an_execution_is_created():
    """In a process of its own, since every allocation of the interpreter is made to fail once."""
    pytest.importorskip("_testcapi", reason="this interpreter comes without its test modules")
    environment = os.environ | {"PYTHONPATH": str(Path(flow_core.__file__).parents[1])}
    ran = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", SCRIPT], env=environment, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr


def test_a_command_that_fails_does_not_take_those_behind_it_along():
    done: list[Any] = []

    class FakeScheduler:
        def set_timer(self, delay: float, key: int) -> int:
            return 0

        def cancel_timer(self, handle: int) -> None:
            raise MemoryError

        def finish(self, run: Any, status: Status, error: BaseException | None) -> None:
            done.append(status)

    runner = CommandRunner(ExecutorOptions(), lambda: None, Immediate(), cast(Any, None))
    runner.scheduler = cast(Any, FakeScheduler())
    run = cast(Any, object())
    timer = ("execution", 0)
    runner.perform(run, [e.SetTimer(timer, 1.0)])
    with pytest.raises(MemoryError):
        runner.perform(run, [e.CancelTimer(timer), e.Finish(Status.SUCCESS)])
    assert done == [Status.SUCCESS]

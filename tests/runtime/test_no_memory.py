"""No memory while an execution is created: the caller is told, and nothing is left behind.

Lives here: creation, one failing allocation after the other. Does not live here: a step that runs out of memory, which
is a failure like others.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import flow_core

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
                run = executor.start_plain(plan, 1) if given is None else executor.start(plan, 1, given)
            finally:
                _testcapi.remove_mem_hooks()
            await run.wait()
            return number
        except MemoryError:
            if given is None:
                assert executor.statistics().executions_started == started
            else:
                assert given.id not in executor._named
        await asyncio.sleep(0)
        assert executor.statistics().executions_live == 0, f"allocation {number}"
        assert (await executor.start_plain(plan, 1)) == 1

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

"""CPython's own tests of tasks, run against `StepTask`.

Lives here: the selection of those tests, the list of the few that can't apply, and the check that this list is honest:
an excluded test that is gone from this Python, or that passes, fails here. Does not live here: our own tests of steps
(``test_asyncio_world.py``). On a Python installed without its tests everything here is skipped.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import io
import unittest
from typing import Any

import pytest

from flow_core.core.task import StepTask

pytest.importorskip("test.test_asyncio.test_tasks", reason="this Python is installed without CPython's own tests")

#: Of CPython's classes: the ones that take the task's class from an attribute...
BY_CLASS = (("test_tasks", "BaseTaskTests", "SetMethodsTest"),)
#: ... and the ones that run in whatever task the loop makes.
BY_FACTORY = (
    ("test_taskgroups", "TestTaskGroup"),
    ("test_taskgroups", "TestEagerTaskTaskGroup"),
    ("test_timeouts", "TimeoutTests"),
    ("test_waitfor", "AsyncioWaitForTest"),
    ("test_locks", "LockTests"),
    ("test_locks", "EventTests"),
    ("test_locks", "ConditionTests"),
    ("test_locks", "SemaphoreTests"),
    ("test_locks", "BarrierTests"),
    ("test_queues", "QueueGetTests"),
    ("test_queues", "QueuePutTests"),
    ("test_queues", "QueueJoinTests"),
)

#: Name of a test -> why it can't apply to `StepTask`.
EXCLUDED = {
    "BaseTaskTests.test_set_result_causes_invalid_state": "calls a method of asyncio.Future's own C struct",
    "BaseTaskTests.test_set_exception_causes_invalid_state": "calls a method of asyncio.Future's own C struct",
    "BaseTaskTests.test_task_repr_wait_for": "the callback shown in the future's repr is the task, not a wrapper of it",
}


class Task(StepTask):
    """Under the name that CPython's tests of ``repr`` expect."""


def _module(name: str) -> Any:
    return importlib.import_module(f"test.test_asyncio.{name}")


def _against_class(module: str, *bases: str) -> type[unittest.TestCase]:
    source, utils = _module(module), _module("utils")
    made = type(bases[0], (*(getattr(source, base) for base in bases), utils.TestCase), {})
    made.Task, made.Future = Task, asyncio.Future
    return made


def _against_factory(module: str, name: str) -> type[unittest.TestCase] | None:
    base = getattr(_module(module), name, None)
    if base is None:
        return None

    class Case(base):  # type: ignore[misc, valid-type]
        async def asyncSetUp(self) -> None:
            asyncio.get_running_loop().set_task_factory(lambda loop, coro, **more: StepTask(coro, loop=loop, **more))
            await super().asyncSetUp()

    Case.__name__ = name
    return Case


def _cases() -> dict[str, tuple[type[unittest.TestCase], str]]:
    classes = [_against_class(*row) for row in BY_CLASS] + [_against_factory(*row) for row in BY_FACTORY]
    return {
        f"{made.__name__}.{test}": (made, test)
        for made in classes
        if made is not None
        for test in unittest.defaultTestLoader.getTestCaseNames(made)
    }


CASES = _cases()


def outcome(name: str) -> str:
    """Run one test; empty when it passed (or skipped itself), else the tracebacks."""
    made, test = CASES[name]
    result = unittest.TextTestResult(unittest.runner._WritelnDecorator(io.StringIO()), True, 0)
    gc.freeze()  # some of them collect garbage again and again: let them see their own only
    try:
        made(test).run(result)
    finally:
        gc.unfreeze()
    return "\n".join(text for _, text in result.errors + result.failures)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(set(CASES) - set(EXCLUDED)))
def test_semantics(name: str) -> None:
    assert not outcome(name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(EXCLUDED))
def test_exclusion_holds(name: str) -> None:
    assert name in CASES, "this Python has no such test: drop the exclusion"
    assert outcome(name), "it passes: drop the exclusion"
    gc.collect()  # what it left unfinished must not be reported in somebody else's test

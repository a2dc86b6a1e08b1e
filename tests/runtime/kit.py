"""Small things the tests of the runtime share.

Lives here: steps that wait to be told, and a gauge of what runs at the same time. Does not live here: loops
(``tests/aio.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import flow_core
from flow_core import Step
from tests.aio import run_virtual

__all__ = ["Gate", "Gauge", "chain", "echo", "handles", "turns", "wait_for"]


class Gate:
    """A step body that waits until the test opens it; remembers what it was called with and who was cancelled."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.started: list[Any] = []
        self.cancelled: list[Any] = []

    def open(self) -> None:
        self.event.set()

    async def __call__(self, value: Any) -> Any:
        self.started.append(value)
        try:
            await self.event.wait()
        except asyncio.CancelledError:
            self.cancelled.append(value)
            raise
        return value


class Gauge:
    """A step body that takes ``seconds`` and measures how many of its kind run at the same time."""

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds
        self.now = self.most = self.calls = 0

    async def __call__(self, value: Any) -> Any:
        self.now += 1
        self.calls += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(self.seconds)
        self.now -= 1
        return value


async def echo(value: Any) -> Any:
    return value


def chain(*bodies: Callable[..., Any], first: str = "s") -> list[Step]:
    """Steps s0 -> s1 -> ..., one for each body."""
    return [Step(f"{first}{i}", body, after=f"{first}{i - 1}" if i else ()) for i, body in enumerate(bodies)]


async def turns(count: int = 5) -> None:
    """Let the loop go round a few times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def wait_for(condition: Callable[[], Any]) -> None:
    """Go round until ``condition()`` holds. The test's watchdog ends a wait for ever."""
    while not condition():
        await asyncio.sleep(0)


Main = Coroutine[Any, Any, None]


both_loops = pytest.mark.parametrize("runner", [run_virtual, flow_core.run], ids=["virtual", "uvloop"])


class Trace:
    """Makes step bodies that note when they start and end."""

    def __init__(self) -> None:
        self.moves: list[str] = []

    def __call__(self, name: str) -> Any:
        async def body(value: Any) -> str:
            self.moves.append(f"+{name}")
            await asyncio.sleep(0)
            self.moves.append(f"-{name}")
            return name

        return body

    def before(self, one: str, other: str) -> bool:
        return self.moves.index(f"-{one}") < self.moves.index(f"+{other}")


async def handles(flow: Any, name: str | None = None) -> list[Any]:
    """The handles of the executions that `list` tells of, newest first."""
    return [flow.executor.find(None, found.execution) for found in (await flow.executor.list(name)).items]

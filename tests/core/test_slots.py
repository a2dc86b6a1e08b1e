"""Scheduler: slots that a step lends to others while it waits for somebody who is away, on a virtual clock."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.aio import run_virtual
from tests.core.kit import World, echo, fan, line, timed, turns


class Borrower:
    """A step body that lends its slot while it waits; `back` is who it waits for."""

    def __init__(self) -> None:
        self.back = asyncio.Event()
        self.lent: list[bool] = []

    async def __call__(self, value: Any) -> Any:
        task: Any = asyncio.current_task()
        self.lent.append(task.lend_slot())
        try:
            await self.back.wait()
        finally:
            if self.lent[-1]:
                task.reclaim_slot()
            task.reclaim_slot()  # once is enough
        return value


def test_others_work_while_a_step_waits() -> None:
    async def main() -> None:
        world, away = World(limit=1), Borrower()
        waiting = world.scheduler.start(line(away, echo), 1)
        await world.run(line(echo, echo), 2)
        assert world.scheduler.running == 0 and not waiting.over
        away.back.set()
        await world.finished(waiting)
        assert waiting.output(1) == 1 and world.scheduler.running == 0 and away.lent == [True]

    run_virtual(main())


def test_who_waited_for_a_slot_gets_the_one_that_is_lent() -> None:
    async def main() -> None:
        world, away, first = World(limit=1), Borrower(), asyncio.Event()

        async def late(value: Any) -> Any:
            await first.wait()  # holds the slot, and lends it then
            return await away(value)

        run, other = world.scheduler.start(fan(1, late), 1), world.scheduler.start(fan(1, echo), 2)
        await turns()
        assert not other.over
        first.set()
        await world.finished(other)
        assert not run.over
        away.back.set()
        await world.finished(run)
        assert world.scheduler.running == 0

    run_virtual(main())


def test_as_many_are_lent_as_there_are() -> None:
    async def main() -> None:
        world, away = World(limit=3), Borrower()
        run = world.scheduler.start(fan(20, away), 1)
        assert away.lent == [True, True, True, False, False, False] and world.scheduler.running == 3
        away.back.set()
        await world.finished(run)
        assert len(away.lent) == 20 and world.scheduler.running == 0

    run_virtual(main())


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_step_whose_time_is_over_meanwhile_frees_its_slot_once(stubborn: bool) -> None:
    async def main() -> None:
        world, away, release = World(limit=1), Borrower(), asyncio.Event()

        async def stays(value: Any) -> Any:
            try:
                await away(value)
            except asyncio.CancelledError:
                if stubborn:
                    await release.wait()
                raise

        async def never_back(value: Any) -> Any:
            task: Any = asyncio.current_task()
            task.lend_slot()
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    pass
            task.reclaim_slot()

        for body in (stays, never_back):
            release.clear()
            await world.run(fan(1, body, **timed(0.5)), 1)
            assert world.scheduler.running == 0 and type(world.failed[-1][1]) is TimeoutError
            release.set()
            await turns()
            assert world.scheduler.running == 0
            await world.run(line(echo), 2)

    run_virtual(main())


def test_a_task_of_its_own_has_none_to_lend() -> None:
    async def main() -> None:
        from flow_core.core.task import StepTask

        task = StepTask(asyncio.sleep(0))
        assert task.lend_slot() is False
        await task

    run_virtual(main())

"""Tests of the test helper itself: the virtual clock must be one that can be trusted."""

import asyncio
import random
import time

import pytest

from tests.aio import Deadlock, run, run_virtual


async def _now_after(delay: float) -> float:
    await asyncio.sleep(delay)
    return asyncio.get_running_loop().time()


def test_sleep_moves_the_clock_and_takes_no_time():
    started = time.process_time()
    assert run_virtual(_now_after(86_400.0)) == pytest.approx(86_400.0)
    assert time.process_time() - started < 5


def test_timers_fire_in_order_of_their_deadlines():
    async def main():
        fired = []
        async with asyncio.TaskGroup() as group:
            for delay in (3.0, 1.0, 2.0):
                group.create_task(_append(fired, delay))
        return fired

    assert run_virtual(main()) == [1.0, 2.0, 3.0]


async def _append(fired, delay):
    await asyncio.sleep(delay)
    fired.append(delay)


def test_a_timeout_comes_at_its_time():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(7.5):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(7.5)


def test_waiting_for_ever_is_a_deadlock_and_no_hang():
    async def main():
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        run_virtual(main())


def test_other_threads_can_wake_the_loop():
    async def main():
        return await asyncio.to_thread(lambda: 42)

    assert run_virtual(main(), threads=True) == 42


def test_seed_replays_and_leaves_the_global_state_alone():
    async def draw():
        return random.random()

    before = random.getstate()
    assert run_virtual(draw(), seed=3) == run_virtual(draw(), seed=3) != run_virtual(draw(), seed=4)
    assert random.getstate() == before


def test_run_uses_a_plain_loop():
    assert run(_now_after(0)) > 0

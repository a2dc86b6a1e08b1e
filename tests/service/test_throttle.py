"""The pace of changes, on a virtual clock."""

import asyncio

from flow_core.service.server.throttle import FREE, PART, TICK, Throttle
from tests.aio import run_virtual


async def crowd(throttle, count, started):
    """Tasks that wait for their turn and note when it came."""
    loop = asyncio.get_running_loop()

    async def change(number):
        await throttle.turn()
        started.append((number, round((loop.time() - begun) / TICK)))

    begun = loop.time()
    tasks = [loop.create_task(change(number)) for number in range(count)]
    await asyncio.sleep(0)
    return tasks


def test_a_few_start_at_once_and_others_in_their_order():
    async def main():
        throttle, started = Throttle(), []
        tasks = await crowd(throttle, 3 * FREE, started)
        assert started == [(n, 0) for n in range(FREE)] and len(throttle) == 2 * FREE
        await asyncio.gather(*tasks)
        assert started == [(n, n // FREE) for n in range(3 * FREE)]

    run_virtual(main())


def test_of_a_long_line_a_part_starts_in_each_tick():
    async def main():
        throttle, started, count = Throttle(), [], 100 * PART
        await asyncio.gather(*await crowd(throttle, FREE + count, started))
        ticks = [tick for _, tick in started]
        assert [number for number, _ in started] == list(range(FREE + count))
        assert ticks.count(1) == 100 and ticks.count(2) == (count - 100) // PART
        assert ticks.count(ticks[-1 - FREE]) == FREE  # the last tick but one

    run_virtual(main())


def test_one_after_the_other_nobody_waits():
    async def main():
        throttle, loop = Throttle(), asyncio.get_running_loop()
        begun = loop.time()
        for _ in range(10):
            for _ in range(FREE):
                await throttle.turn()
            assert len(throttle) == 0
            await asyncio.sleep(TICK)
        assert round((loop.time() - begun) / TICK) == 10

    run_virtual(main())


def test_who_is_cancelled_leaves_the_line_and_takes_no_turn():
    async def main():
        throttle, started = Throttle(), []
        tasks = await crowd(throttle, 3 * FREE, started)
        for task in tasks[FREE : 2 * FREE]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert started == [(n, 0) for n in range(FREE)] + [(n, 1) for n in range(2 * FREE, 3 * FREE)]

    run_virtual(main())


def test_with_nobody_left_it_rests():
    async def main():
        throttle = Throttle()
        await asyncio.gather(*(throttle.turn() for _ in range(2 * FREE)))
        await asyncio.sleep(10 * TICK)
        handles = [handle for handle in asyncio.get_running_loop()._scheduled if not handle.cancelled()]
        assert handles == []

    run_virtual(main())

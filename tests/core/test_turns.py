"""Turns: turns, their budget, timers, wake-ups from other threads, seen through a scheduler.

Lives here: when the scheduler works. Steps move a virtual clock by hand, so that a budget runs out at a known step.
Does not live here: what the work is (``test_scheduler.py``).
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from flow_core.core.turns import Turns
from tests.aio import VirtualLoop, run_virtual
from tests.aio import run as on_loop
from tests.core.kit import World, echo, fan, line, turns

TICK = 0.0001


def costly(order: list[Any]) -> Any:
    """A step body that takes a tenth of a millisecond of virtual time and says whose it is."""

    async def step(value: Any) -> Any:
        order.append(value)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop._virtual.now += TICK
        return value

    return step


def ticking(order: list[Any], mark: Any) -> Any:
    """A callback that marks every turn of the loop for as long as its list is not closed by ``None``."""
    loop = asyncio.get_running_loop()

    def tick() -> None:
        order.append(mark)
        if None not in order:
            loop.call_soon(tick)

    loop.call_soon(tick)


def longest_stretch(order: list[Any], mark: Any) -> int:
    """Most entries in a row that are not the mark."""
    longest = now = 0
    for entry in order:
        now = 0 if entry == mark else now + 1
        longest = max(longest, now)
    return longest


@pytest.mark.parametrize("plan", [fan, lambda count, step: line(*[step] * count)], ids=["fan", "line"])
def test_a_flood_of_instant_steps_leaves_the_loop_to_others(plan: Any) -> None:
    async def main() -> None:
        world, order = World(budget=0.001), list[Any]()
        ticking(order, "tick")
        run = world.scheduler.start(plan(500, costly(order)), "step")
        assert not run.over  # one budget is not enough for it
        await world.finished(run)
        order.append(None)
        assert order.count("step") == 500 and longest_stretch(order, "tick") <= 12

    run_virtual(main())


def test_a_flood_of_executions_leaves_the_loop_to_others() -> None:
    async def main() -> None:
        world, order = World(budget=0.001), list[Any]()
        ticking(order, "tick")
        plan = line(costly(order))
        runs = [world.scheduler.start(plan, "step") for _ in range(300)]
        for run in runs:
            await world.finished(run)
        order.append(None)
        assert order.count("step") == 300 and longest_stretch(order, "tick") <= 15

    run_virtual(main())


def test_steps_that_turn_slow_are_noticed_within_a_stride() -> None:
    async def main() -> None:
        world, order = World(budget=0.001), list[Any]()
        await world.run(fan(1000, echo))  # instant: the clock is now looked at every 64 steps
        ticking(order, "tick")
        await world.run(fan(1000, costly(order)), "step")
        order.append(None)
        assert longest_stretch(order, "tick") <= 64 + 12
        settled = order[order.index("tick", 200) :]
        assert longest_stretch(settled, "tick") <= 12

    run_virtual(main())


def test_two_executions_share_the_turns() -> None:
    async def main() -> None:
        world, order = World(budget=0.001), list[Any]()
        runs = [world.scheduler.start(fan(200, costly(order)), name) for name in "ab"]
        for run in runs:
            await world.finished(run)
        assert longest_stretch(order, "a") <= 24 and longest_stretch(order[: order.index("b") + 150], "b") <= 24

    run_virtual(main())


def test_a_smaller_budget_takes_more_turns() -> None:
    async def turns_of(budget: float) -> int:
        world = World(budget=budget)
        await world.run(fan(400, costly([])))
        return world.scheduler.turns.count

    few, many = run_virtual(turns_of(0.01)), run_virtual(turns_of(0.001))
    assert few <= 5 and 30 <= many <= 50  # 40 ms of work


def test_suspended_steps_that_wake_together_share_turns() -> None:
    async def main() -> None:
        world = World()

        async def step(_: Any) -> None:
            for _ in range(10):
                await asyncio.sleep(0)

        await world.run(fan(500, step))
        assert world.scheduler.turns.count <= 15  # a turn for all of them, not one for each

    run_virtual(main())


# --- timers -----------------------------------------------------------------------------------------------------------


def test_timers_ring_in_order_at_their_time() -> None:
    async def main() -> None:
        world = World()
        rung: list[tuple[int, float]] = []
        world.timer = lambda key: rung.append((key, world.loop.time()))  # type: ignore[method-assign]
        handles = {key: world.scheduler.set_timer(delay, key) for key, delay in ((1, 5), (2, 1), (3, 3), (4, 2))}
        assert world.scheduler.cancel_timer(handles[3]) and not world.scheduler.cancel_timer(handles[3])
        await asyncio.sleep(10)
        assert rung == [(2, 1.0), (4, 2.0), (1, 5.0)] and len(world.scheduler.turns.timers) == 0

    run_virtual(main())


def test_a_timer_that_is_set_when_another_rings() -> None:
    async def main() -> None:
        world = World()
        rung = []

        def timer(key: int) -> None:
            rung.append(world.scheduler.time)
            if key < 5:
                world.scheduler.set_timer(key, key + 1)

        world.timer = timer  # type: ignore[method-assign]
        world.scheduler.set_timer(0, 1)
        await asyncio.sleep(100)
        assert rung == pytest.approx([0, 1, 3, 6, 10])

    run_virtual(main())


def test_a_handler_that_raises_does_not_silence_later_timers() -> None:
    async def main() -> None:
        world, told = World(), []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
        rung = []

        def timer(key: int) -> None:
            rung.append(key)
            raise KeyError(key)

        world.timer = timer  # type: ignore[method-assign]
        world.scheduler.set_timer(1, 1)
        world.scheduler.set_timer(1, 2)
        world.scheduler.set_timer(2, 3)
        await asyncio.sleep(5)
        assert rung == [1, 2, 3] and len(told) == 3

    run_virtual(main())


def test_close_lets_go_of_the_loops_timer() -> None:
    async def main() -> None:
        world = World()
        world.scheduler.set_timer(5, 1)
        world.scheduler.close()
        await asyncio.sleep(10)
        assert ("timer", 1) not in world.heard

    run_virtual(main())


# --- other threads ----------------------------------------------------------------------------------------------------


def test_posts_of_many_threads_all_arrive() -> None:
    async def main() -> None:
        world = World()
        world.hold_threads = True
        runs = [world.scheduler.start(line(lambda value: value), i) for i in range(200)]
        while len(world.submitted) < 200:
            await asyncio.sleep(0)

        def post(part: int) -> None:
            for submitted in world.submitted[part::4]:
                world.perform(*submitted)

        threads = [threading.Thread(target=post, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for i, run in enumerate(runs):
            assert (await world.finished(run)).output(0) == i
        for thread in threads:
            thread.join()

    on_loop(main())


def test_more_posts_than_the_inbox_holds() -> None:
    async def main() -> None:
        world = World(budget=1000.0)
        world.hold_threads = True
        run = world.scheduler.start(fan(5000, lambda value: value), "x")
        assert len(world.submitted) == 5000
        for submitted in world.submitted:  # nothing drains the inbox in between
            world.perform(*submitted)
        await world.finished(run)
        assert run.counts[2] == 5000

    on_loop(main())


def test_many_posts_bring_one_turn() -> None:
    async def main() -> None:
        taken: list[str] = []
        loop = asyncio.get_running_loop()
        own = Turns(loop, lambda: taken.append("turn"), taken.append, lambda: taken.append("ring"))
        for _ in range(100):
            own.post(object())
        await turns()
        assert taken == ["turn"]

    on_loop(main())


def test_an_error_in_one_piece_of_work_leaves_the_others() -> None:
    async def main() -> None:
        world, told = World(), []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
        world.step_failed = lambda run, index, error: 1 / 0  # type: ignore[method-assign, assignment]

        async def step(value: Any) -> Any:
            await asyncio.sleep(0)
            if value == 3:
                raise KeyError
            return value

        runs = [world.scheduler.start(line(step, echo), i) for i in range(8)]
        for i, run in enumerate(runs):
            if i != 3:
                assert (await world.finished(run)).output(1) == i
        assert [type(error) for error in told] == [ZeroDivisionError]

    on_loop(main())

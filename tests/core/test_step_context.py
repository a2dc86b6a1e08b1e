"""Context variables in steps: every step as if in a copy of its caller's context.

Lives here: isolation, inheritance, tokens, with and without suspension. Does not live here: everything else a step sees
(``test_asyncio_world.py``).
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from tests.aio import run as on_loop
from tests.core.kit import World, echo, fan, line, plan_of

color: ContextVar[str] = ContextVar("color", default="none")


@pytest.mark.parametrize("suspends", [False, True])
def test_a_variable_set_in_a_step_stays_there(suspends: bool) -> None:
    seen = []

    async def step(value: Any) -> None:
        seen.append(color.get())
        color.set(f"step {value}")
        if suspends:
            await asyncio.sleep(0)
        seen.append(color.get())

    async def main() -> None:
        world = World()
        await world.run(line(step, step, step), 1)
        assert color.get() == "none"
        await world.run(fan(3, step), 2)
        assert color.get() == "none"

    on_loop(main())
    assert sorted(seen) == sorted(["none"] * 6 + ["step 1"] + ["step None"] * 2 + ["step 2"] * 3)


def test_read_back_after_every_suspension() -> None:
    async def step(value: Any) -> None:
        for i in range(5):
            color.set(f"{value} {i}")
            await asyncio.sleep(0.0001 * (i % 2))
            assert color.get() == f"{value} {i}"

    async def main() -> None:
        world = World()
        runs = [world.scheduler.start(line(step), number) for number in range(20)]
        for each in runs:
            await world.finished(each)
        assert not world.failed

    on_loop(main())


def test_inherited_from_the_caller_of_start_and_not_from_the_loop() -> None:
    async def step(_: Any) -> str:
        found = color.get()
        await asyncio.sleep(0)
        assert color.get() == found
        return found

    async def main() -> None:
        world = World()
        plan = line(step, step)
        color.set("red")
        first = world.scheduler.start(plan, None)
        color.set("blue")
        second = world.scheduler.start(plan, None)
        copy_context().run(color.set, "grey")
        third = copy_context().run(_start_in, world, plan, "green")
        for each in (first, second, third):
            await world.finished(each)
        assert [each.output(1) for each in (first, second, third)] == ["red", "blue", "green"]
        assert color.get() == "blue"

    on_loop(main())


def _start_in(world: World, plan: Any, value: str) -> Any:
    color.set(value)
    return world.scheduler.start(plan, None)


@pytest.mark.parametrize("suspends", [False, True])
def test_tokens_reset_in_the_step_that_made_them(suspends: bool) -> None:
    async def step(_: Any) -> str:
        token = color.set("mine")
        if suspends:
            await asyncio.sleep(0)
        color.reset(token)
        return color.get()

    async def main() -> None:
        world = World()
        color.set("outer")
        assert (await world.run(line(step, step))).output(1) == "outer"

    on_loop(main())


def test_a_token_of_another_step_is_refused() -> None:
    tokens: list[Any] = []

    async def makes(_: Any) -> None:
        tokens.append(color.set("theirs"))

    async def takes(_: Any) -> None:
        with pytest.raises(ValueError, match="different Context"):
            color.reset(tokens[0])

    async def main() -> None:
        world = World()
        assert (await world.run(line(makes, takes))).counts[2] == 2

    on_loop(main())


def test_what_a_step_starts_inherits_from_the_step() -> None:
    seen = {}

    async def child(_: Any) -> str:
        return color.get()

    async def main() -> None:
        world = World()

        async def parent(value: Any) -> None:
            color.set(f"parent {value}")
            inner = world.scheduler.start(line(child, child), None)
            task = asyncio.ensure_future(child(None))
            seen[value] = [await task, (await world.finished(inner)).output(1)]

        runs = [world.scheduler.start(line(parent), i) for i in range(3)]
        for each in runs:
            await world.finished(each)

    on_loop(main())
    assert seen == {i: [f"parent {i}"] * 2 for i in range(3)}


def test_callbacks_and_tasks_of_a_step_see_its_variables() -> None:
    seen = []

    async def step(_: Any) -> None:
        color.set("step")
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: seen.append(color.get()))
        future = loop.create_future()
        future.add_done_callback(lambda _: seen.append(color.get()))
        loop.call_soon(future.set_result, None)
        await future
        await asyncio.sleep(0)

    async def main() -> None:
        await World().run(line(step))

    on_loop(main())
    assert seen == ["step", "step"]


def test_many_variables_and_steps_mixed() -> None:
    variables = [ContextVar(f"v{i}", default=-1) for i in range(20)]

    def setter(i: int) -> Any:
        async def step(_: Any) -> None:
            assert [v.get() for v in variables] == [-1] * 20
            variables[i].set(i)
            if i % 3 == 0:
                await asyncio.sleep(0)
            assert [v.get() for v in variables] == [-1] * i + [i] + [-1] * (19 - i)

        return step

    async def main() -> None:
        world = World()
        plan = plan_of({f"s{i}": setter(i) if i % 2 else echo for i in range(20)})
        for _ in range(3):
            await world.run(plan)
        assert not world.failed

    on_loop(main())

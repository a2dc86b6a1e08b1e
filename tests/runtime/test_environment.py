"""Time, randomness and ids of an executor come from its environment."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from flow_core import Executor, Flow, Retry, Step
from flow_core.model.environment import Environment
from tests.aio import run_virtual

YEAR_2000 = 946_684_800.0


def life(seed: int) -> list[Any]:
    """What is seen of an execution that retries, in an environment of that seed."""
    seen: list[Any] = []

    async def unsteady(ctx: Any, value: Any) -> str:
        seen.append((asyncio.get_running_loop().time(), ctx.token()))
        if ctx.attempt < 4:
            raise ValueError
        return "done"

    async def main() -> None:
        loop, drawn = asyncio.get_running_loop(), random.Random(seed)
        environment = Environment(
            clock=loop.time,
            wall=lambda: YEAR_2000 + loop.time(),
            random=drawn,
            token=lambda n: drawn.randbytes(n).hex(),
        )
        async with Flow(executor=Executor(environment=environment)) as flow:
            await flow.create_step("f", Step("a", unsteady, retry=Retry(3, initial=10)))
            execution = await flow.execute("f")
            seen.append(execution.id)
            (info,) = (await flow.executor.list("f")).items
            seen.append(info.time_utc)

    run_virtual(main())
    return seen


def test_a_seed_makes_the_same_life_again():
    assert life(7) == life(7)
    assert all(one != other for one, other in zip(life(7)[1:-1], life(8)[1:-1], strict=True))


def test_ids_and_times_tell_the_wall_clock_of_the_environment():
    *_, id_, began = life(7)
    assert abs(int(id_.replace("-", "")[:12], 16) / 1000 - YEAR_2000) < 100_000
    assert abs(began - YEAR_2000) < 100_000

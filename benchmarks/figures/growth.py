"""How much more a step costs in a flow of 1,000,000 steps than in one of 10,000: caches, and nothing else, should grow.

Both flows live in one process and only executions are timed.
"""

from benchmarks.figures._common import NAME, random_steps, timed_executions
from flow_core import Flow, run

label = "a step at 1,000,000 against one at 10,000"
units = {"us_10k": "us/step", "us_1m": "us/step", "ratio": "x"}
SMALL, BIG = 10_000, 1_000_000


async def cost(nodes: int, count: int) -> float:
    async with Flow() as flow:
        await flow.create_steps(NAME, random_steps(nodes))
        flow.plan(NAME)
        await timed_executions(flow, 1)
        return await timed_executions(flow, count) / nodes * 1e6


async def both(big: int, count: int) -> dict[str, float]:
    small = await cost(SMALL, 20)
    large = await cost(big, count)
    return {"us_10k": small, "us_1m": large, "ratio": large / small}


def measure(quick: bool = False) -> dict[str, float]:
    return run(both(100_000, 1) if quick else both(BIG, 3))

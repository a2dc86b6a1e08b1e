"""``flow-core demo``: two orders at a shop whose services come late, fail, and undo what they did."""

from __future__ import annotations

import asyncio
import sys
from typing import Any, TextIO

from flow_core import Execution, Executor, Flow, Status, StepContext, run
from flow_core.demo.checkout import FLOW, Shop
from flow_core.demo.screen import Screen, screen
from flow_core.demo.timeline import timeline
from flow_core.errors import StepFailed

__all__ = ["Demo", "demo"]

FIRST = {"id": "A-1", "items": ["teapot", "cups"], "total": 80, "weight": 3}
SECOND = {"id": "A-2", "items": ["anvil"], "total": 950, "weight": 900}


class Demo:
    """The story, chapter by chapter, on one `Flow`.

    Args:
        seed: of the services' latencies.
        speed: how many times faster than life.
        shown: the screen it is told on.
    """

    def __init__(self, seed: int, speed: float, shown: Screen) -> None:
        self.screen = shown
        self.shop = Shop(seed, speed, lambda line: self.screen.say(f"    {line}"))
        self.flow = Flow(rpc=self.shop.rpc, pubsub=self.shop.pubsub, executor=Executor(error_handler=self.on_error))
        self.failed = asyncio.Event()
        self.moves: dict[str, list[Any]] = {}

    def on_error(self, error: BaseException, context: StepContext) -> None:
        """The executor's error handler: it sees every exception that escapes a step, before the retry is decided."""
        self.screen.say(f"    {context.step}, attempt {context.attempt}: {error}")
        self.failed.set()

    async def tell(self) -> None:
        """All of it; the same story for the same seed."""
        async with self.flow:
            await self.open_shop()
            first = await self.first_order()
            second = await self.second_order()
            self.screen.finish()
            self.look_back(first, second)

    async def open_shop(self) -> None:
        """Services register in any order; names that nobody registered yet are not an error."""
        self.screen.say("The services start. Each registers its own steps and knows no other's code.")
        await self.shop.start_orders(self.flow)
        await self.shop.start_payment(self.flow)
        await self.shop.start_inventory(self.flow)
        await self.shop.start_fraud(self.flow)
        await self.shop.start_mail()

    async def first_order(self) -> Execution:
        """An order comes before the shipping service does."""
        missing = await self.flow.unresolved(FLOW)
        named = "; ".join(f"{step}, named by {', '.join(by)}" for step, by in missing.items())
        self.screen.say(f"\nOrder A-1 comes in. A step is still missing: {named}. The order waits for it.")
        starting = asyncio.create_task(self.flow.execute(FLOW, FIRST, id="A-1", unresolved="wait", async_=True))
        await self.shop.work("start", "shipping", 0.5)
        self.screen.say("The shipping service joins late and registers its step: the order can start.\n")
        await self.shop.start_shipping(self.flow)
        execution = await starting
        watcher = asyncio.create_task(self.watch(execution))
        await self.failed.wait()
        self.screen.say(f"\nWhat is it waiting for?\n{await self.flow.executor.explain(FLOW, execution.id)}\n")
        await self.shop.start_loyalty(self.flow)
        revision = await self.flow.revision(FLOW)
        self.screen.say(
            "A loyalty service registers a step while the order runs: the flow is at revision "
            f"{revision} now, the order stays at {execution.revision}.\n"
        )
        await watcher
        self.screen.say(f"\nOrder A-1: {execution.status.name.lower()}; {execution.result('order.receipt').decode()}")
        return execution

    async def second_order(self) -> Execution:
        """An order that fails late, so that what was done before has to be undone."""
        self.screen.say("\nOrder A-2: an anvil. It runs the new revision, and no carrier will take it.\n")
        execution = await self.flow.execute(FLOW, SECOND, id="A-2", async_=True)
        await self.watch(execution)
        try:
            await execution
        except StepFailed as error:
            self.screen.say(f"\nOrder A-2: {execution.status.name.lower()}, and all of it undone.\n  {error}")
        return execution

    async def watch(self, execution: Execution) -> None:
        """Show each move of an execution, and keep it for the timeline."""
        moves = self.moves.setdefault(execution.id, [])
        async for move in execution:
            moves.append(move)
            if move.step is not None and move.status is not Status.PENDING:
                since = (move.time - moves[0].time).total_seconds()
                self.screen.moved(execution.id, move.step, move.status, move.attempt, since)

    def look_back(self, first: Execution, second: Execution) -> None:
        """The graph, the timelines, the counters."""
        self.screen.say(f"\nThe flow, coloured by order A-2 (Mermaid):\n\n{self.flow.to_mermaid(FLOW, second)}")
        for execution in (first, second):
            moves = {(move.step, move.status, move.attempt): move for move in execution.history()}
            moves.update({(move.step, move.status, move.attempt): move for move in self.moves[execution.id]})
            self.screen.say(f"\nTimeline of order {execution.id}, {execution.status.name.lower()}\n")
            self.screen.say(timeline(moves.values()))
        counted = self.flow.executor.statistics()
        self.screen.say(
            f"\n{counted.executions_ended} executions, {counted.steps_ended} steps, {counted.attempts_retried} retries."
        )


def demo(*, seed: int, speed: float, plain: bool = False, stream: TextIO | None = None) -> None:
    """The command: tell the story on ``stream`` (stdout when None)."""

    async def main() -> None:
        with screen(stream or sys.stdout, plain=plain) as shown:
            await Demo(seed, speed, shown).tell()

    run(main())

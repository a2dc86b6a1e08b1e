"""Random flows that live through random crashes, stops, faults, pauses and aborts.

Lives here: what must be true of all of them: they end, no step runs when its outcome is recorded, each has one outcome,
at-most-once attempts are made once, what succeeded is undone once when it has to be. Does not live here: stories.
"""

import asyncio
import random

import pytest

from flow_core import Fallback, Retry, Status, Step
from flow_core.errors import IllegalMove, LeaseLost
from flow_core.model.records import Compensated, Ending, ExecutionEnded, StepEnded
from tests.durable.kit import crash, flow_on, memory, outcomes, play
from tests.stores.faulty import Faulty

ID = "x"


class World:
    """Steps of a random flow, and what the store says when they are called."""

    def __init__(self, store, chance):
        self.store, self.chance = store, chance
        self.once, self.wrong = set(), []
        self.steps = [self.step(i) for i in range(chance.randint(1, 9))]

    def step(self, i):
        chance = self.chance
        earlier = [f"s{j}" for j in range(i)]
        more = {}
        if chance.random() < 0.3:
            more["fallback"] = Fallback(self.body(f"s{i}", "fallback"), then=chance.choice(["continue", "fail"]))
        return Step(
            f"s{i}", self.body(f"s{i}", "attempt"), after=chance.sample(earlier, chance.randint(0, min(2, i))),
            retry=chance.choice([None, Retry(2, initial=3, jitter="none")]),
            timeout=chance.choice([None, None, 2.0]), total_timeout=chance.choice([None, None, 20.0]),
            compensation=self.body(f"s{i}", "undo") if chance.random() < 0.5 else None,
            allow_fail=chance.choice([None, None, True]), when=chance.choice([None, None, "yes", "no"]),
            join=chance.choice(["all", "all", "any", "done"]),
            delivery=chance.choice(["at_least_once", "at_least_once", "at_most_once"]), **more,
        )  # fmt: skip

    def must(self, so, text):
        """Steps can't assert: they would only fail."""
        if not so:
            self.wrong.append(text)

    def body(self, name, what):
        chance = self.chance

        async def body(ctx, value):
            entry = self.store._entries[ID]
            self.must(entry.ended is None, f"{what} of {name} runs after the end")
            if what == "undo":
                done = any(isinstance(r, Compensated) and r.step == name for r in entry.records)
                self.must(not done, f"{name} is undone twice")
            else:
                self.must(name not in entry.outcomes, f"{name} runs, and has its outcome")
            if what == "attempt" and ctx.run.plan.items[ctx.run.plan.index(name)].delivery == "at_most_once":
                self.must((name, ctx.attempt) not in self.once, f"{name} was called twice")
                self.once.add((name, ctx.attempt))
            await asyncio.sleep(chance.choice([0, 0, 0.5, 1, 5]))
            if chance.random() < 0.25:
                raise OSError(name)
            return chance.choice([b"x", {"a": 1}, None, 7])

        body.__qualname__ = f"{what}.{name}"
        return body

    async def look_back(self):
        assert not self.wrong
        records = await self.store.load(ID)
        end = records[-1]
        assert isinstance(end, ExecutionEnded)
        assert sum(isinstance(record, ExecutionEnded) for record in records) == 1
        found = await outcomes(self.store, ID)
        undone = [record.step for record in records if isinstance(record, Compensated)]
        assert len(undone) == len(set(undone))
        endings = [record for record in records if isinstance(record, Ending)]
        undoes = endings[-1].rollback if endings else end.status == Status.FAILURE
        could = {s.id for s in self.steps if s.compensation and s.id in found and found[s.id].status == Status.SUCCESS}
        assert set(undone) == (could if undoes else set())
        if end.status == Status.SUCCESS:
            failed = {r.step for r in found.values() if r.status == Status.FAILURE}
            assert failed <= {step.id for step in self.steps if step.allow_fail}
        first = next((i for i, record in enumerate(records) if isinstance(record, Compensated)), len(records))
        assert not any(isinstance(record, StepEnded) for record in records[first:])


async def live(world, store, chance):
    """Lives until it is over; returns their number."""
    for life in range(50):
        flow = flow_on(store, max_recoveries=100)
        flow.predicate("yes", lambda value: True)
        flow.predicate("no", lambda value: False)
        await flow.create_steps("f", world.steps)
        calm = life > 5
        try:
            async with asyncio.timeout(None if calm else chance.choice([0.1, 0.6, 2, 7])):
                if not await store.load(ID):
                    await flow.execute("f", 1, id=ID, async_=True, timeout=chance.choice([None, None, 30]))
                if not calm:
                    await disturb(flow, chance)
                if await flow.executor.status("f", ID) is Status.PAUSED:
                    await flow.executor.resume("f", ID)
                await flow.executor.wait("f", ID)
        except (TimeoutError, LeaseLost, IllegalMove):  # of a pause, or a start, that came too late
            pass
        over = any(isinstance(record, ExecutionEnded) for record in await store.load(ID))
        if chance.random() < 0.5:
            crash(flow)
        else:
            await flow.stop()
        if over:
            return life + 1
    raise AssertionError("it does not end")


async def disturb(flow, chance):
    if chance.random() < 0.5:
        await asyncio.sleep(chance.choice([0, 0.5, 1.5]))
        handle = flow.executor._registry.known(ID)
        if handle is None or handle.over:
            return
        what = chance.random()
        if what < 0.6:
            await handle.pause()
            await asyncio.sleep(chance.choice([0, 3]))
            if not handle.over:
                await handle.resume()
        elif what < 0.8:
            await handle.abort(rollback=chance.random() < 0.5)


@pytest.mark.parametrize("faults", [(), ("timeout", "written", "full", None), (None, None, None, None, "lease_lost")])
def test_random_lives(faults):
    lives = 0
    for seed in range(60):
        chance = random.Random(f"{seed} {faults}")

        async def main(chance=chance, seed=seed):
            nonlocal lives
            inner = memory()
            world = World(inner, chance)
            store = Faulty(inner, [None] * 2 + [chance.choice(faults) for _ in range(12)]) if faults else inner
            try:
                lives += await live(world, store, chance)
            except Exception as error:
                raise AssertionError(f"seed {seed}") from error
            await world.look_back()

        play(main())
    assert lives > 100

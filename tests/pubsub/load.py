"""Load on a broker through the engine, with everything that goes wrong between two services.

Lives here: two scenarios that return what they counted. Does not live here: assertions (`test_brokers.py`) and figures
(``benchmarks/brokers.py``).
"""

from __future__ import annotations

import asyncio
from collections import Counter

from flow_core import ClientPublishOperation, Flow, Retry, Step

#: Seconds that an attempt waits for its reply. Those whose reply is to be late wait so long, once.
ATTEMPT = 0.5


class Answers:
    """A service that answers ``n`` with ``re n``: one in ten twice, one in twenty too late for the first attempt.

    A late one is held back until the next attempt of the same step is there; then both are answered, the late one with
    another text, which must never become anybody's result.
    """

    def __init__(self):
        self.seen = Counter()
        self._held = {}

    async def __call__(self, message):
        number = int(message.data)
        kind = number % 20
        self.seen[number] += 1
        if kind == 7 and message.headers["flow-attempt"] == "1":
            self._held[number] = message
            return
        held = self._held.pop(number, None)
        if held is not None:
            await held.reply(b"late " + held.data)
        await message.reply(b"re " + message.data)
        if kind in (3, 13):
            await message.reply(b"twice " + message.data)


async def replies(broker, topic, count, in_flight=200):
    """``count`` executions of one step that asks over ``broker``. Returns counts, among them the wrong results."""
    service, answers = broker.client(), Answers()
    async with broker.keeping(topic), service, broker.client() as client, Flow(pubsub=client) as flow:
        await service.subscribe(topic, answers)
        ask = ClientPublishOperation(topic, reply=True)
        await flow.create_step("ask", Step("ask", ask, timeout=ATTEMPT, retry=Retry(20, initial=0.01)))
        room = asyncio.Semaphore(in_flight)

        async def one(number):
            async with room:
                try:
                    return await flow.call("ask", b"%d" % number)
                except Exception as error:
                    return error

        results = await asyncio.gather(*(one(number) for number in range(count)))
        wrong = [result for number, result in enumerate(results) if result != b"re %d" % number]
        expected = sum(number % 20 == 7 for number in range(count)), sum(number % 10 == 3 for number in range(count))
        await _settled(client, *expected)
        got = client.statistics()
    return {
        "asked": count,
        "wrong": len(wrong),
        "examples": [repr(result)[:200] for result in wrong[:3]],
        "replies": got.replies,
        "late": got.late_replies,
        "late expected": expected[0],
        "duplicate": got.duplicate_replies,
        "duplicate expected": expected[1],
        "handler errors": service.statistics().handler_errors,
        "repeated attempts": sum(answers.seen.values()) - len(answers.seen),
    }


async def _settled(client, late, duplicate):
    """Wait until the last replies that nobody waits for have come, too."""
    for _ in range(10_000):
        got = client.statistics()
        if got.late_replies >= late and got.duplicate_replies >= duplicate:
            return
        await asyncio.sleep(0.001)


async def restart(broker, topic, count, in_flight=50):
    """``count`` executions of one step that publishes with confirmation; a SIGKILL ends the broker when a third is
    confirmed, then it starts again. Returns counts: what was confirmed, and what of that the broker does not have."""
    await broker.keep(topic)
    confirmed, enough = set(), asyncio.Event()
    async with broker.client() as client, Flow(pubsub=client) as flow:
        publish = ClientPublishOperation(topic, confirm=True)
        retry = Retry(200, initial=0.02, max=0.2)
        await flow.create_step("tell", Step("tell", publish, timeout=5.0, retry=retry))
        room = asyncio.Semaphore(in_flight)

        async def one(number):
            async with room:
                await flow.execute("tell", b"%d" % number)
                confirmed.add(number)
                if len(confirmed) >= count // 3:
                    enough.set()

        load = asyncio.gather(*(one(number) for number in range(count)))
        await enough.wait()
        early = len(confirmed)
        await asyncio.to_thread(broker.process.kill)
        await asyncio.to_thread(broker.process.start)
        await load
    kept = Counter(int(data) for data in await broker.kept(topic, count))
    await broker.forget(topic)
    return {
        "published": count,
        "confirmed": len(confirmed),
        "confirmed before the kill": early,
        "missing": len(confirmed - set(kept)),
        "stored twice": sum(number - 1 for number in kept.values()),
    }

"""Calls through a proxy that resets, stalls, drips and falls silent: each ends within its time, and nothing is left.

``FLOW_CHAOS_CALLS=20000 pytest -s tests/rpc/test_chaos.py`` makes the long run and prints what it saw (give it
``FLOW_TEST_WATCHDOG=600``); by default it is some hundred calls. What is awaited is the end of calls, never a time.
"""

import asyncio
import os
import random
from collections import Counter

import pytest

from flow_core.errors import AdapterError, FlowError, NoReply, Permanent
from tests.aio import run
from tests.rpc.network import NETWORKS
from tests.servers.chaos import ChaosProxy, Fault

LONG = "FLOW_CHAOS_CALLS" in os.environ
CALLS = int(os.environ.get("FLOW_CHAOS_CALLS", "600"))
IN_FLIGHT = 64
TIMEOUT = 0.3
#: Seconds above its timeout after which a call counts as hanging: what is promised; where CI runs, more.
GRACE = 1.0 if LONG else 30.0

#: What happens to the connections in turn, and how many bytes of the server may pass before. None lives for ever.
FAULTS = (
    ("reset", 6_000),
    ("stall", 3_000),
    ("reset", 60_000),
    ("drip", 0),
    ("reset", 200),
    ("half_open", 0),
    ("refuse", 0),
)


def in_turn(dice):
    """The fault of each new connection."""

    def fault(number):
        kind, most = FAULTS[(number - 1) % len(FAULTS)]
        return Fault(kind, after=dice.randint(most // 2, most))

    return fault


async def answer(data, headers):
    if data[-1] % 8 == 0:
        await asyncio.sleep(TIMEOUT / 3)  # some services are slow
    return data[::-1]


async def one(client, number, ends, slowest):
    """Make a call; count how it ended."""
    data = b"%08d" % number
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        async with asyncio.timeout(TIMEOUT + GRACE):  # a TimeoutError that is no FlowError: the call hangs
            reply = await client.call("shop", "buy", data, timeout=TIMEOUT)
    except NoReply:
        ends["no reply"] += 1
    except Permanent:
        ends["refused for good"] += 1
    except AdapterError as error:
        ends["unavailable" if error.code == "unavailable" else "failed"] += 1
        await asyncio.sleep(0.1)  # as the engine's backoff would
    else:
        assert reply == data[::-1]
        ends["replies"] += 1
    slowest.append(loop.time() - started)


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_call_ends_in_time_and_nothing_is_left(kind, until):
    network = NETWORKS[kind]
    ends, slowest = Counter(), []

    async def main():
        async with network.server() as server, ChaosProxy(server.port) as proxy:
            server.serve("shop", "buy", answer)
            before = len(asyncio.all_tasks())
            proxy.fault = in_turn(random.Random(7))
            client = network.client(network.url(proxy.port))
            numbers = iter(range(CALLS))

            async def worker():
                for number in numbers:
                    await one(client, number, ends, slowest)

            async with asyncio.TaskGroup() as group:
                for _ in range(IN_FLIGHT):
                    group.create_task(worker())
            statistics = client.statistics()
            await client.close()
            await until(lambda: proxy.open == 0)
            await until(lambda: len(asyncio.all_tasks()) <= before)
            with pytest.raises(FlowError, match="closed"):
                await client.call("shop", "buy", b"")
            return statistics, proxy.accepted

    statistics, connections = run(main())
    print(f"\n{kind}: {CALLS} calls, {connections} connections, {dict(ends)}, slowest {max(slowest):.3f} s")
    assert ends["refused for good"] == 0
    assert sum(ends.values()) == statistics.calls == CALLS
    assert statistics.replies == ends["replies"] > 0
    assert statistics.timeouts == ends["no reply"] > 0
    assert statistics.failures == ends["failed"] + ends["unavailable"] > 0
    assert connections > 1

"""Messages through the engine over real brokers: are all results right, is everything confirmed still there, how fast.

``python -m benchmarks.brokers`` starts nats-server, redis-server and rabbitmq-server on loopback, runs on each

* ``replies``: a step that publishes and waits for a reply; one reply in ten comes twice, one in twenty too late, with
  another text, after the attempt was tried again;
* ``restart``: a step that publishes with confirmation; the broker is killed (SIGKILL) when a third is confirmed, and
  started again;
* ``bare`` and ``engine``: confirmed messages per second, of the client alone and of a flow that does nothing else;

prints a line each, and exits with 1 when a result was wrong or a confirmed message is missing.

Lives here: the command and its figures. Does not live here: the scenarios (``tests/pubsub/load.py``, with which the
tests run a few hundred messages).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from flow_core import ClientPublishOperation, Flow, Step, run
from tests.pubsub import brokers, load
from tests.servers.nats import NatsServer
from tests.servers.rabbitmq import RabbitMqServer
from tests.servers.redis import RedisServer

SERVERS = {"nats_server": NatsServer, "redis_server": RedisServer, "rabbitmq_server": RabbitMqServer}
IN_FLIGHT = 64


def main() -> int:
    """Run what was asked for; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.brokers", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--messages", type=int, default=5000, help="per broker and scenario (default 5000)")
    parser.add_argument("--only", default="", help=f"of {','.join(kind.name for kind in brokers.ALL)}")
    chosen = parser.parse_args()
    wanted = set(chosen.only.split(",")) if chosen.only else {kind.name for kind in brokers.ALL}
    failed = False
    for kind in brokers.ALL:
        if kind.name in wanted:
            with tempfile.TemporaryDirectory() as folder:
                server = SERVERS[kind.server](Path(folder))
                server.start()
                try:
                    failed |= _measure(kind(server), chosen.messages)
                finally:
                    server.stop()
    return int(failed)


def _measure(broker: Any, messages: int) -> bool:
    """Print a line per scenario; whether anything was wrong."""
    replies = _timed(broker, "replies", lambda: load.replies(broker, "replies", messages))
    wrong = replies["wrong"] or replies["duplicate"] != replies["duplicate expected"]
    if isinstance(broker, brokers.KEEPING):
        wrong = wrong or _timed(broker, "restart", lambda: load.restart(broker, "restart", messages))["missing"]
    for name, rate in (("bare", _bare), ("engine", _engine)):
        _timed(broker, name, lambda rate=rate: rate(broker, messages))
    return bool(wrong)


def _timed(broker: Any, name: str, work: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    start = time.perf_counter()
    counts = run(work())
    print(json.dumps({"broker": broker.name, "what": name, "seconds": round(time.perf_counter() - start, 2), **counts}))
    sys.stdout.flush()
    return counts


async def _bare(broker: Any, messages: int) -> dict[str, Any]:
    async with broker.client() as client:
        return await _rate(broker, client, messages, lambda number: client.publish("rate", b"%d" % number))


async def _engine(broker: Any, messages: int) -> dict[str, Any]:
    async with broker.client() as client, Flow(pubsub=client) as flow:
        await flow.create_step("tell", Step("tell", ClientPublishOperation("rate")))
        return await _rate(broker, client, messages, lambda number: flow.call("tell", b"%d" % number))


async def _rate(broker: Any, client: Any, messages: int, send: Callable[[int], Awaitable[Any]]) -> dict[str, Any]:
    """Messages per second with `IN_FLIGHT` senders, each waiting for its confirmation."""
    if broker.keeps:
        await broker.keep("rate")
    await client.subscribe("rate", _ignore)
    numbers = iter(range(messages))
    await send(0)

    async def sender() -> None:
        for number in numbers:
            await send(number)

    start = time.perf_counter()
    await asyncio.gather(*(sender() for _ in range(IN_FLIGHT)))
    seconds = time.perf_counter() - start
    if broker.keeps:
        await broker.forget("rate")
    return {"messages": messages, "per second": round(messages / seconds)}


def _ignore(message: Any) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main())

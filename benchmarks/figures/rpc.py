"""What the engine costs on top of a network call: 20 rounds of 1,000 calls, 64 in flight, to an echo in a process.

Four ways in one process, taking turns: the library by hand, flow-core's client without the engine (`bare`), executions
of a flow of one step that calls (`engine`), and one execution of 1,000 such steps, 64 of them at a time (`steps`). Each
call carries the same five headers, 64 bytes and a timeout of 30 s. `ratio` is the engine's throughput over the bare
client's in the same round, the median of all, `steps_ratio` that of the steps of one execution; p99 is that of all
calls of a way; `cpu` is the client process's time for one call, which a busy machine distorts less.
"""

import asyncio
import gc
import subprocess
import sys
from statistics import median
from time import perf_counter, process_time

from flow_core import ClientCallOperation, Flow, Step, run
from flow_core.urls import rpc_client

label = "engine on top of a network call, 64 in flight"
units = {
    "grpc_library_per_s": "/s",
    "grpc_bare_per_s": "/s",
    "grpc_engine_per_s": "/s",
    "grpc_bare_p99_ms": "ms",
    "grpc_engine_p99_ms": "ms",
    "grpc_bare_cpu_us": "us",
    "grpc_engine_cpu_us": "us",
    "grpc_ratio": "x",
    "grpc_steps_ratio": "x",
    "http_library_per_s": "/s",
    "http_bare_per_s": "/s",
    "http_engine_per_s": "/s",
    "http_bare_p99_ms": "ms",
    "http_engine_p99_ms": "ms",
    "http_bare_cpu_us": "us",
    "http_engine_cpu_us": "us",
    "http_ratio": "x",
    "http_steps_ratio": "x",
}

IN_FLIGHT = 64
PAYLOAD = b"x" * 64
TIMEOUT = 30.0
HEADERS = {
    "flow-name": "order",
    "flow-execution": "019ac1f0-0000-7000-8000-000000000000",
    "flow-step": "buy",
    "flow-attempt": "1",
    "flow-idempotency-key": "019ac1f0-0000-7000-8000-000000000000/buy",
}


class Echo:
    """The server's process; ``url`` is where it listens."""

    def __init__(self, kind):
        command = [sys.executable, "-m", "benchmarks.figures._echo", kind]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        self.url = f"{kind}://127.0.0.1:{self.port}"

    def stop(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


async def drive(call, count):
    """Seconds of ``count`` calls, seconds of the processor, and those of each call."""
    numbers = iter(range(count))
    times = []

    async def worker():
        for _ in numbers:
            begun = perf_counter()
            await call()
            times.append(perf_counter() - begun)

    gc.collect()
    begun, cpu = perf_counter(), process_time()
    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    return perf_counter() - begun, process_time() - cpu, times


async def grpc_by_hand(port):
    import grpc.aio

    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    method = channel.unary_unary("/shop/buy")
    metadata = tuple(HEADERS.items())

    async def call():
        await method(PAYLOAD, timeout=TIMEOUT, metadata=metadata)

    return call, channel.close


async def http_by_hand(port):
    import aiohttp

    session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT))

    async def call():
        async with session.post(f"http://127.0.0.1:{port}/shop/buy", data=PAYLOAD, headers=HEADERS) as response:
            await response.read()

    return call, session.close


async def rounds(kind, count, repeat):
    echo = Echo(kind)
    by_hand, close = await {"grpc": grpc_by_hand, "http": http_by_hand}[kind](echo.port)
    try:
        async with rpc_client(echo.url) as client, Flow(rpc=rpc_client(echo.url)) as flow:
            await flow.create_step("order", Step("buy", ClientCallOperation("shop", "buy"), timeout=TIMEOUT))

            async def bare():
                await client.call("shop", "buy", PAYLOAD, headers=HEADERS, timeout=TIMEOUT)

            async def engine():
                await flow.execute("order", PAYLOAD)

            buy = ClientCallOperation("shop", "buy")
            await flow.create_steps("many", [Step(f"buy{n}", buy, timeout=TIMEOUT) for n in range(count)])

            async def steps():
                await flow.execute("many", PAYLOAD, concurrency=IN_FLIGHT)

            ways = {"library": by_hand, "bare": bare, "engine": engine}
            return await measured(ways, steps, count, repeat)
    finally:
        await close()
        echo.stop()


async def measured(ways, steps, count, repeat):
    """Way -> (seconds of each round, of the processor, of each call); the order turns from round to round."""
    found = {name: ([], [], []) for name in (*ways, "steps")}
    await steps()
    for call in ways.values():
        await drive(call, IN_FLIGHT * 4)  # connect
    names = list(ways)
    for number in range(repeat):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            seconds, cpu, times = await drive(ways[name], count)
            found[name][0].append(seconds)
            found[name][1].append(cpu)
            found[name][2].extend(times)
        gc.collect()
        begun = perf_counter()
        await steps()
        found["steps"][0].append(perf_counter() - begun)
    return found


def measure(quick: bool = False) -> dict[str, float]:
    count, repeat = (500, 2) if quick else (1_000, 20)
    result = {}
    for kind in ("grpc", "http"):
        found = run(rounds(kind, count, repeat))
        for name, (seconds, cpu, times) in found.items():
            if name == "steps":
                continue
            result[f"{kind}_{name}_per_s"] = count / median(seconds)
            if name != "library":
                result[f"{kind}_{name}_p99_ms"] = sorted(times)[len(times) * 99 // 100] * 1e3
                result[f"{kind}_{name}_cpu_us"] = median(cpu) / count * 1e6
        for name, ratio in (("engine", "ratio"), ("steps", "steps_ratio")):
            pairs = zip(found["bare"][0], found[name][0], strict=True)
            result[f"{kind}_{ratio}"] = median(bare / other for bare, other in pairs)
    return result

"""What telemetry costs: microseconds of a no-op step in a chain of 100, executed one after the other.

`never_us`: nothing of it was ever imported. `stopped_us`: the module is there, tracing was on and is off again.
`metrics_us`: a collector is registered, and scraped a hundred times a second by another thread. `unsampled_us`: tracing
is on, and the sampler drops everything. `traced_us`: every execution and step gets a span of the SDK, up to a span
processor that throws it away. `stopped_ratio` and `metrics_ratio`: never / stopped, never / metrics; 1 is "no
difference". Each in fresh processes that take turns; the median of a process's executions, the least of its processes.
"""

import asyncio
import gc
import subprocess
import sys
import threading
from statistics import median
from time import perf_counter

from benchmarks.figures._common import NAME
from benchmarks.workload import REQUEST
from flow_core import Flow, Step, run

label = "telemetry off, with metrics, with spans"
WAYS = ("never", "stopped", "metrics", "unsampled", "traced")
units = {
    "never_us": "us/step", "stopped_us": "us/step", "metrics_us": "us/step", "unsampled_us": "us/step",
    "traced_us": "us/step", "stopped_ratio": "x", "metrics_ratio": "x",
}  # fmt: skip
STEPS = 100


async def step(value: object) -> object:
    return value


def traced(flow: Flow, way: str) -> None:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

    from flow_core.telemetry import trace

    provider = TracerProvider(sampler=ALWAYS_OFF if way == "unsampled" else ALWAYS_ON)
    provider.add_span_processor(SpanProcessor())
    stop = trace(flow, provider)
    if way == "stopped":
        stop()


def scraped(flow: Flow, over: threading.Event) -> threading.Thread:
    from prometheus_client import CollectorRegistry, generate_latest

    from flow_core.telemetry import ExecutorCollector

    registry = CollectorRegistry()
    ExecutorCollector(flow, registry=registry)

    def scrape() -> None:
        while not over.wait(0.01):
            generate_latest(registry)

    thread = threading.Thread(target=scrape)
    thread.start()
    return thread


async def child(way: str, executions: int) -> float:
    """Microseconds a step, spans included that are made after the executions."""
    over, thread = threading.Event(), None
    async with Flow() as flow:
        if way == "metrics":
            thread = scraped(flow, over)
        elif way != "never":
            traced(flow, way)
        await flow.create_steps(NAME, [Step(f"s{i}", step, after=f"s{i - 1}" if i else ()) for i in range(STEPS)])
        await flow.execute(NAME, REQUEST)
        seconds = []
        gc.collect()
        for _ in range(executions // 50):
            begun = perf_counter()
            for _ in range(50):
                await flow.execute(NAME, REQUEST)
            while way == "traced" and flow.executor._tracer._pending:
                await asyncio.sleep(0)
            seconds.append(perf_counter() - begun)
        over.set()
        if thread is not None:
            thread.join()
    return median(seconds) / 50 / STEPS * 1e6


def measure(quick: bool = False) -> dict[str, float]:
    executions, rounds = (200, 2) if quick else (4_000, 9)
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(rounds):
        for way in WAYS[turn % len(WAYS) :] + WAYS[: turn % len(WAYS)]:
            count = executions if way in {"never", "stopped", "metrics"} else max(50, executions // 20)
            command = [sys.executable, "-m", "benchmarks.figures.telemetry", way, str(count)]
            found[way].append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    least = {way: min(values) for way, values in found.items()}
    ratios = {f"{way}_ratio": least["never"] / least[way] for way in ("stopped", "metrics")}
    return {**{f"{way}_us": value for way, value in least.items()}, **ratios}


if __name__ == "__main__":
    print(run(child(sys.argv[1], int(sys.argv[2]))))

"""Clock and memory readings inside one peer's process. Standard library only; no tables, no processes.

Times are seconds, memory is bytes.
"""

import asyncio
import gc
import inspect
import os
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter
from types import ModuleType
from typing import Any

from benchmarks.workload import Checker, Dag, OrderError, Workload, checked_steps, plain_steps

SLOW = 4.0  # seconds of one repetition above which a process makes no second one


async def workers(one: Callable[[], Awaitable[Any]], count: int, in_flight: int) -> list[float]:
    """Execute `one` `count` times by `in_flight` tasks that take the next as soon as theirs has ended."""
    clock = perf_counter
    latencies: list[float] = []
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            begun = clock()
            await one()
            latencies.append(clock() - begun)

    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return latencies


async def burst(one: Callable[[], Awaitable[Any]], count: int) -> list[float]:
    """Execute `one` `count` times, a task each, all at once."""
    return await workers(one, count, count)


def percentile(values: list[float], share: float) -> float:
    """Nearest-rank percentile, `share` in 0..1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def resident() -> int:
    """Bytes this process has in memory now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def reset_peak() -> bool:
    """Make `peak` start over from now. False where the kernel does not allow it."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        return False
    return True


def peak() -> int:
    """The highest `resident` since the process began or `reset_peak`."""
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    raise OSError("VmHWM is not in /proc/self/status: peak memory needs Linux")


@dataclass(slots=True)
class Readings:
    """What repeating one case gave; `bytes_peak` is None where the system cannot tell."""

    build: list[float] = field(default_factory=list)
    run: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    bytes_peak: int | None = None

    @property
    def total(self) -> float:
        return sum(self.build) + sum(self.run)


async def maybe(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def once(peer: ModuleType, workload: Workload, readings: Readings) -> Any:
    """Build and run once, adding the times to `readings`; the peer's answer."""
    begun = perf_counter()
    plan = peer.build(workload)
    if inspect.isawaitable(plan):
        plan = await plan
    built = perf_counter()
    try:
        gc.collect()
        await asyncio.sleep(0)  # a run begins in a turn of the loop of its own, as requests do
        running = perf_counter()
        answer = peer.run(plan)
        if inspect.isawaitable(answer):
            answer = await answer
        ended = perf_counter()
    finally:
        if hasattr(peer, "close"):
            await maybe(peer.close(plan))
    readings.build.append(built - begun)
    readings.run.append(ended - running)
    if workload.case.executions:
        if len(answer) != workload.case.executions:
            raise OrderError(f"{len(answer)} of {workload.case.executions} executions were reported")
        readings.latencies = answer
    return answer


async def prove(peer: ModuleType, workload: Workload, dag: Dag, style: str, inputs: bool) -> None:
    """One untimed execution with reporting steps. OrderError when the engine did not execute the graph properly."""
    checker = Checker(dag, inputs)
    case = workload.case
    proof = Workload(
        type(case)(case.shape, case.variant, case.nodes),
        workload.mode,
        dag,
        checked_steps(checker, case.variant, style),
        checked=True,
    )
    checker.complete(await once(peer, proof, Readings()))


async def repeat(peer: ModuleType, workload: Workload, seconds: float, least: int, most: int = 40) -> Readings:
    """Repeat until `seconds` are used up, at least `least` times. The first time warms up and shows the memory.

    Garbage collection stays on, as it does for users; each build and each run starts collected. Where the warm-up
    alone used up the time, it is kept as the reading: so slow an engine has nothing to warm up.
    """
    gc.collect()
    before = resident() if reset_peak() else None
    first = Readings()
    await once(peer, workload, first)
    if before is not None:
        first.bytes_peak = max(0, peak() - before)
    if first.total > SLOW:
        return first
    kept = Readings(bytes_peak=first.bytes_peak)
    while len(kept.run) < least or (kept.total < seconds and len(kept.run) < most):
        gc.collect()
        await once(peer, workload, kept)
    return kept


async def measure(peer: ModuleType, workload: Workload, style: str, checks: str, options: Any) -> dict[str, Any]:
    """The measured part of a record (see records.py) for one case in one mode of one peer."""
    case, dag = workload.case, workload.dag
    proved = None
    if options.prove:
        await prove(peer, workload, dag, style, inputs="inputs" in checks)
        proved = True
    constant = workload.mode in getattr(peer, "constant_modes", ())
    workload.steps = plain_steps(dag, case.variant, style, constant)
    readings = await repeat(peer, workload, options.seconds, options.least)
    scale = 1e6 / case.steps
    latencies = readings.latencies
    return {
        "repetitions": len(readings.run),
        "run_us": {"median": statistics.median(readings.run) * scale, "min": min(readings.run) * scale},
        "build_us": {"median": statistics.median(readings.build) * scale, "min": min(readings.build) * scale},
        "latency_ms": (
            {"p50": percentile(latencies, 0.5) * 1e3, "p99": percentile(latencies, 0.99) * 1e3} if latencies else None
        ),
        "bytes_step": None if readings.bytes_peak is None else readings.bytes_peak / case.steps,
        "verified": proved,
    }

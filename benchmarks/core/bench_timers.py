"""Timers: 10,000 deadlines added, fired in order, cancelled."""

import random

from flow_core.core import timers

COUNT = 10_000
DEADLINES = [random.Random(0).random() for _ in range(COUNT)]


def filled():
    made = timers.Timers()
    add = made.add
    return made, [add(deadline, token) for token, deadline in enumerate(DEADLINES)]


def drain(made):
    pop = made.pop
    fired = 0
    while pop(2.0) is not None:
        fired += 1
    return fired


def cancel_all(made, handles):
    return sum(map(made.cancel, handles))


def bench_add_10k(benchmark):
    made, _ = benchmark(filled)
    assert len(made) == COUNT


def bench_fire_10k(benchmark):
    assert benchmark.pedantic(drain, setup=lambda: ((filled()[0],), {}), rounds=50) == COUNT


def bench_cancel_10k(benchmark):
    """What a timeout that did not strike costs."""
    assert benchmark.pedantic(cancel_all, setup=lambda: (filled(), {}), rounds=50) == COUNT

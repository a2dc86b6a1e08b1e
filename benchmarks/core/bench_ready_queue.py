"""ReadyQueue: through its lanes, and through the inbox that other threads use."""

import pytest

from flow_core.core import ready_queue

COUNT = 10_000


def through_lanes(lanes):
    queue = ready_queue.ReadyQueue(lanes=4)
    push, pop = queue.push, queue.pop
    for item in range(COUNT):
        push(item, item % lanes)
    for _ in range(COUNT):
        pop()
    return len(queue)


def through_inbox():
    queue = ready_queue.ReadyQueue(inbox=1024)
    post, pop = queue.post, queue.pop
    passed = 0
    while passed < COUNT:
        for item in range(1000):
            post(item)
        for _ in range(queue.drain()):
            pop()
            passed += 1
    return passed


@pytest.mark.parametrize("lanes", [1, 4])
def bench_push_pop_10k(benchmark, lanes):
    assert benchmark(through_lanes, lanes) == 0


def bench_post_drain_pop_10k(benchmark):
    assert benchmark(through_inbox) == COUNT

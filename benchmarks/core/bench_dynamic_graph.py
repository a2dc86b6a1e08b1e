"""DynamicGraph, the growing graph behind registration: one by one, in bulk, and frozen into a Graph."""

from types import SimpleNamespace

import pytest

from benchmarks.core.conftest import NODES
from flow_core.core import dynamic_graph


@pytest.fixture(scope="module")
def items(dag):
    return [
        SimpleNamespace(id=f"s{node}", after=tuple(f"s{p}" for p in before), before=(), manual=False)
        for node, before in enumerate(dag.predecessors)
    ]


def one_by_one(items):
    made = dynamic_graph.DynamicGraph()
    add = made.add
    for item in items:
        add(item.id, item, item.after, item.before)
    return made


def bulk(items):
    made = dynamic_graph.DynamicGraph()
    made.add_many(items)
    return made


def bench_add_10k_forward(benchmark, items):
    assert len(benchmark(one_by_one, items)) == NODES


def bench_add_10k_backward(benchmark, items):
    """Every step names predecessors that nobody has registered yet."""
    assert len(benchmark(one_by_one, items[::-1])) == NODES


def bench_add_many_10k(benchmark, items):
    assert len(benchmark(bulk, items)) == NODES


def bench_freeze_10k(benchmark, items):
    frozen, order = benchmark(bulk(items).freeze)
    assert frozen.n == len(order) == NODES

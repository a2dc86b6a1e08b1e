"""Graph: building from lists and arrays, asking for order and reach."""

import pytest

from benchmarks.core.conftest import BIG, NODES
from flow_core.core import graph


@pytest.fixture(scope="module")
def built(edges):
    return graph.Graph(NODES, *edges)


def bench_build_10k_from_lists(benchmark, edges):
    assert benchmark(graph.Graph, NODES, *edges).n == NODES


def bench_build_1m_from_numpy(benchmark, big_edges):
    assert benchmark.pedantic(graph.Graph, (BIG, *big_edges), rounds=5, warmup_rounds=1).n == BIG


def bench_order_10k(benchmark, built):
    assert len(benchmark(built.order)) == NODES


def bench_descendants_of_the_root_10k(benchmark, built):
    assert len(benchmark(built.descendants, 0)) == NODES


def bench_reaches_10k(benchmark, built):
    assert benchmark(built.reaches, 0, NODES - 1)


def bench_critical_path_10k(benchmark, built):
    length, path = benchmark(built.critical_path, [1.0] * NODES)
    assert length == len(path)

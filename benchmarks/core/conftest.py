"""Graphs that several core benchmarks build on. Numbers of nodes are in the names of the benchmarks."""

import numpy
import pytest

from benchmarks.workload import Dag, random_predecessors

NODES = 10_000
BIG = 1_000_000


@pytest.fixture(scope="session")
def dag() -> Dag:
    """The random graph of 10,000 nodes."""
    return Dag(tuple(random_predecessors(NODES)))


@pytest.fixture(scope="session")
def edges(dag):
    """The same as two lists: sources and targets."""
    pairs = [(source, target) for target, before in enumerate(dag.predecessors) for source in before]
    return [source for source, _ in pairs], [target for _, target in pairs]


@pytest.fixture(scope="session")
def big_edges():
    """1,000,000 nodes with three edges each, as NumPy arrays, duplicates included."""
    targets = numpy.repeat(numpy.arange(1, BIG, dtype=numpy.uint32), 3)
    sources = (numpy.random.default_rng(0).random(len(targets)) * targets).astype(numpy.uint32)
    return sources, targets

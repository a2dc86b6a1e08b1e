"""The core's Graph straight from NumPy arrays: 1,000,000 nodes and just under 3,000,000 edges, in seconds."""

import gc
from statistics import median
from time import perf_counter

import numpy

from benchmarks.measure import resident
from flow_core.core.graph import Graph

label = "Graph from NumPy arrays, 1,000,000 nodes, 3,000,000 edges"
units = {"build_s": "s", "bytes_node": "bytes/node"}


def measure(quick: bool = False) -> dict[str, float]:
    nodes = 100_000 if quick else 1_000_000
    random = numpy.random.default_rng(0)
    targets = numpy.repeat(numpy.arange(1, nodes, dtype=numpy.uint32), 3)
    sources = (random.random(len(targets)) * targets).astype(numpy.uint32)
    before = resident()
    kept = Graph(nodes, sources, targets)
    used = resident() - before
    seconds = []
    for _ in range(5):
        gc.collect()
        begun = perf_counter()
        Graph(nodes, sources, targets)
        seconds.append(perf_counter() - begun)
    if kept.n != nodes:
        raise AssertionError(f"{kept.n} nodes instead of {nodes}")
    return {"build_s": median(seconds), "bytes_node": max(0, used) / nodes}

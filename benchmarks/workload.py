"""What is executed: graphs, step functions, and the checker that proves an engine executed them properly.

Standard library only, because every peer's own virtual environment imports this file. No timing here (measure.py) and
no choice of sizes (shapes/).
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SEED = 0x9E3779B97F4A7C15
REQUEST = b"x" * 64
VARIANTS = ("noop", "suspend")

# Multiplier and increment of Knuth's MMIX generator (The Art of Computer Programming, vol. 2, 3.3.4): trivially the
# same in any language, so that a rival which is not written in Python gets the same graphs.
_MULTIPLIER = 6364136223846793005
_INCREMENT = 1442695040888963407
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Dag:
    """A graph as predecessor tuples. Nodes are 0..n-1 and every predecessor is smaller than its node."""

    predecessors: tuple[tuple[int, ...], ...]

    @property
    def nodes(self) -> int:
        return len(self.predecessors)

    @property
    def edges(self) -> int:
        return sum(map(len, self.predecessors))

    def successors(self) -> list[list[int]]:
        table: list[list[int]] = [[] for _ in self.predecessors]
        for node, before in enumerate(self.predecessors):
            for predecessor in before:
                table[predecessor].append(node)
        return table

    def sinks(self) -> list[int]:
        used = bytearray(self.nodes)
        for before in self.predecessors:
            for predecessor in before:
                used[predecessor] = 1
        return [node for node in range(self.nodes) if not used[node]]

    def levels(self) -> list[list[int]]:
        """Nodes by their longest distance from a root, for engines whose user writes the waves by hand."""
        depth = [0] * self.nodes
        waves: list[list[int]] = []
        for node, before in enumerate(self.predecessors):
            depth[node] = 1 + max((depth[p] for p in before), default=-1)
            if depth[node] == len(waves):
                waves.append([])
            waves[depth[node]].append(node)
        return waves


def random_predecessors(nodes: int, seed: int = SEED) -> Iterator[tuple[int, ...]]:
    """Three draws among the earlier nodes for each node, duplicates merged: just under 3 edges a node."""
    state = seed
    yield ()
    for node in range(1, nodes):
        drawn = set()
        for _ in range(3):
            state = (state * _MULTIPLIER + _INCREMENT) & _MASK
            drawn.add((state >> 33) % node)
        yield tuple(sorted(drawn))


@dataclass(frozen=True, slots=True)
class Case:
    """One cell of the table: a shape at a size. `executions` is 0 when one big flow is executed once."""

    shape: str
    variant: str
    nodes: int
    executions: int = 0
    in_flight: int = 0

    @property
    def title(self) -> str:
        if not self.executions:
            return f"{self.shape} {self.nodes:,} {self.variant}"
        load = "all at once" if self.in_flight >= self.executions else f"{self.in_flight} in flight"
        return f"{self.shape} {self.executions:,} x {self.nodes} {self.variant}, {load}"

    @property
    def steps(self) -> int:
        """Steps that one timed run executes."""
        return self.nodes * max(1, self.executions)


@dataclass(slots=True)
class Workload:
    """What a peer's `build` gets: the case, its graph, and one callable per node."""

    case: Case
    mode: str
    dag: Dag
    steps: Sequence[Callable[[Any], Any]]
    checked: bool = False
    request: bytes = REQUEST


class OrderError(AssertionError):
    """An engine broke the order, ran a step twice, forgot one, or handed over the wrong input."""


@dataclass(slots=True)
class Checker:
    """Counts one execution: each step once, after all its predecessors, with the right input.

    Every step answers with its own number, so a wrong input is visible. A mapping given as input has to hold the
    output of every predecessor; a plain value has to be the first predecessor's (or the request, for a root).
    """

    dag: Dag
    inputs: bool = True
    started: bytearray = field(init=False)
    finished: bytearray = field(init=False)

    def __post_init__(self) -> None:
        self.started = bytearray(self.dag.nodes)
        self.finished = bytearray(self.dag.nodes)

    def start(self, node: int, value: Any) -> None:
        if self.started[node]:
            raise OrderError(f"step {node} was started twice")
        self.started[node] = 1
        before = self.dag.predecessors[node]
        for predecessor in before:
            if not self.finished[predecessor]:
                raise OrderError(f"step {node} was started before its predecessor {predecessor} had finished")
        if self.inputs:
            self._input(node, before, value)

    def _input(self, node: int, before: tuple[int, ...], value: Any) -> None:
        if isinstance(value, Mapping):
            expected: Any = {f"s{p}": answer(p) for p in before}
            value = dict(value)
        else:
            expected = answer(before[0]) if before else REQUEST
        if value != expected:
            raise OrderError(f"step {node} received {value!r:.80}, expected {expected!r:.80}")

    def finish(self, node: int) -> bytes:
        self.finished[node] = 1
        return answer(node)

    def complete(self, last: Any = None) -> None:
        """Raise unless every step has finished; `last` is the last node's output when the engine can tell it."""
        missing = self.finished.count(0)
        if missing:
            raise OrderError(f"{missing} of {self.dag.nodes} steps never finished, first {self.finished.index(0)}")
        if last is not None and last != answer(self.dag.nodes - 1):
            raise OrderError(f"the last step's output was reported as {last!r:.80}")


def answer(node: int) -> bytes:
    """What a checked step returns."""
    return b"%d" % node


def plain_steps(dag: Dag, variant: str, style: str, constant: bool = False) -> list[Callable[[Any], Any]]:
    """The measured steps: one function shared by all nodes, so that only the engine's own objects are counted.

    `constant` makes a step return the request instead of its input: with mappings as inputs, echoing would nest them.
    """

    def sync_echo(value: Any) -> Any:
        return value

    async def echo(value: Any) -> Any:
        return value

    async def fixed(value: Any) -> Any:
        return REQUEST

    sleep = asyncio.sleep

    async def suspended_echo(value: Any) -> Any:
        await sleep(0)
        return value

    async def suspended_fixed(value: Any) -> Any:
        await sleep(0)
        return REQUEST

    if style == "sync":
        if variant != "noop":
            raise ValueError("a plain function cannot suspend")
        return [sync_echo] * dag.nodes
    if variant == "noop":
        return [fixed if constant else echo] * dag.nodes
    return [suspended_fixed if constant else suspended_echo] * dag.nodes


def checked_steps(checker: Checker, variant: str, style: str) -> list[Callable[[Any], Any]]:
    """One reporting function per node, for the untimed proving run."""

    def make(node: int) -> Callable[[Any], Any]:
        def plain(value: Any) -> bytes:
            checker.start(node, value)
            return checker.finish(node)

        async def asynchronous(value: Any) -> bytes:
            checker.start(node, value)
            if variant == "suspend":
                await asyncio.sleep(0)
            return checker.finish(node)

        return plain if style == "sync" else asynchronous

    return [make(node) for node in range(checker.dag.nodes)]

"""Plan and Run: compiling the table of an execution, and stepping an execution by hand (no coroutines, no loop)."""

import pytest

from benchmarks.core.conftest import NODES
from flow_core.core import graph, plan, run, stepper
from flow_core.model.step import Step


async def echo(value):
    return value


@pytest.fixture(scope="module")
def steps(dag):
    return tuple(
        Step(f"s{node}", echo, after=[f"s{p}" for p in before], input=f"s{before[0]}" if before else None)
        for node, before in enumerate(dag.predecessors)
    )


def compiled(built, steps):
    made = plan.Plan(built, steps)
    made.compile()
    return made


def stepped(made):
    by_hand = stepper.Stepper(run.Run(made, b"request"))
    take, succeed = by_hand.take, by_hand.succeed
    count = 0
    while (index := take()) is not None:
        succeed(index, None)
        count += 1
    return count


def bench_compile_10k(benchmark, edges, steps):
    built = graph.Graph(NODES, *edges)
    assert len(benchmark(compiled, built, steps)) == NODES


def bench_create_10k(benchmark, edges, steps):
    """The state of one execution, filled."""
    benchmark(run.Run, compiled(graph.Graph(NODES, *edges), steps), b"request")


def bench_step_by_hand_10k(benchmark, edges, steps):
    assert benchmark(stepped, compiled(graph.Graph(NODES, *edges), steps)) == NODES

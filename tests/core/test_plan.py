"""Plan: what `compile` fills in by itself, what it leaves to `configure`, inputs and outputs by name.

Lives here: the compiled table as far as Python can see it. Does not live here: which policy makes a step special
(``tests/engine``).
"""

from __future__ import annotations

from typing import Any

import pytest

from flow_core.core.graph import Graph
from flow_core.core.plan import Kind, Plan, Source
from flow_core.core.run import Run
from flow_core.core.stepper import Stepper
from flow_core.errors import UnknownStep
from flow_core.model.operation import LocalOperation
from flow_core.model.options import OperationOptions
from flow_core.model.step import REQUEST, Step
from tests.core.kit import echo, plan_of


def compiled(*steps: Step, edges: str = "") -> tuple[Plan, list[int]]:
    """A plan and the steps that are left to `configure`; edges as ``"ab bc"`` between steps of one letter."""
    index = {step.id: v for v, step in enumerate(steps)}
    pairs = [(index[pair[0]], index[pair[1]]) for pair in edges.split()]
    plan = Plan(Graph(len(steps), [u for u, _ in pairs], [v for _, v in pairs]), steps, "orders", 7)
    return plan, plan.compile()


def test_what_it_was_made_from() -> None:
    steps = (Step("a", echo), Step("b", echo))
    plan, special = compiled(*steps, edges="ab")
    assert (plan.items, plan.flow, plan.revision, len(plan), plan.sinks) == (steps, "orders", 7, 2, (1,))
    assert special == [] and plan.graph.successors(0) == [1] and plan.policies == {} == plan.mappings


def test_default_inputs() -> None:
    plan, special = compiled(*(Step(name, echo) for name in "abcd"), edges="ab ac bd cd")
    assert special == []
    assert [plan.source(v) for v in range(4)] == [Source.FROM_REQUEST, 0, 0, Source.FROM_PREDECESSORS]


def test_named_inputs_that_are_direct() -> None:
    steps = Step("a", echo), Step("b", echo, input=REQUEST), Step("c", echo, input="b")
    plan, special = compiled(*steps, edges="ab ac bc")
    assert special == [] and [plan.source(v) for v in range(3)] == [Source.FROM_REQUEST, Source.FROM_REQUEST, 1]


@pytest.mark.parametrize(
    "step",
    [
        Step("c", echo, retry=2),
        Step("c", echo, timeout=1.0),
        Step("c", echo, output="elsewhere"),
        Step("c", echo, input="a"),  # no direct predecessor
        Step("c", echo, input="unknown"),
        Step("c", echo, input={"x": "a"}),
        Step("c", LocalOperation(echo, options=OperationOptions(retries=1))),
        Step("c", LocalOperation.new()),
        Step("c", echo, join="any"),
        Step("c", echo, fallback=echo),
    ],
    ids=range(10),
)
def test_what_is_not_plain_is_left_to_configure(step: Step) -> None:
    _, special = compiled(Step("a", echo), Step("b", echo), step, edges="ab bc")
    assert special == [2]


def test_the_output_of_a_renamed_predecessor_is_not_its_id() -> None:
    _, special = compiled(Step("a", echo, output="x"), Step("b", echo, input="a"), edges="ab")
    assert special == [0, 1]


def test_indexes_writers_and_names() -> None:
    steps = Step("a", echo, output="x"), Step("b", echo), Step("c", echo, output="x")
    plan, _ = compiled(*steps, edges="ab bc")
    assert [plan.index(name) for name in "abc"] == [0, 1, 2]
    assert plan.writers("x") == (0, 2) and plan.writers("b") == (1,) and plan.writers("a") == ()
    with pytest.raises(UnknownStep, match=r"orders.*'bb'"):
        plan.index("bb")


def test_refusals() -> None:
    with pytest.raises(ValueError, match="2 nodes, but 1 items"):
        Plan(Graph(2), (Step("a", echo),))
    with pytest.raises(TypeError):
        Plan(None, ())  # type: ignore[arg-type]
    plan, _ = compiled(Step("a", echo))
    for outside in (1, 2**32 - 1):
        with pytest.raises(IndexError, match="no step"):
            plan.source(outside)
        with pytest.raises(IndexError, match="no step"):
            plan.configure(outside, call=echo, kind=Kind.KIND_COROUTINE)
    with pytest.raises((OverflowError, IndexError)):
        plan.source(-1)


def test_no_steps() -> None:
    plan, special = compiled()
    assert len(plan) == 0 and special == [] and plan.sinks == ()


def test_configured_mappings() -> None:
    functions = dict.fromkeys("abc", echo)
    told = {"source": Source.FROM_MAPPING, "mapping": (("left", 0), ("whole", -1), ("given", "outside"))}
    plan = plan_of(functions, {"c": "ab"}, {"c": told})
    run = Run(plan, "request")
    Stepper(run).recall(0, "A")
    Stepper(run).recall(1, "B")
    run_inputs: Any = {"left": "A", "whole": "request"}
    plan.configure(2, call=echo, kind=Kind.KIND_COROUTINE, source=Source.FROM_MAPPING, mapping=told["mapping"][:2])
    assert Stepper(run).input(2) == run_inputs and plan.mappings[2] == told["mapping"][:2]


def test_predecessors_without_an_output_are_left_out() -> None:
    plan = plan_of(dict.fromkeys("abc", echo), {"c": "ab"})
    run = Run(plan)
    Stepper(run).recall(0, "A")
    assert Stepper(run).input(2) == {"a": "A"}

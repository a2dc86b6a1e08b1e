"""The shapes are what they claim to be, and the checker catches an engine that executes them wrongly."""

import asyncio
import hashlib

import pytest

from benchmarks import shapes
from benchmarks.workload import REQUEST, Case, Checker, Dag, OrderError, answer, checked_steps, plain_steps

DIAMOND = Dag(((), (0,), (0,), (1, 2)))


def dag(shape, nodes):
    return shapes.dag_of(Case(shape, "noop", nodes))


@pytest.mark.parametrize(
    ("shape", "nodes", "edges", "sinks"),
    [("chain", 1_000, 999, 1), ("fan", 10_002, 20_000, 1), ("random", 10_000, 29_971, 2_496), ("small", 8, 10, 1)],
)
def test_size_of_shape(shape, nodes, edges, sinks):
    made = dag(shape, nodes)
    assert (made.nodes, made.edges, len(made.sinks())) == (nodes, edges, sinks)


@pytest.mark.parametrize("shape", shapes.NAMES)
def test_predecessors_come_first_and_are_distinct(shape):
    for node, before in enumerate(dag(shape, 8 if shape == "small" else 500).predecessors):
        assert all(predecessor < node for predecessor in before)
        assert list(before) == sorted(set(before))


def test_random_graph_is_the_same_everywhere():
    """The digest pins the generator: results of different years, versions and languages stay comparable."""
    digest = hashlib.sha256(repr(list(dag("random", 1_000).predecessors)).encode()).hexdigest()
    assert digest == "d5e59327203be5d322b5e64825119b6102b1cab295d8e8316c95d93ec0c9da76"
    assert dag("grow", 1_000) == dag("random", 1_000)


def test_fan_needs_something_between_root_and_join():
    with pytest.raises(ValueError, match="at least one step"):
        dag("fan", 2)


def test_successors_and_levels():
    assert DIAMOND.successors() == [[1, 2], [3], [3], []]
    assert DIAMOND.levels() == [[0], [1, 2], [3]]


def test_cases_of_all_shapes_have_both_variants_and_loads():
    cases = shapes.all_cases()
    assert {case.variant for case in cases} == {"noop", "suspend"}
    assert {case.in_flight for case in cases if case.shape == "small"} == {100, 10_000}
    assert [case.nodes for case in cases if case.shape == "grow" and case.variant == "noop"] == [
        1_000,
        10_000,
        100_000,
        1_000_000,
    ]
    assert max(case.nodes for case in shapes.all_cases(quick=True)) < 100_000


def test_unknown_shape_is_named():
    with pytest.raises(ValueError, match="'spiral'"):
        shapes.load("spiral")


def execute(order, inputs=None, checker=None):
    """Run the diamond's checked steps in `order`; `inputs` replaces what a step receives."""
    checker = checker or Checker(DIAMOND)
    steps = checked_steps(checker, "noop", "sync")
    outputs = {}
    for node in order:
        before = DIAMOND.predecessors[node]
        right = outputs.get(before[0]) if before else REQUEST
        outputs[node] = steps[node]((inputs or {}).get(node, right))
    checker.complete(outputs.get(3))
    return checker


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3)])
def test_right_orders_pass(order):
    execute(order)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ((0, 1, 3, 2), "step 3 was started before its predecessor 2"),
        ((1, 0, 2, 3), "step 1 was started before its predecessor 0"),
        ((0, 1, 1, 2, 3), "step 1 was started twice"),
        ((0, 1, 2), "1 of 4 steps never finished, first 3"),
    ],
)
def test_wrong_orders_are_caught(order, message):
    with pytest.raises(OrderError, match=message):
        execute(order, checker=Checker(DIAMOND, inputs=False))


@pytest.mark.parametrize("wrong", [answer(2), REQUEST, {"s1": answer(1)}, {"s1": answer(1), "s2": answer(9)}])
def test_wrong_inputs_are_caught(wrong):
    with pytest.raises(OrderError, match="step 3 received"):
        execute((0, 1, 2, 3), {3: wrong})


def test_mapping_of_all_predecessors_is_a_right_input():
    execute((0, 1, 2, 3), {3: {"s1": answer(1), "s2": answer(2)}})


def test_wrong_last_output_is_caught():
    checker = execute((0, 1, 2, 3))
    with pytest.raises(OrderError, match="last step's output"):
        checker.complete(answer(2))


def test_started_is_not_finished():
    """An engine that does not wait for a suspended predecessor is caught, too."""
    checker = Checker(DIAMOND, inputs=False)
    steps = checked_steps(checker, "suspend", "async")

    async def overlapping():
        await asyncio.gather(steps[0](None), steps[1](None))

    with pytest.raises(OrderError, match="before its predecessor 0 had finished"):
        asyncio.run(overlapping())


@pytest.mark.parametrize("variant", ["noop", "suspend"])
@pytest.mark.parametrize("constant", [False, True])
def test_plain_steps_share_one_function(variant, constant):
    steps = plain_steps(DIAMOND, variant, "async", constant)
    assert len(steps) == 4 and len(set(steps)) == 1
    assert asyncio.run(steps[0](b"given")) == (REQUEST if constant else b"given")


def test_plain_function_cannot_suspend():
    assert plain_steps(DIAMOND, "noop", "sync")[0](b"given") == b"given"
    with pytest.raises(ValueError, match="cannot suspend"):
        plain_steps(DIAMOND, "suspend", "sync")

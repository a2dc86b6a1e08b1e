"""Graph: building from anything, merged edges, cycles as paths, walks against a plain model."""

from array import array
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_core.core.graph import Graph
from flow_core.errors import CycleError

DIAMOND = (4, [0, 0, 1, 2], [1, 2, 3, 3])

edges_of = st.integers(1, 12).flatmap(
    lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=30))
)


def reach(n, edges):
    """For each node what comes strictly after it, by repeating until nothing changes."""
    after = [set() for _ in range(n)]
    for _ in range(n):
        for u, v in edges:
            after[u] |= {v} | after[v]
    return after


def assert_topological(graph, order):
    place = {v: i for i, v in enumerate(order)}
    assert all(place[u] < place[v] for v in order for u in graph.predecessors(v) if u in place)


def test_a_diamond():
    graph = Graph(*DIAMOND)
    graph.check()
    assert (graph.n, graph.m, len(graph)) == (4, 4, 4)
    assert (graph.successors(0), graph.predecessors(3)) == ([1, 2], [1, 2])
    assert (graph.roots(), graph.sinks()) == ([0], [3])
    assert graph.order() in ([0, 1, 2, 3], [0, 2, 1, 3])
    assert (graph.descendants(1), graph.ancestors(1)) == ([1, 3], [0, 1])


def test_breadth_first_order_is_not_taken_for_topological():
    # 0 -> 3 is short, 0 -> 1 -> 2 -> 3 is long: breadth first would put 3 before 2.
    graph = Graph(4, [0, 0, 1, 2], [3, 1, 2, 3])
    assert graph.order() == [0, 1, 2, 3]
    reverse = Graph(4, [3, 3, 2, 1], [0, 2, 1, 0])
    assert reverse.order() == [3, 2, 1, 0]


def test_predecessors_keep_their_order_and_duplicates_are_merged():
    graph = Graph(4, [2, 0, 2, 1, 0], [3, 3, 3, 3, 3])
    assert graph.predecessors(3) == [2, 0, 1]
    assert (graph.m, graph.successors(2)) == (3, [3])
    graph.check()


def test_long_rows_are_merged_too():
    sources = [*range(20), *reversed(range(20))]
    graph = Graph(21, sources, [20] * 40)
    assert graph.predecessors(20) == list(range(20))
    graph.check()


@pytest.mark.parametrize(
    "make",
    [
        list,
        tuple,
        lambda v: array("i", v),
        lambda v: array("q", v),
        lambda v: array("I", v),
        np.uint32,
        np.int32,
        np.int64,
        np.uint64,
        np.int16,
        lambda v: np.repeat(v, 2)[::2],
    ],
)
def test_builds_from_any_sequence_of_ints(make):
    n, sources, targets = DIAMOND
    graph = Graph(n, make(sources), make(targets))
    assert [graph.predecessors(v) for v in range(n)] == [[], [0], [0], [1, 2]]


def test_builds_from_read_only_arrays():
    _, sources, targets = DIAMOND
    arrays = [np.array(values, dtype=np.uint32) for values in (sources, targets)]
    for values in arrays:
        values.flags.writeable = False
    assert Graph(4, *arrays).m == 4


def test_from_csr():
    graph = Graph.from_csr([0, 0, 1, 2, 4], [0, 0, 2, 1])
    assert [graph.predecessors(v) for v in range(4)] == [[], [0], [0], [2, 1]]
    assert Graph.from_csr(np.array([0]), []).n == 0


@pytest.mark.parametrize("indptr", [[], [1, 1], [0, 2, 1, 2], [0, 1], [0, 3]])
def test_from_csr_refuses_rows_that_do_not_ascend(indptr):
    with pytest.raises(ValueError, match="pred_indptr"):
        Graph.from_csr(indptr, [0, 0])


def test_graphs_without_nodes_or_edges():
    assert (Graph(0).order(), Graph(0).roots(), Graph(0).critical_path([])) == ([], [], (0.0, []))
    lonely = Graph(3)
    lonely.check()
    assert (lonely.order(), lonely.roots(), lonely.sinks()) == ([0, 1, 2],) * 3


@pytest.mark.parametrize(
    ("edges", "path"), [([(0, 0)], 1), ([(0, 1), (1, 0)], 2), ([(0, 1), (1, 2), (2, 3), (3, 1)], 3)]
)
def test_a_cycle_is_raised_as_its_path(edges, path):
    with pytest.raises(CycleError) as caught:
        Graph(5, *zip(*edges, strict=True))
    nodes = caught.value.path
    assert nodes[0] == nodes[-1]
    assert len(set(nodes)) == len(nodes) - 1 == path
    assert set(pairwise(nodes)) <= set(edges)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((-1,), ValueError, "n must be"),
        ((2**32,), ValueError, "n must be"),
        ((1.5,), TypeError, "n must be an int"),
        ((True,), TypeError, "n must be an int"),
        ((2, [0], [2]), IndexError, r"targets\[0\] is 2"),
        ((2, [0, -1], [1, 1]), IndexError, r"sources\[1\] is -1"),
        ((2, np.array([0, -1]), [1, 1]), IndexError, r"sources\[1\] is -1"),
        ((2, np.array([0, 2**40]), [1, 1]), IndexError, r"sources\[1\] is 1099511627776"),
        ((2, np.array([5], dtype=np.uint32), [1]), IndexError, r"sources\[0\] is 5"),
        ((2, [0], []), ValueError, "1 sources but 0 targets"),
        ((2, [0.0], [1]), TypeError, r"sources\[0\] must be an int, not float"),
        ((2, np.array([0.0]), [1]), TypeError, r"sources\[0\] must be an int"),
        ((2, 3, [1]), TypeError, "sources must be a sequence"),
        ((2, "0", [1]), TypeError, "sources"),
    ],
)
def test_refuses_bad_input(arguments, error, text):
    with pytest.raises(error, match=text):
        Graph(*arguments)


@pytest.mark.parametrize(("node", "error"), [(4, IndexError), (-1, IndexError), (True, TypeError), ("0", TypeError)])
def test_refuses_nodes_that_do_not_exist(node, error):
    graph = Graph(*DIAMOND)
    for call in (
        graph.successors,
        graph.predecessors,
        graph.descendants,
        graph.ancestors,
        lambda v: graph.reaches(0, v),
    ):
        with pytest.raises(error):
            call(node)
    with pytest.raises(TypeError, match="built once"):
        graph.__init__(1)


def test_subgraph_gives_the_graph_and_the_old_numbers():
    part, old = Graph(*DIAMOND).subgraph([3, 1, 0])
    assert list(old) == [3, 1, 0]
    assert [part.predecessors(v) for v in range(3)] == [[1], [2], []]
    empty, nothing = Graph(*DIAMOND).subgraph([])
    assert (empty.n, list(nothing)) == (0, [])
    with pytest.raises(ValueError, match="holds 1 twice"):
        Graph(*DIAMOND).subgraph([1, 1])


def test_critical_path():
    graph = Graph(*DIAMOND)
    assert graph.critical_path([1, 2, 5, 1]) == (7.0, [0, 2, 3])
    assert graph.critical_path([0, 0, 0, 0])[0] == 0.0
    for weights, text in (([1], "1 weights for 4"), ([1, 1, 1, -1], "not negative"), ([1, 1, 1, float("nan")], "nan")):
        with pytest.raises(ValueError, match=text):
            graph.critical_path(weights)


@given(edges_of)
def test_against_a_plain_model(case):
    n, edges = case
    after = reach(n, edges)
    sources, targets = [u for u, _ in edges], [v for _, v in edges]
    if any(v in after[v] for v in range(n)):
        with pytest.raises(CycleError) as caught:
            Graph(n, sources, targets)
        path = caught.value.path
        assert path[0] == path[-1]
        assert set(pairwise(path)) <= set(edges)
        return
    graph = Graph(n, sources, targets)
    graph.check()
    assert sorted(graph.order()) == list(range(n))
    assert_topological(graph, graph.order())
    for v in range(n):
        assert graph.predecessors(v) == list(dict.fromkeys(u for u, w in edges if w == v))
        assert graph.successors(v) == sorted({w for u, w in edges if u == v})
        assert sorted(graph.descendants(v)) == sorted(after[v] | {v})
        assert_topological(graph, graph.descendants(v))
        assert set(graph.ancestors(v)) == {u for u in range(n) if v in after[u]} | {v}
        assert [graph.reaches(v, w) for w in range(n)] == [w in after[v] for w in range(n)]


def test_a_permuted_large_graph_is_in_order():
    random = np.random.default_rng(7)
    targets = np.repeat(np.arange(1, 20_000), 3)
    sources = (random.random(targets.size) * targets).astype(np.int64)
    names = random.permutation(20_000)
    graph = Graph(20_000, names[sources], names[targets])
    graph.check()
    place = np.empty(20_000, dtype=np.int64)
    place[graph.order()] = np.arange(20_000)
    assert (place[names[sources]] < place[names[targets]]).all()

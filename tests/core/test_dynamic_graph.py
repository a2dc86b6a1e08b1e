"""DynamicGraph: late binding, cycles refused with nothing changed, ALL, bulk, all against a plain model."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow_core.core.dynamic_graph import DynamicGraph
from flow_core.errors import CycleError


@dataclass
class Item:
    id: str
    after: tuple = ()
    before: tuple = ()
    manual: bool = False


def edges_of(topology):
    graph, items = topology.freeze()
    graph.check()
    return {(items[u].id, items[v].id) for v in range(graph.n) for u in graph.predecessors(v)}


def put(topology, item):
    topology.add(item.id, item, item.after, item.before, detached=item.manual)


@dataclass
class Model:
    """The same in dicts and sets: declared items in order, everything derived from them anew each time."""

    items: dict = field(default_factory=dict)

    def edges(self):
        explicit, says = set(), {i.id for i in self.items.values() if "$all" in (*i.after, *i.before)}
        plain = [i.id for i in self.items.values() if i.id not in says and not i.manual]
        for item in self.items.values():
            for name in item.after:
                explicit |= {(u, item.id) for u in plain} if name == "$all" else {(name, item.id)}
            for name in item.before:
                explicit |= {(item.id, v) for v in plain} if name == "$all" else {(item.id, name)}
        return explicit

    def cyclic(self):
        edges = self.edges()
        nodes = {node for edge in edges for node in edge}
        while nodes:
            free = {v for v in nodes if not any(w == v and u in nodes for u, w in edges)}
            if not free:
                return True
            nodes -= free
        return False

    def missing(self):
        named = {}
        for item in self.items.values():
            for name in (*item.after, *item.before):
                if name != "$all" and name not in self.items:
                    named.setdefault(name, set()).add(item.id)
        return {name: sorted(named[name]) for name in sorted(named)}


def assert_same(topology, model):
    topology.check()
    assert list(topology) == list(model.items)
    assert all(topology.get(name) is item for name, item in model.items.items())
    assert topology.unresolved() == model.missing()
    if model.missing():
        with pytest.raises(ValueError, match="unresolved"):
            topology.freeze()
        return
    assert [item.id for item in topology.freeze()[1]] == list(model.items)
    assert edges_of(topology) == model.edges()


def test_registered_in_any_order():
    topology = DynamicGraph()
    put(topology, Item("c", after=("b",)))
    put(topology, Item("a", before=("b",)))
    assert topology.unresolved() == {"b": ["a", "c"]}
    assert ("b" in topology, topology.get("b"), len(topology)) == (False, None, 2)
    assert topology.reaches("a", "c")
    put(topology, Item("b"))
    assert edges_of(topology) == {("a", "b"), ("b", "c")}
    assert list(topology) == ["c", "a", "b"]
    assert (topology.predecessors("b"), topology.successors("b")) == (["a"], ["c"])
    assert (topology.reaches("a", "c"), topology.reaches("c", "a"), topology.reaches("a", "a")) == (True, False, False)


def test_names_are_compared_by_value():
    topology = DynamicGraph()
    put(topology, Item("".join(["st", "ep"]), after=("".join(["o", "ther"]),)))
    assert "".join(["s", "tep"]) in topology
    assert topology.unresolved() == {"other": ["step"]}


def test_predecessors_are_those_the_step_declared_first_and_each_once():
    topology = DynamicGraph()
    put(topology, Item("x", before=("z",)))
    put(topology, Item("y", before=("z",)))
    put(topology, Item("z", after=("w", "y")))
    put(topology, Item("w"))
    graph, items = topology.freeze()
    assert [items[u].id for u in graph.predecessors(2)] == ["w", "y", "x"]
    assert topology.predecessors("z") == ["w", "y", "x"]


@pytest.mark.parametrize(
    ("steps", "last", "circle"),
    [
        ([], Item("a", after=("a",)), ["a"]),
        ([], Item("a", before=("a",)), ["a"]),
        ([Item("a", after=("b",))], Item("b", after=("a",)), ["a", "b"]),
        ([Item("a", after=("b",)), Item("b", after=("c",))], Item("c", after=("a",)), ["a", "b", "c"]),
        ([Item("a", before=("b",)), Item("b", before=("c",))], Item("c", before=("a",)), ["a", "b", "c"]),
        ([Item("last", after=("$all",))], Item("x", after=("last",)), ["ALL", "last", "x"]),
        ([Item("first", before=("$all",))], Item("x", before=("first",)), ["ALL", "first", "x"]),
    ],
)
def test_a_cycle_is_refused_as_its_path_and_changes_nothing(steps, last, circle):
    topology, model = DynamicGraph(), Model()
    for item in steps:
        put(topology, item)
        model.items[item.id] = item
    for change in (
        lambda: put(topology, last),
        lambda: topology.add_many([last]),
        lambda: topology.add_many([last, *(Item(f"n{i}") for i in range(100))]),
    ):
        with pytest.raises(CycleError) as caught:
            change()
        path = caught.value.path
        assert path[0] == path[-1] != "ALL"
        assert sorted(set(path)) == sorted(circle)
        assert_same(topology, model)


def test_a_removed_step_that_others_name_becomes_missing_again():
    topology = DynamicGraph()
    for item in (Item("a"), Item("b", after=("a",)), Item("c", after=("b",), before=("d",)), Item("d")):
        put(topology, item)
    topology.remove("b")
    assert topology.unresolved() == {"b": ["c"]}
    assert not topology.reaches("a", "c")  # a -> b was declared by b
    put(topology, Item("b"))
    assert edges_of(topology) == {("b", "c"), ("c", "d")}
    topology.remove("c")
    assert topology.unresolved() == {}
    assert topology.find("c") is None
    with pytest.raises(KeyError, match="'c'"):
        topology.remove("c")


def test_replace_exchanges_a_steps_own_edges_or_nothing():
    topology = DynamicGraph()
    for item in (Item("a"), Item("b", after=("a",)), Item("c", after=("b",))):
        put(topology, item)
    with pytest.raises(CycleError):
        topology.replace("a", None, after=("new", "c"))
    assert edges_of(topology) == {("a", "b"), ("b", "c")}
    topology.replace("b", Item("b"), before=("a",))
    assert edges_of(topology) == {("b", "a"), ("b", "c")}
    assert list(topology) == ["a", "b", "c"]
    topology.check()


def test_all_means_the_steps_that_do_not_say_it_and_are_not_detached():
    topology = DynamicGraph()
    put(topology, Item("first", before=("$all",)))
    put(topology, Item("a"))
    put(topology, Item("last", after=("$all",)))
    put(topology, Item("alone", manual=True))
    put(topology, Item("b"))
    expected = {("first", "a"), ("first", "b"), ("a", "last"), ("b", "last")}
    assert edges_of(topology) == expected
    assert (topology.predecessors("last"), topology.successors("first")) == (["a", "b"], ["a", "b"])
    assert (topology.predecessors("a"), topology.successors("a")) == (["first"], ["last"])
    assert topology.reaches("first", "last")
    assert not topology.reaches("first", "alone")
    topology.check()


def test_a_bulk_is_all_or_nothing():
    topology = DynamicGraph()
    put(topology, Item("a"))
    steps = [Item(f"s{i}", after=(f"s{i + 1}",)) for i in range(200)]
    for broken, error in (
        (Item("a"), ValueError),
        (Item("s3"), ValueError),
        (Item(7), TypeError),
        (object(), AttributeError),
        (Item("x", after="s1"), TypeError),
        (Item("x", after=(1,)), TypeError),
        (Item("s200", after=("s0",)), CycleError),
        (Item("$all"), ValueError),
    ):
        for many in ([*steps, broken], [*steps[:5], broken] if error is not CycleError else [*steps, broken]):
            with pytest.raises(error):
                topology.add_many(many)
            topology.check()
            assert (list(topology), topology.unresolved()) == (["a"], {})
    topology.add_many([*steps, Item("s200")])
    assert edges_of(topology) == {(f"s{i + 1}", f"s{i}") for i in range(200)}
    topology.check()


def test_refuses_bad_arguments_and_changes_nothing():
    topology = DynamicGraph()
    put(topology, Item("a"))
    for arguments, error in (
        (("a", None), ValueError),
        ((1, None), TypeError),
        (("b", None, "a"), TypeError),
        (("b", None, ["x", 1]), TypeError),
        (("b", None, 5), TypeError),
        (("$all", None), ValueError),
    ):
        with pytest.raises(error):
            topology.add(*arguments)
        topology.check()
        assert (list(topology), topology.unresolved()) == (["a"], {})
    with pytest.raises(KeyError, match="'zzz'"):
        topology.reaches("a", "zzz")
    with pytest.raises(TypeError, match="not int"):
        topology.get(1)


def test_an_item_whose_attributes_change_the_topology_is_refused():
    topology = DynamicGraph()

    class Sneaky:
        id, before, manual = "s", (), False

        @property
        def after(self):
            topology.add("other", None)
            return ()

    with pytest.raises(RuntimeError, match="being changed"):
        topology.add_many([Sneaky()])
    assert list(topology) == []
    put(topology, Item("s"))


def test_many_removals_and_registrations_leave_nothing_behind():
    topology = DynamicGraph()
    put(topology, Item("hub"))
    for i in range(3_000):
        put(topology, Item(f"s{i}", after=("hub", f"ghost{i}")))
        if i >= 10:
            topology.remove(f"s{i - 10}")
    topology.check()
    assert len(topology) == 11
    assert topology.find("ghost0") is None
    assert topology.find("s2999") < 200  # nodes are used again
    assert len(topology.unresolved()) == 10


NAMES = [f"s{i}" for i in range(7)]
some_names = st.lists(st.sampled_from([*NAMES, "$all"]), max_size=3, unique=True).map(tuple)
some_item = st.builds(Item, st.sampled_from(NAMES), some_names, some_names, st.booleans())
change = st.tuples(st.sampled_from(["add", "add", "replace", "remove", "many"]), some_item)


@settings(max_examples=300, deadline=None)
@given(st.lists(change, max_size=25))
def test_against_a_plain_model(changes):
    topology, model = DynamicGraph(), Model()
    for action, item in changes:
        if action == "remove":
            if item.id in model.items:
                topology.remove(item.id)
                del model.items[item.id]
        elif (item.id in model.items) is (action == "replace"):
            wanted = Model({**model.items, item.id: item})
            try:
                if action == "many":
                    topology.add_many([item])
                elif action == "add":
                    put(topology, item)
                else:
                    topology.replace(item.id, item, item.after, item.before, detached=item.manual)
                model = wanted
                assert not wanted.cyclic()
            except CycleError:
                assert wanted.cyclic()
        assert_same(topology, model)


@settings(max_examples=60, deadline=None)
@given(st.lists(some_item, unique_by=lambda item: item.id), st.integers(0, 6), st.randoms())
def test_a_bulk_gives_the_same_as_one_by_one(items, already, rng):
    topology, model = DynamicGraph(), Model()
    filler = [Item(f"f{i}", manual=True) for i in range(80)]  # past the limit below which a bulk goes edge by edge
    for item in items[:already]:
        wanted = Model({**model.items, item.id: item})
        if not wanted.cyclic():
            put(topology, item)
            model = wanted
    bulk = [*items[already:], *filler]
    rng.shuffle(bulk)
    wanted = Model({**model.items, **{item.id: item for item in bulk}})
    try:
        topology.add_many(bulk)
        model = wanted
        assert not wanted.cyclic()
    except CycleError:
        assert wanted.cyclic()
    assert_same(topology, model)
    put(topology, Item("afterwards", after=tuple(model.items)[:3], manual=True))
    topology.check()


@pytest.mark.parametrize("order", ["forward", "reverse", "shuffled"])
def test_a_large_graph_in_any_order_of_registration(order):
    rng = random.Random(4)
    items = [Item(f"s{i}", tuple({f"s{rng.randrange(i)}" for _ in range(3)}) if i else ()) for i in range(2_000)]
    expected = {(name, item.id) for item in items for name in item.after}
    if order != "forward":
        items.reverse() if order == "reverse" else rng.shuffle(items)
    topology = DynamicGraph()
    for item in items:
        put(topology, item)
    topology.check()
    assert edges_of(topology) == expected

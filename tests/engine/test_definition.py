"""A flow's definition: what a change does, what it refuses, and that a refused one changes nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flow_core.engine.definition as module
from flow_core.engine.bindings import Bindings
from flow_core.engine.definition import MOST_PLANS, Definition
from flow_core.errors import (
    CycleError,
    DuplicateStep,
    FlowError,
    LimitExceeded,
    OutputConflict,
    RevisionConflict,
    UnknownStep,
    UnresolvedSteps,
)
from flow_core.model.step import ALL, Step
from tests.engine.script import work


def definition(*steps):
    made = Definition("f")
    made.create(steps)
    return made


def step(id, **options):
    return Step(id, work, **options)


def snapshot(made):
    made.topology.check()
    edges = {name: (made.topology.predecessors(name), made.topology.successors(name)) for name in made.topology}
    return list(made), made.revision, made.unresolved(), {k: (sorted(a), sorted(b)) for k, (a, b) in edges.items()}


class Refused:
    """The body raises this error, about flow ``f``, and the definition stays what it was."""

    def __init__(self, made, error):
        self.made, self.error = made, error

    def __enter__(self):
        self.before = snapshot(self.made)
        self.raises = pytest.raises(self.error)
        return self.raises.__enter__()

    def __exit__(self, *raised):
        self.raises.__exit__(*raised)
        assert self.raises.excinfo.value.flow == "f"
        assert snapshot(self.made) == self.before
        return True


# --- changes and revisions --------------------------------------------------------------------------------------------


def test_every_change_makes_one_revision():
    made = Definition("f")
    assert made.revision == 0
    assert made.create([step("a"), step("b")]) == 1
    assert made.replace("a", step("a", after="b")) == 2
    assert made.delete("b") == made.revision == 3
    assert [s.id for s in made] == ["a"]
    assert ("a" in made, "b" in made, len(made)) == (True, False, 1)


@pytest.mark.parametrize(
    "change",
    [lambda d, r: d.create([step("x")], r), lambda d, r: d.delete("a", r), lambda d, r: d.replace("a", step("a"), r)],
    ids=["create", "delete", "replace"],
)
def test_compare_and_set(change):
    made = definition(step("a"))
    for stale in (0, 2):
        with Refused(made, RevisionConflict) as caught:
            change(made, stale)
        assert (caught.value.expected, caught.value.actual) == (stale, 1)
    assert change(made, 1) == 2


def test_two_writers_who_read_the_same_revision_never_lose_an_update():
    made = definition(step("a"))
    read = made.revision
    made.replace("a", step("a", retry=1), read)
    with Refused(made, RevisionConflict):
        made.replace("a", step("a", retry=2), read)


def test_a_step_is_only_replaced_by_who_has_seen_it():
    made = definition(step("a"))
    seen = next(iter(made))
    made.replace(seen, step("a", retry=1))
    with Refused(made, RevisionConflict) as caught:
        made.replace(seen, step("a", retry=2))
    assert caught.value.step == "a"


def test_a_replaced_step_keeps_its_place_and_what_others_say_about_it():
    made = definition(step("a"), step("b", after="a"), step("c", after="b"))
    made.replace("b", step("b", before="x"))
    assert [s.id for s in made] == ["a", "b", "c"]
    assert made.topology.predecessors("c") == ["b"]
    assert made.unresolved() == {"x": ["b"]}


def test_a_replaced_step_may_get_another_id():
    made = definition(step("a"), step("b", after="a"))
    made.replace("a", step("n"))
    assert {s.id for s in made} == {"b", "n"}
    assert made.unresolved() == {"a": ["b"]}


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("many", [1, 100])
def test_duplicates_with_the_first_one_named(many):
    made = definition(step("a"))
    new = [step(f"n{i}") for i in range(many)]
    with Refused(made, DuplicateStep) as caught:
        made.create([*new, step("a")])
    assert caught.value.step == "a"
    with Refused(made, DuplicateStep) as caught:
        made.create([*new, step("n0"), step("a")])
    assert caught.value.step == "n0"
    with Refused(made, DuplicateStep):
        made.create([step("a", after="a")])


def test_a_rename_to_an_id_that_is_taken():
    made = definition(step("a"), step("b"))
    with Refused(made, DuplicateStep):
        made.replace("a", step("b"))


@pytest.mark.parametrize("many", [1, 100])
def test_a_cycle_is_printed_as_a_path(many):
    made = definition(step("a", after="c"), step("b", after="a"))
    with Refused(made, CycleError) as caught:
        made.create([*(step(f"n{i}") for i in range(many - 1)), step("c", after="b")])
    assert set(caught.value.path) == {"a", "b", "c"}
    assert caught.value.path[0] == caught.value.path[-1]


@pytest.mark.parametrize("new", [step("a", after="c"), step("n", after="c", before="b")], ids=["same id", "another id"])
def test_a_replacement_that_closes_a_cycle(new):
    made = definition(step("a"), step("b", after="a"), step("c", after="b"))
    with Refused(made, CycleError):
        made.replace("a", new)


def test_unknown_steps_with_a_guess():
    made = definition(step("charge-card"), step("ship"))
    for change in (made.delete, lambda name: made.replace(name, step("x")), lambda name: made.plan(Bindings(), name)):
        with Refused(made, UnknownStep) as caught:
            change("charge-crad")
        assert caught.value.fix == "did you mean 'charge-card'?"


def test_the_limit_of_steps(monkeypatch):
    monkeypatch.setattr(module, "MAX_STEPS", 3)
    made = definition(step("a"), step("b"))
    with Refused(made, LimitExceeded) as caught:
        made.create([step("c"), step("d")])
    assert "MAX_STEPS is 3" in str(caught.value)
    made.create([step("c")])


# --- writers of one output --------------------------------------------------------------------------------------------


def test_two_unordered_writers_are_refused_in_one_registration_and_in_two():
    made = definition(step("a", output="x"))
    with Refused(made, OutputConflict) as caught:
        made.create([step("b", output="x")])
    assert "'a' and 'b'" in str(caught.value)
    with Refused(made, OutputConflict):
        made.create([step("c", output="y"), step("d", output="y")])
    with Refused(made, OutputConflict):
        made.create([step("x")])


@pytest.mark.parametrize("steps", [("x", "a"), ("a", "x")])
@pytest.mark.parametrize("together", [True, False])
def test_a_named_output_and_the_default_output_of_another_step(steps, together):
    made = Definition("f")
    kinds = {"x": step("x"), "a": step("a", output="x")}
    if not together:
        made.create([kinds[steps[0]]])
        steps = steps[1:]
    with Refused(made, OutputConflict):
        made.create([kinds[name] for name in steps])


def test_ordered_writers_are_welcome_also_through_steps_that_are_still_missing():
    made = definition(step("a", output="x", before="middle"))
    made.create([step("b", output="x", after="middle")])
    made.create([step("c", output="x", after="b"), step("x", before="a")])
    made.topology.check()
    assert len(made) == 4


@pytest.mark.parametrize("bulk", [True, False])
def test_a_long_chain_of_writers_takes_few_questions(bulk):
    class Counting:
        """A topology that counts how often it is asked for an order."""

        def __init__(self, topology):
            self.topology, self.asked = topology, 0

        def __getattr__(self, name):
            return getattr(self.topology, name)

        def reaches(self, one, other):
            self.asked += 1
            return self.topology.reaches(one, other)

    made = Definition("f")
    made._outputs._topology = counting = Counting(made.topology)
    count = 500
    chain = [step(f"s{i}", output="x", after=f"s{i - 1}" if i else ()) for i in range(count)]
    if bulk:
        made.create(chain)
    else:
        for one in chain:
            made.create([one])
    assert counting.asked <= count * 20, "a registration asks the logarithm of the writers"
    with Refused(made, OutputConflict):
        made.delete("s250")


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.delete("middle"),
        lambda d: d.replace("middle", step("middle", after="a")),
        lambda d: d.replace("middle", step("other", before="b")),
        lambda d: d.replace("b", step("c", output="x")),
        lambda d: d.replace("free", step("free", output="x")),
        lambda d: d.replace("free", step("x")),
    ],
    ids=["delete", "replace", "rename", "writer", "new writer", "renamed to the output"],
)
def test_a_change_that_leaves_two_writers_unordered(change):
    made = definition(
        step("a", output="x"), step("middle", after="a", before="b"), step("b", output="x"), step("free"),
        step("y1", output="y"), step("y2", output="y", after="y1"),
    )  # fmt: skip
    with Refused(made, OutputConflict):
        change(made)
    made.delete("y2")
    with Refused(made, OutputConflict):
        change(made)


def test_a_replacement_may_keep_the_order_of_writers():
    made = definition(step("a", output="x"), step("middle", after="a", before="b"), step("b", output="x"))
    made.replace("middle", step("other", after="a", before="b"))
    made.replace("b", step("b", output="x", retry=1))
    assert made.revision == 3


def test_a_replacement_may_turn_the_order_of_writers_round():
    made = definition(
        step("a", output="x"), step("m", after="a", before="b"), step("b", output="x"), step("r", after="b")
    )
    made.replace("m", step("m", after="b", before="a"))
    made.create([step("c", output="x", after="a")])
    with Refused(made, OutputConflict):
        made.create([step("d", output="x", after="b")])


def test_an_output_is_free_again_when_its_writer_is_gone():
    made = definition(step("a", output="x"))
    made.delete("a")
    made.create([step("x")])
    made.replace("x", step("b", output="x"))
    made.create([step("z", output="z")])
    made.delete("b")
    made.create([step("x")])


# --- plans ------------------------------------------------------------------------------------------------------------


def test_a_plan_is_compiled_once_a_revision_and_stays_what_it_was():
    made = definition(step("a"))
    bindings = Bindings()
    plan = made.plan(bindings)
    assert made.plan(bindings) is plan
    made.create([step("b", after="a")])
    assert [s.id for s in plan.items] == ["a"], "an execution that runs keeps its revision"
    newer = made.plan(bindings)
    assert (plan.revision, newer.revision, len(newer)) == (1, 2, 2)
    assert newer.items[0] is plan.items[0], "what did not change is shared"


def test_another_binding_makes_another_plan_and_lets_the_old_ones_go():
    made = definition(step("a"))
    bindings = Bindings()
    plan = made.plan(bindings)
    for version in range(1, 5):
        bindings.version = version
        assert made.plan(bindings) is not plan
        assert len(made._plans) == 1


def test_plans_of_start_steps_are_kept_for_some():
    made = definition(*(step(f"s{i}") for i in range(MOST_PLANS + 10)))
    bindings = Bindings()
    last = [made.plan(bindings, f"s{i}") for i in range(MOST_PLANS + 10)][-1]
    assert made.plan(bindings, f"s{MOST_PLANS + 9}") is last
    assert len(made._plans) == MOST_PLANS


def test_late_binding():
    made = definition(step("a", after="b"), step("z", before="b", after="q"))
    assert made.unresolved() == {"b": ["a", "z"], "q": ["z"]}
    with Refused(made, UnresolvedSteps) as caught:
        made.plan(Bindings())
    assert caught.value.missing == {"b": ["a", "z"], "q": ["z"]}
    assert "'b' (named by 'a', 'z')" in str(caught.value)
    made.create([step("b"), step("q")])
    assert len(made.plan(Bindings())) == 4
    made.delete("b")
    assert made.unresolved() == {"b": ["a", "z"]}


def test_ten_thousand_single_registrations_ask_nothing_of_the_others():
    class Counted(Definition):
        def __iter__(self):
            raise AssertionError("a registration looks at all steps")

    made = Counted("f")
    for i in range(10_000):
        made.create([step(f"s{i}", after=f"s{i - 1}" if i else ())])
    assert (len(made), made.revision) == (10_000, 10_000)
    assert not made._outputs._writers, "default outputs cost nothing"
    made.topology.check()


# --- any changes in any order -----------------------------------------------------------------------------------------

names = st.sampled_from("abcdef")
some_step = st.builds(
    lambda name, after, before, **options: step(
        name, after=[x for x in after if x != name], before=[x for x in before if x != name], **options
    ),
    name=names, after=st.lists(st.sampled_from(["a", "b", "c", "d", ALL]), max_size=2),
    before=st.lists(names, max_size=1), output=st.sampled_from([None, None, "a", "x", "y"]), manual=st.booleans(),
)  # fmt: skip
changes = st.lists(
    st.one_of(
        st.tuples(st.just("create"), st.lists(some_step, min_size=1, max_size=3)),
        st.tuples(st.just("delete"), names),
        st.tuples(st.just("replace"), names, some_step),
    ),
    max_size=25,
)


def unordered_writers(made):
    writers = {}
    for one in made:
        writers.setdefault(one.output_name, []).append(one.id)
    reaches = made.topology.reaches
    return [
        (a, b)
        for ids in writers.values()
        for a in ids
        for b in ids
        if a < b and not reaches(a, b) and not reaches(b, a)
    ]


@settings(max_examples=300)
@given(changes)
def test_any_changes_happen_wholly_or_not_at_all(changes):
    made = Definition("f")
    for name, *arguments in changes:
        before = snapshot(made)
        try:
            getattr(made, name)(*arguments)
        except FlowError:
            assert snapshot(made) == before
        else:
            assert made.revision == before[1] + 1
            assert not unordered_writers(made)
        fresh = Definition("f")
        fresh.create(list(made))  # the same steps anew are accepted, too
        assert (sorted(fresh.topology), fresh.unresolved()) == (sorted(made.topology), made.unresolved())

"""Plans: where inputs come from, which steps an execution has, what names mean in this process."""

import pytest

from flow_core.core.plan import Source
from flow_core.engine.bindings import Bindings
from flow_core.engine.compiler import StepPolicy, outside_inputs
from flow_core.errors import InvalidStep, MissingInput
from flow_core.model.operation import LocalOperation
from flow_core.model.options import OperationOptions, Retry
from flow_core.model.status import Status
from flow_core.model.step import REQUEST, Step
from tests.engine.script import Script, plan_of, work


def step(id, **options):
    return Step(id, work, **options)


def inputs(*steps, request="request"):
    """What each step gets when every step gives its own id."""
    script = Script(steps, request)
    while script.end is None:
        script.succeed(next(iter(script.attempts)))
    return script.inputs


def ids(plan):
    return [s.id for s in plan.items]


# --- inputs -----------------------------------------------------------------------------------------------------------


def test_default_inputs():
    found = inputs(
        step("a"), step("b"), step("c", after="a"), step("d", after=["c", "b"], output="D"), step("e", after="d")
    )
    assert found == {"a": "request", "b": "request", "c": "a", "d": {"c": "c", "b": "b"}, "e": "d"}


def test_several_inputs_go_by_the_names_of_the_outputs():
    assert inputs(step("a", output="x"), step("b"), step("c", after=["a", "b"]))["c"] == {"x": "a", "b": "b"}


def test_named_inputs():
    found = inputs(
        step("a", output="x"), step("b", after="a"), step("c", after="b", input="x"),
        step("d", after="c", input=REQUEST), step("e", after="d", input={"first": "x", "all": REQUEST, "last": "d"}),
    )  # fmt: skip
    assert found["c"] == "a"
    assert found["d"] == "request"
    assert found["e"] == {"first": "a", "all": "request", "last": "d"}


def test_the_last_writer_before_the_reader_counts():
    found = inputs(
        step("r2", after="w2", input="x"), step("w2", after="r1", output="x"), step("r1", after="w1", input="x"),
        step("w1", output="x"), step("r3", after="w3", input="x"), step("w3", after="r2", output="x"),
    )  # fmt: skip
    assert (found["r1"], found["r2"], found["r3"]) == ("w1", "w2", "w3")


@pytest.mark.parametrize("after", [["w1", "w2"], ["w2", "w1"]])
def test_the_last_of_two_predecessors_that_write_one_output_counts(after):
    assert inputs(step("w2", output="x", after="w1"), step("w1", output="x"), step("r", after=after))["r"] == {
        "x": "w2"
    }


def test_a_step_reads_what_its_own_output_replaces():
    assert inputs(step("a", output="x"), step("b", after="a", input="x", output="x"))["b"] == "a"


@pytest.mark.parametrize(
    ("steps", "fix"),
    [
        ([step("a"), step("b", input="a")], "add after=['a']"),
        ([step("a"), step("b", input={"p": "a"})], "add after=['a']"),
        ([step("a", output="x"), step("b", input="x", output="y")], "add after=['a']"),
        ([step("a", after="b"), step("b", input="a")], "add after=['a']"),
        ([step("a", output="x"), step("b", after="a", input="a")], "read 'x'"),
        ([step("a", output="x", input="x")], None),
    ],
    ids=["sibling", "in a mapping", "named", "later", "id", "itself"],
)
def test_never_a_siblings_output(steps, fix):
    with pytest.raises(InvalidStep, match="reads") as caught:
        plan_of(steps)
    assert (caught.value.flow, caught.value.fix) == ("f", fix)
    assert caught.value.step in ("a", "b")


def test_outputs_from_outside():
    plan = plan_of([step("a", input="theirs"), step("b", after="a", input={"p": "ours", "q": "a"})])
    assert outside_inputs(plan) == {"theirs": "a", "ours": "b"}
    script = Script(plan)
    assert isinstance(script.error.__cause__, MissingInput)


# --- a part of a flow -------------------------------------------------------------------------------------------------

DIAMOND = [
    step("a"),
    step("b", after="a"),
    step("c", after="a"),
    step("d", after=["b", "c"]),
    step("e", after="d", input="a"),
]


def test_a_start_step_and_what_comes_after_it():
    plan = plan_of(DIAMOND, "b")
    assert ids(plan) == ["b", "d", "e"]
    assert plan.source(0) == Source.FROM_REQUEST, "the start gets the request"
    assert outside_inputs(plan) == {"c": "d", "a": "e"}
    assert plan.mappings[1] == (("b", 0), ("c", "c"))


def test_a_start_at_the_root_needs_nothing():
    assert outside_inputs(plan_of(DIAMOND, "a")) == {}


def test_a_start_with_an_input_of_its_own():
    plan = plan_of([step("a"), step("b", after="a", input="a"), step("c", after="a", input=REQUEST)], "b")
    assert outside_inputs(plan) == {"a": "b"}


def test_a_step_that_lost_its_only_predecessors():
    plan = plan_of(
        [step("a"), step("b"), step("s"), step("r", after=["s", "a"], input="a"), step("t", after=["r", "b"])], "s"
    )
    assert ids(plan) == ["s", "r", "t"]
    assert outside_inputs(plan) == {"a": "r", "b": "t"}


def test_manual_steps_are_left_out_with_what_comes_after_them():
    steps = [step("a"), step("undo", manual=True), step("b", after="a"), step("undo2", after="undo")]
    assert ids(plan_of(steps)) == ["a", "b"]
    assert ids(plan_of(steps, "undo")) == ["undo", "undo2"]


def test_a_manual_step_does_not_start_behind_another_start():
    steps = [step("a"), step("m", after="a", manual=True), step("n", after="m", manual=True), step("b", after="a")]
    assert ids(plan_of(steps, "a")) == ["a", "b"]
    assert ids(plan_of(steps, "m")) == ["m", "n"], "a rollback flow is made of manual steps"


def test_a_flow_of_manual_steps_only_has_nothing_to_do():
    script = Script([step("m", manual=True)])
    assert (len(script.plan), script.status) == (0, Status.SUCCESS)


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_predicate_that_nobody_registered():
    bindings = Bindings()
    bindings.predicates["is_big"] = bool
    with pytest.raises(InvalidStep, match="'is_bog'") as caught:
        plan_of([step("a", when="is_bog")], bindings=bindings)
    assert caught.value.fix == "did you mean 'is_big'?"
    assert (caught.value.step, caught.value.flow) == ("a", "f")


def unbound(name):
    operation = LocalOperation.new()
    operation._name = name
    return operation


def test_an_operation_from_the_wire_is_bound_by_its_name():
    bindings = Bindings()
    assert bindings.call_of(unbound("work"))[2] is None
    bindings.functions["work"] = work
    assert bindings.call_of(unbound("work"))[1:] == (1, work)


def test_a_fallback_that_is_not_bound_says_so():
    policy = StepPolicy(step("a", fallback=unbound("nowhere")), Bindings())
    with pytest.raises(InvalidStep, match=r"'a'.*not bound"):
        policy.call_of(1)


def test_a_steps_own_settings_win_over_its_operations():
    options = OperationOptions(timeout=5, retries=Retry(2), allow_fail=True)
    plain = StepPolicy(Step("a", LocalOperation(work, options=options)), Bindings())
    assert (plain.timeout, plain.retry, plain.allow_fail) == (5, Retry(2), True)
    own = StepPolicy(Step("a", LocalOperation(work, options=options), timeout=9, retry=0, allow_fail=False), Bindings())
    assert (own.timeout, own.retry, own.allow_fail) == (9, 0, False)

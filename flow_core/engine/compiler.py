"""Compiles a topology of steps into a `core.Plan`.

Plain steps are described by the core itself (`Plan.compile`); this module describes the others: operations that take
bytes, steps with a policy, inputs by name, sub-plans that start in the middle.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from flow_core.core.dynamic_graph import DynamicGraph
from flow_core.core.graph import Graph
from flow_core.core.plan import Flag, Join, Plan, Source
from flow_core.core.task import Activity
from flow_core.engine.bindings import Bindings, Call, roles
from flow_core.errors import InvalidStep, MissingInput, UnknownStep, did_you_mean
from flow_core.model.options import ExecuteOptions, Retry
from flow_core.model.step import REQUEST, Step

__all__ = ["Bindings", "StepPolicy", "check_start", "compile_plan", "outside_inputs"]

_JOINS = {"all": Join.JOIN_ALL, "any": Join.JOIN_ANY, "done": Join.JOIN_DONE}


class StepPolicy:
    """The settings of a step that is not plain, merged with those of its operation (the step's take precedence)."""

    __slots__ = (
        "allow_fail", "call", "compensation", "condition", "fallback", "recovers", "retry", "step", "timeout",
        "total_timeout",
    )  # fmt: skip

    def __init__(self, step: Step, bindings: Bindings, flow: str = "", lenient: bool = False) -> None:
        options = step.operation.options
        calls = {role: bindings.call_of(operation, (flow, step.id, role)) for role, operation in roles(step)}
        self.call = calls["operation"]
        self.step = step
        self.retry: int | Retry | None = step.retry if step.retry is not None else options.retries
        self.timeout = step.timeout if step.timeout is not None else options.timeout
        self.total_timeout = step.total_timeout
        self.allow_fail = bool(step.allow_fail if step.allow_fail is not None else options.allow_fail)
        self.condition = None if step.when is None else bindings.predicate(step, lenient)
        self.fallback = calls.get("fallback")
        self.recovers = step.fallback is not None and step.fallback.then == "continue"
        self.compensation = calls.get("compensation")

    def call_of(self, activity: int) -> Call:
        """The call of the fallback or the compensation."""
        call = self.fallback if activity == Activity.ACTIVITY_FALLBACK else self.compensation
        if call is None or call[2] is None:
            raise InvalidStep(f"step {self.step.id!r}: a local operation behind it is not bound in this process")
        return call

    @property
    def flags(self) -> int:
        """The settings that the scheduler needs, as ``Flag`` bits."""
        flags = 0
        if self.condition is not None:
            flags |= Flag.FLAG_WHEN
        if self.timeout is not None:
            flags |= Flag.FLAG_TIMEOUT
        if self.total_timeout is not None:
            flags |= Flag.FLAG_POLICY
        if self.allow_fail:
            flags |= Flag.FLAG_ALLOW_FAIL
        if not self.step.operation.holds_slot:
            flags |= Flag.FLAG_NO_SLOT
        if self.step.delivery == "at_most_once":
            flags |= Flag.FLAG_ONCE
        return flags


def compile_plan(
    name: str, revision: int, topology: DynamicGraph, bindings: Bindings, start: str | None, *, lenient: bool = False
) -> Plan:
    """Compile the steps of a flow, or ``start`` and its descendants. See `Definition.plan` for the errors."""
    graph, items = topology.freeze()
    plan = Plan(graph, items, name, revision)
    special = plan.compile()
    nodes = _chosen(plan, special, start)
    lost: dict[int, tuple[str, ...]] = {}
    if nodes is not None:
        graph, items, lost = _part(graph, items, nodes)
        plan = Plan(graph, items, name, revision)
        special = sorted({*plan.compile(), *lost})
    compiler = _Compiler(plan, bindings, start, lost, lenient)
    for index in special:
        compiler.configure(index)
    return plan


def _chosen(plan: Plan, special: list[int], start: str | None) -> list[int] | None:
    """Indexes of the steps that an execution runs; None for all.

    A manual step and its descendants run only when it is the start itself, or descends from a manual start.
    """
    manual = [index for index in special if plan.items[index].manual]
    if start is None and not manual:
        return None
    first = None if start is None else plan.index(start)
    nodes = range(len(plan)) if first is None else [int(node) for node in plan.graph.descendants(first)]
    if first in manual:
        return list(nodes)
    left_out = {int(node) for one in manual for node in plan.graph.descendants(one)}
    return [node for node in nodes if node not in left_out]


def _part(
    graph: Graph, items: tuple[Step, ...], nodes: Iterable[int]
) -> tuple[Graph, tuple[Step, ...], dict[int, tuple[str, ...]]]:
    """A sub-graph, its steps, and the outputs of predecessors outside of it for each step that has such."""
    wanted = sorted(nodes)
    inside = set(wanted)
    part, mapping = graph.subgraph(wanted)
    lost = {}
    for new, old in enumerate(mapping):
        outputs = tuple(items[p].output_name for p in graph.predecessors(int(old)) if int(p) not in inside)
        if outputs:
            lost[new] = outputs
    return part, tuple(items[int(node)] for node in mapping), lost


class _Compiler:
    """Describes the steps of a plan that are not plain.

    Args:
        plan: the plan to complete.
        bindings: the callables of this process by name.
        start: the step that the execution starts at, if any. It gets the request.
        lost: steps of a sub-graph -> outputs of their predecessors outside of it.
        lenient: whether predicates may be missing until they are called.
    """

    def __init__(
        self, plan: Plan, bindings: Bindings, start: str | None, lost: dict[int, tuple[str, ...]], lenient: bool
    ) -> None:
        self.lenient = lenient
        self.plan = plan
        self.bindings = bindings
        self.start = start
        self.lost = lost

    def configure(self, index: int) -> None:
        """Fill the row of one step."""
        step: Step = self.plan.items[index]
        policy = StepPolicy(step, self.bindings, self.plan.flow, self.lenient)
        kind, arity, call = policy.call
        source, mapping = self.source(index, step)
        self.plan.configure(
            index, call=call, kind=kind, arity=arity, source=source, mapping=mapping, flags=policy.flags,
            join=_JOINS[step.join], policy=policy,
        )  # fmt: skip

    def source(self, index: int, step: Step) -> tuple[int, Any]:
        """Where the input of a step comes from: a source number, and its argument."""
        if step.input is None:
            return (Source.FROM_REQUEST, None) if step.id == self.start else self.default_source(index)
        if isinstance(step.input, str):
            writer = self.writer(index, step, step.input)
            return (Source.FROM_OUTSIDE, writer) if isinstance(writer, str) else (writer, None)
        pairs = tuple((parameter, self.writer(index, step, name)) for parameter, name in step.input.items())
        return Source.FROM_MAPPING, pairs

    def default_source(self, index: int) -> tuple[int, Any]:
        """The outputs of all predecessors; those of predecessors outside of this sub-graph have to be given."""
        predecessors = self.plan.graph.predecessors(index)
        inside: dict[str, int] = {}
        for predecessor in map(int, predecessors):
            name = self.plan.items[predecessor].output_name
            if name not in inside or self.plan.graph.reaches(inside[name], predecessor):  # of two, the last one counts
                inside[name] = predecessor
        outside = {name: name for name in self.lost.get(index, ()) if name not in inside}
        if outside and inside:
            return Source.FROM_MAPPING, (*inside.items(), *outside.items())
        if outside:
            only = next(iter(outside)) if len(outside) == 1 else None
            return (Source.FROM_MAPPING, tuple(outside.items())) if only is None else (Source.FROM_OUTSIDE, only)
        if not inside:
            return Source.FROM_REQUEST, None
        return (int(predecessors[0]), None) if len(predecessors) == 1 else (Source.FROM_PREDECESSORS, None)

    def writer(self, index: int, step: Step, name: str) -> int | str:
        """Index of the last step before ``index`` that writes output ``name``; the name when it comes from outside."""
        if name == REQUEST:
            return int(Source.FROM_REQUEST)
        writers = self.plan.writers(name)
        for writer in reversed(writers):
            if writer != index and self.plan.graph.reaches(writer, index):
                return int(writer)
        if self.start is None:
            self.refuse_unordered(step, name, [self.plan.items[writer].id for writer in writers if writer != index])
        return name

    def refuse_unordered(self, step: Step, name: str, writers: list[str]) -> None:
        """Raise when ``name`` is an output of this flow that ``step`` can't read."""
        if writers:
            raise InvalidStep(
                f"step {step.id!r} reads {name!r}, but does not run after a step that writes it",
                fix=f"add after=[{writers[0]!r}]", step=step.id,
            )  # fmt: skip
        if name == step.output_name:
            raise InvalidStep(f"step {step.id!r} reads {name!r}, which nobody but itself writes", step=step.id)
        named = self.outputs.get(name)
        if named is not None:
            raise InvalidStep(
                f"step {step.id!r} reads {name!r}, but the step of this id names its output {named!r}",
                fix=f"read {named!r}", step=step.id,
            )  # fmt: skip

    @cached_property
    def outputs(self) -> dict[str, str]:
        """Id -> output name of every step that names its output."""
        return {step.id: step.output for step in self.plan.items if step.output is not None}


def outside_inputs(plan: Plan) -> dict[str, str]:
    """Outputs that have to be given in ``inputs=`` -> the step that needs each."""
    needed: dict[str, str] = {}
    for index, mapping in plan.mappings.items():
        names = [mapping] if isinstance(mapping, str) else [source for _, source in mapping if isinstance(source, str)]
        for name in names:
            needed.setdefault(name, plan.items[index].id)
    return needed


def check_start(plan: Plan, options: ExecuteOptions) -> None:
    """Check that an execution of a plan can begin with these options.

    Raises:
        MissingInput: an output that has to come from outside is not in ``options.inputs``.
        UnknownStep: no step writes ``options.output``.
    """
    missing = {name: step for name, step in outside_inputs(plan).items() if name not in options.inputs}
    if missing:
        shown = ", ".join(f"{name!r} (for step {step!r})" for name, step in missing.items())
        raise MissingInput(
            f"this execution of flow {plan.flow!r} needs outputs from outside: {shown}",
            fix="pass inputs={name: value}", flow=plan.flow,
        )  # fmt: skip
    if options.output is not None and not plan.writers(options.output):
        near = did_you_mean(options.output, {step.output_name for step in plan.items})
        raise UnknownStep(f"flow {plan.flow!r} has no output {options.output!r}", fix=near, flow=plan.flow)

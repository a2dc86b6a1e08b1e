"""Compiling: a topology of steps becomes a `core.Plan`.

Plain steps are described by the core itself (`Plan.compile`); this module describes the others: operations that take
bytes, steps with a policy, inputs by name, sub-plans that start in the middle.

Lives here: what names mean (inputs, predicates, local callables) and the `StepPolicy` of a step. Does not live here: when
a policy acts (`engine/policy.py`, `engine/execution.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flow_core.core.graph import Graph
from flow_core.core.plan import Flag, Join, Kind, Plan, Source
from flow_core.core.task import Activity
from flow_core.core.topology import Topology
from flow_core.errors import InvalidStep, did_you_mean
from flow_core.operation import LocalOperation, Operation
from flow_core.options import Retry
from flow_core.step import REQUEST, Step

__all__ = ["Bindings", "StepPolicy", "compile_plan", "outside_inputs"]

Call = tuple[int, int, Callable[..., Any] | None]
_JOINS = {"all": Join.JOIN_ALL, "any": Join.JOIN_ANY, "done": Join.JOIN_DONE}


class Bindings:
    """Names that steps use -> the callables of this process: predicates (``when=``) and local operations."""

    __slots__ = ("functions", "predicates", "version")

    def __init__(self) -> None:
        self.functions: dict[str, Callable[..., Any]] = {}
        self.predicates: dict[str, Callable[[Any], bool]] = {}
        #: Grows with every change: plans compiled before it are stale.
        self.version = 0

    def call_of(self, operation: Operation) -> Call:
        """(kind, arity, callable) behind an operation; the callable is None for a local one nobody bound."""
        if not isinstance(operation, LocalOperation):
            return Kind.KIND_OPERATION, 2, operation.execute
        if operation.function is None:
            function = self.functions.get(operation.name)
            if function is None:
                return Kind.KIND_UNBOUND, 1, None
            operation = operation.bind(function)
        return (Kind.KIND_COROUTINE if operation.is_async else Kind.KIND_THREAD), operation.arity, operation.function

    def predicate(self, step: Step) -> Callable[[Any], bool]:
        """The predicate that ``step.when`` names. Raises `UnknownStep`-like errors naming both."""
        assert step.when is not None
        found = self.predicates.get(step.when)
        if found is None:
            raise InvalidStep(
                f"step {step.id!r} asks the predicate {step.when!r}, which is not registered",
                fix=did_you_mean(step.when, self.predicates) or f"flow.predicate({step.when!r}, function)",
                step=step.id,
            )
        return found


class StepPolicy:
    """What a step that is not plain wants, its own settings merged with those of its operation (the step's win)."""

    __slots__ = ("allow_fail", "compensation", "condition", "fallback", "recovers", "retry", "step", "timeout", "total_timeout")

    def __init__(self, step: Step, bindings: Bindings) -> None:
        options = step.operation.options
        self.step = step
        self.retry: int | Retry | None = step.retry if step.retry is not None else options.retries
        self.timeout = step.timeout if step.timeout is not None else options.timeout
        self.total_timeout = step.total_timeout
        self.allow_fail = bool(step.allow_fail if step.allow_fail is not None else options.allow_fail)
        self.condition = None if step.when is None else bindings.predicate(step)
        self.fallback: Call | None = None if step.fallback is None else bindings.call_of(step.fallback.operation)
        self.recovers = step.fallback is not None and step.fallback.then == "continue"
        self.compensation: Call | None = None if step.compensation is None else bindings.call_of(step.compensation)

    def call_of(self, activity: int) -> Call:
        """What to call for the fallback or the compensation."""
        call = self.fallback if activity == Activity.ACTIVITY_FALLBACK else self.compensation
        if call is None or call[2] is None:
            raise InvalidStep(f"step {self.step.id!r}: a local operation behind it is not bound in this process")
        return call

    @property
    def flags(self) -> int:
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
        return flags


def compile_plan(name: str, revision: int, topology: Topology, bindings: Bindings, start: str | None) -> Plan:
    """Compile the steps of a flow, or ``start`` and its descendants. See `Definition.plan` for the errors."""
    graph, items = topology.freeze()
    lost: dict[int, tuple[str, ...]] = {}
    if start is not None:
        at = next(i for i, step in enumerate(items) if step.id == start)
        graph, items, lost = _part(graph, items, graph.descendants(at))
    else:
        manual = [i for i, step in enumerate(items) if step.manual]
        if manual:
            left_out = {int(node) for one in manual for node in graph.descendants(one)}
            graph, items, lost = _part(graph, items, [i for i in range(len(items)) if i not in left_out])
    plan = Plan(graph, items, name, revision)
    special = plan.compile()
    if lost:
        special = sorted({*special, *lost})
    for index in special:
        _configure(plan, index, bindings, lost.get(index, ()), start)
    return plan


def _part(
    graph: Graph, items: tuple[Step, ...], nodes: Iterable[int]
) -> tuple[Graph, tuple[Step, ...], dict[int, tuple[str, ...]]]:
    """A sub-graph, its steps, and for each of its steps that lost predecessors the outputs of those."""
    wanted = sorted(int(node) for node in nodes)
    inside = set(wanted)
    part, mapping = graph.subgraph(wanted)
    lost = {}
    for new, old in enumerate(mapping):
        outputs = tuple(items[p].output_name for p in graph.predecessors(int(old)) if int(p) not in inside)
        if outputs:
            lost[new] = outputs
    return part, tuple(items[int(node)] for node in mapping), lost


def _configure(plan: Plan, index: int, bindings: Bindings, lost: tuple[str, ...], start: str | None) -> None:
    step: Step = plan.items[index]
    kind, arity, call = bindings.call_of(step.operation)
    policy = StepPolicy(step, bindings)
    source, mapping = _source(plan, index, step, lost, start)
    plan.configure(
        index, call=call, kind=kind, arity=arity, source=source, mapping=mapping, flags=policy.flags,
        join=_JOINS[step.join], policy=policy,
    )  # fmt: skip


def _source(plan: Plan, index: int, step: Step, lost: tuple[str, ...], start: str | None) -> tuple[int, Any]:
    """Where the input of a step comes from: a source number, and what goes with it."""
    if step.input is None:
        if step.id == start:
            return Source.FROM_REQUEST, None
        if lost:
            # Some predecessors are not part of this execution: their outputs have to be given from outside.
            inside = [(plan.items[p].output_name, int(p)) for p in plan.graph.predecessors(index)]
            if not inside and len(lost) == 1:
                return Source.FROM_OUTSIDE, lost[0]
            return Source.FROM_MAPPING, (*inside, *((name, name) for name in lost))
        predecessors = plan.graph.predecessors(index)
        if not len(predecessors):
            return Source.FROM_REQUEST, None
        return (int(predecessors[0]), None) if len(predecessors) == 1 else (Source.FROM_PREDECESSORS, None)
    if isinstance(step.input, str):
        source = _writer(plan, index, step, step.input, start)
        return (Source.FROM_OUTSIDE, source) if isinstance(source, str) else (source, None)
    pairs = tuple((parameter, _writer(plan, index, step, name, start)) for parameter, name in step.input.items())
    return Source.FROM_MAPPING, pairs


def _writer(plan: Plan, index: int, step: Step, name: str, start: str | None) -> int | str:
    """Index of the last step before ``index`` that writes output ``name``; the name itself when it comes from outside."""
    if name == REQUEST:
        return Source.FROM_REQUEST
    writers = plan.writers(name)
    for writer in reversed(writers):
        if writer != index and plan.graph.reaches(writer, index):
            return int(writer)
    if start is None and (writers or name in (item.id for item in plan.items)):
        raise InvalidStep(
            f"step {step.id!r} reads {name!r}, but does not run after a step that writes it",
            fix=f"add after=[{plan.items[writers[0]].id if writers else name!r}]", step=step.id,
        )  # fmt: skip
    return name


def outside_inputs(plan: Plan) -> dict[str, str]:
    """Outputs that have to be given with ``inputs=`` -> the step that needs each."""
    needed: dict[str, str] = {}
    for index, mapping in plan.mappings.items():
        names = [mapping] if isinstance(mapping, str) else [source for _, source in mapping if isinstance(source, str)]
        for name in names:
            needed.setdefault(name, plan.items[index].id)
    return needed

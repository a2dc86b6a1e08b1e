"""`Definition`: the steps of one flow, registered one by one by owners that don't know each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from flow_core.core.dynamic_graph import DynamicGraph
from flow_core.core.plan import Plan
from flow_core.engine.bindings import Bindings
from flow_core.engine.compiler import compile_plan
from flow_core.engine.outputs import Outputs
from flow_core.errors import (
    DuplicateStep,
    LimitExceeded,
    RegistrationError,
    RevisionConflict,
    UnknownStep,
    UnresolvedSteps,
    did_you_mean,
)
from flow_core.model.ids import MAX_STEPS
from flow_core.model.step import Step

__all__ = ["Definition"]

#: Cached plans of one revision: that of the whole flow, and those of the start steps used last.
MOST_PLANS = 64


class Definition:
    """The steps of one flow at its current revision.

    Every change makes a new revision, or raises and changes nothing. Executions keep the `Plan` of the revision they
    started with.

    Args:
        name: of the flow.
    """

    __slots__ = ("_bound", "_outputs", "_plans", "name", "revision", "topology")

    def __init__(self, name: str) -> None:
        self.name = name
        #: Number of changes so far; 0 for a flow that has never had a step.
        self.revision = 0
        self.topology = DynamicGraph()
        self._outputs = Outputs(name, self.topology)
        #: Start step or None -> plan of the current revision, compiled with bindings of version `_bound`.
        self._plans: dict[str | None, Plan] = {}
        self._bound = 0

    def __len__(self) -> int:
        return len(self.topology)

    def __iter__(self) -> Iterator[Step]:
        """The steps in the order of their registration; a replaced one keeps its place."""
        return map(self.topology.get, self.topology)

    def __contains__(self, step: object) -> bool:
        return step in self.topology

    # --- changes ----------------------------------------------------------------------------------------------------

    def create(self, steps: Sequence[Step], revision: int | None = None) -> int:
        """Add steps, all or none; returns the new revision, or the old one when there are none to add.

        Raises:
            DuplicateStep, CycleError, OutputConflict, LimitExceeded, RevisionConflict.
        """
        self._expect(revision)
        if not steps:
            return self.revision
        count = len(self) + len(steps)
        if count > MAX_STEPS:
            message = f"flow {self.name!r} would have {count} steps, MAX_STEPS is {MAX_STEPS}"
            raise LimitExceeded(message, flow=self.name)
        with self._blamed(), ExitStack() as undo:
            try:
                self.topology.add_many(steps)
            except ValueError:
                raise self._duplicate(steps) from None
            undo.callback(self._remove, steps)
            self._outputs.claim(steps)
            undo.pop_all()
        return self._changed()

    def delete(self, step: str | Step, revision: int | None = None) -> int:
        """Remove a step; its id in ``after``/``before`` of others becomes unresolved. Returns the new revision.

        Raises:
            UnknownStep, OutputConflict (the step kept two writers of one output in order), RevisionConflict.
        """
        self._expect(revision)
        gone = self._get(step)
        with self._blamed(), ExitStack() as undo:
            self._withdraw(gone, undo)
            self._outputs.check()
            undo.pop_all()
        self._remove((gone,))
        return self._changed()

    def replace(self, old: str | Step, new: Step, revision: int | None = None) -> int:
        """Replace ``old`` with ``new`` in one revision, and return the revision.

        Raises:
            as `create` and `delete`; when ``old`` is a Step, also RevisionConflict if the one registered differs.
        """
        self._expect(revision)
        gone = self._get(old)
        if isinstance(old, Step) and gone != old:
            raise RevisionConflict(
                f"step {old.id!r} of flow {self.name!r} is no longer the one to be replaced",
                expected=self.revision, actual=self.revision, flow=self.name, step=old.id,
                fix="look it up again, and decide again",
            )  # fmt: skip
        renamed = new.id != gone.id
        if renamed and new.id in self.topology:
            raise self._duplicate((new,))
        with self._blamed(), ExitStack() as undo:
            self._withdraw(gone, undo)
            if renamed:
                self.topology.add_many((new,))
                undo.callback(self._remove, (new,))
            else:
                self._redeclare(new)
            self._outputs.claim((new,))
            undo.callback(self._outputs.release, new)
            self._outputs.check()
            undo.pop_all()
        if renamed:
            self._remove((gone,))
        return self._changed()

    def _withdraw(self, step: Step, undo: ExitStack) -> None:
        """Detach a step and its claims to order and output. Its place is kept, so that this can be undone."""
        self._outputs.release(step)
        undo.callback(self._outputs.claim, (step,))
        self.topology.replace(step.id, None, detached=True)
        undo.callback(self._redeclare, step)

    def _redeclare(self, step: Step) -> None:
        self.topology.replace(step.id, step, step.after, step.before, detached=step.manual)

    def _remove(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self.topology.remove(step.id)

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Add the name of the flow to errors."""
        try:
            yield
        except RegistrationError as error:
            error.flow = self.name
            raise

    def _changed(self) -> int:
        self.revision += 1
        self._plans.clear()
        return self.revision

    # --- checks -----------------------------------------------------------------------------------------------------

    def _expect(self, revision: int | None) -> None:
        if revision is not None and revision != self.revision:
            raise RevisionConflict(
                f"flow {self.name!r} is at revision {self.revision}, not {revision}",
                expected=revision, actual=self.revision, flow=self.name,
                fix="look it up again, and decide again",
            )  # fmt: skip

    def _get(self, step: str | Step) -> Step:
        name = step.id if isinstance(step, Step) else step
        found: Step | None = self.topology.get(name)
        if found is None:
            raise UnknownStep(
                f"flow {self.name!r} has no step {name!r}",
                fix=did_you_mean(name, self.topology), flow=self.name, step=name,
            )  # fmt: skip
        return found

    def _duplicate(self, steps: Sequence[Step]) -> DuplicateStep:
        """The error for the first of these steps whose id is taken, by a registered one or by another of them."""
        seen: set[str] = set()
        for step in steps:
            if step.id in seen or step.id in self.topology:
                break
            seen.add(step.id)
        return DuplicateStep(
            f"flow {self.name!r} has a step {step.id!r} already",
            fix="use replace_step, or another id", flow=self.name, step=step.id,
        )  # fmt: skip

    # --- reading ----------------------------------------------------------------------------------------------------

    def unresolved(self) -> dict[str, list[str]]:
        """Ids that are named by steps but not registered yet -> the steps that name them."""
        return self.topology.unresolved()

    def plan(self, bindings: Bindings, start: str | None = None, *, lenient: bool = False) -> Plan:
        """The plan of the current revision, compiled once.

        Args:
            bindings: predicates and callables that steps refer to by name.
            start: only this step and its descendants.
            lenient: allow missing predicates, for executions that began elsewhere or are only inspected.

        Raises:
            UnresolvedSteps: named steps are missing.
            UnknownStep: ``start`` does not exist.
            InvalidStep: a step reads an output that is not written before it, or names an unknown predicate.
        """
        if bindings.version != self._bound:
            self._plans.clear()
            self._bound = bindings.version
        plan = self._plans.get(start)
        if plan is None:
            if start is not None:
                self._get(start)
            self._refuse_unresolved()
            with self._blamed():
                plan = compile_plan(self.name, self.revision, self.topology, bindings, start, lenient=lenient)
            if lenient and bindings.missing(self.name, plan.items):
                return plan  # not cached: a plan that is not lenient must raise
            while len(self._plans) >= MOST_PLANS:
                del self._plans[next(iter(self._plans))]
            self._plans[start] = plan
        return plan

    def _refuse_unresolved(self) -> None:
        missing = self.unresolved()
        if missing:
            some = list(missing.items())[:5]
            shown = ", ".join(f"{name!r} (named by {', '.join(map(repr, by[:3]))})" for name, by in some)
            raise UnresolvedSteps(
                f"flow {self.name!r} waits for {len(missing)} step(s) that nobody registered: {shown}",
                missing=missing, flow=self.name,
                fix='register them, or execute with unresolved="wait"',
            )  # fmt: skip

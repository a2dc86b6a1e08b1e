"""`Definition`: the steps of one flow, registered one by one by owners that don't know each other.

Lives here: adding, deleting, replacing with compare-and-set on the revision, the refusal of cycles and of unordered
writers of one output, and the cache of compiled plans. Does not live here: the cycle check itself (`core.topology`), how
a plan is made (`engine/plan.py`), which flows there are (`flow.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from flow_core.core.plan import Plan
from flow_core.core.topology import Topology
from flow_core.engine.plan import Bindings, compile_plan
from flow_core.errors import (
    DuplicateStep,
    FlowError,
    LimitExceeded,
    OutputConflict,
    RegistrationError,
    RevisionConflict,
    UnknownStep,
    UnresolvedSteps,
    did_you_mean,
)
from flow_core.limits import MAX_STEPS
from flow_core.step import ALL, Step

__all__ = ["Definition"]


class Definition:
    """The steps of one flow at its current revision.

    Every change makes a new revision or raises and changes nothing. Executions hold on to the `Plan` of the revision
    they started with.

    Args:
        name: of the flow.
    """

    __slots__ = ("_outputs", "_plans", "name", "revision", "topology")

    def __init__(self, name: str) -> None:
        self.name = name
        #: Number of changes so far; 0 is a flow nobody has registered a step in.
        self.revision = 0
        self.topology = Topology()
        #: Explicit output name -> ids of the steps that write it. Default outputs are the ids, which are unique.
        self._outputs: dict[str, list[str]] = {}
        #: (start step or None, version of the bindings) -> plan of the current revision.
        self._plans: dict[tuple[str | None, int], Plan] = {}

    def __len__(self) -> int:
        return len(self.topology)

    def __iter__(self) -> Iterator[Step]:
        return (self.topology.get(name) for name in self.topology)

    def __contains__(self, step: object) -> bool:
        return step in self.topology

    # --- changes ---------------------------------------------------------------------------------------------------

    def create(self, steps: Sequence[Step], revision: int | None = None) -> int:
        """Add steps, all or none; returns the new revision.

        Raises:
            DuplicateStep, CycleError, OutputConflict, LimitExceeded, RevisionConflict.
        """
        self._expect(revision)
        if len(self) + len(steps) > MAX_STEPS:
            raise LimitExceeded(f"flow {self.name!r} would have {len(self) + len(steps)} steps, MAX_STEPS is {MAX_STEPS}")
        self._refuse_duplicates(steps)
        if len(steps) == 1:
            self._add(steps[0])
        else:
            self.topology.add_many(steps)
        try:
            self._claim_outputs(steps)
        except FlowError:
            for step in steps:
                self.topology.remove(step.id)
            raise
        return self._changed()

    def delete(self, step: str | Step, revision: int | None = None) -> int:
        """Take a step out; those that named it in ``after``/``before`` become unresolved. Returns the new revision.

        Raises:
            UnknownStep, OutputConflict (it kept two writers of one output in order), RevisionConflict.
        """
        self._expect(revision)
        gone = self._get(step)
        order = tuple(self.topology) if self._outputs else ()
        self.topology.remove(gone.id)
        self._drop_output(gone)
        try:
            self._check_outputs()
        except BaseException:
            self._put_back(gone, None, order)
            raise
        return self._changed()

    def replace(self, old: str | Step, new: Step, revision: int | None = None) -> int:
        """Put ``new`` where ``old`` was, in one revision. Returns it.

        Raises:
            as `create` and `delete`; when ``old`` is a Step, also RevisionConflict if the one registered differs from it.
        """
        self._expect(revision)
        gone = self._get(old)
        if isinstance(old, Step) and gone != old:
            raise RevisionConflict(
                f"step {old.id!r} of flow {self.name!r} is no longer the one to be replaced",
                expected=self.revision, actual=self.revision, flow=self.name, step=old.id,
                fix="look it up again, and decide again",
            )  # fmt: skip
        if new.id != gone.id:
            self._refuse_duplicates((new,))
        order = () if new.id == gone.id else tuple(self.topology)
        self._drop_output(gone)
        try:
            if order:
                self.topology.remove(gone.id)
                self._add(new)
            else:
                self.topology.replace(new.id, new, **_edges(new))
        except BaseException:
            self._put_back(gone, None, order)
            raise
        try:
            self._claim_outputs((new,))
            self._check_outputs()
        except BaseException:
            self._put_back(gone, new, order)
            raise
        return self._changed()

    def _add(self, step: Step) -> None:
        self.topology.add(step.id, step, **_edges(step))

    def _put_back(self, step: Step, instead: Step | None, order: Sequence[str]) -> None:
        """Undo a change: take out ``instead``, and let ``step`` be where it was.

        Args:
            order: ids as they were registered, when ``step`` was taken out; empty when it was replaced in its place.
        """
        if instead is not None:
            self._drop_output(instead)
            if instead.id != step.id:
                self.topology.remove(instead.id)
            else:
                self.topology.replace(step.id, step, **_edges(step))
        if order:
            # A step comes in last. So those that were behind it go out and come in again.
            self._add(step)
            for name in order[order.index(step.id) + 1 :]:
                later = self.topology.get(name)
                self.topology.remove(name)
                self._add(later)
        if step.output is not None:
            self._outputs.setdefault(step.output, []).append(step.id)

    def _drop_output(self, step: Step) -> None:
        if step.output is not None:
            writers = self._outputs.get(step.output, [])
            if step.id in writers:
                writers.remove(step.id)
            if not writers:
                self._outputs.pop(step.output, None)

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
            ids = (known.id for known in self)
            raise UnknownStep(
                f"flow {self.name!r} has no step {name!r}", fix=did_you_mean(name, ids), flow=self.name, step=name
            )
        return found

    def _refuse_duplicates(self, steps: Sequence[Step]) -> None:
        twice = None
        if len({step.id for step in steps}) < len(steps):
            seen: set[str] = set()
            twice = next(step for step in steps if step.id in seen or seen.add(step.id))  # type: ignore[func-returns-value]
        elif len(self):
            twice = next((step for step in steps if step.id in self.topology), None)
        if twice is not None:
            raise DuplicateStep(
                f"flow {self.name!r} has a step {twice.id!r} already",
                fix="use replace_step, or another id", flow=self.name, step=twice.id,
            )  # fmt: skip

    def _claim_outputs(self, steps: Sequence[Step]) -> None:
        """Register explicit outputs; on a conflict take them back and raise."""
        if not self._outputs and all(step.output is None for step in steps):
            return
        claimed = []
        try:
            for step in steps:
                if step.output is not None:
                    self._outputs.setdefault(step.output, []).append(step.id)
                    claimed.append(step)
                if step.output_name in self._outputs:
                    self._check_output(step.output_name)
        except OutputConflict:
            for step in claimed:
                assert step.output is not None
                self._outputs[step.output].remove(step.id)
                if not self._outputs[step.output]:
                    del self._outputs[step.output]
            raise

    def _check_outputs(self) -> None:
        for output in self._outputs:
            self._check_output(output)

    def _check_output(self, output: str) -> None:
        writers = list(dict.fromkeys(self._outputs.get(output, ())))
        namesake = self.topology.get(output)
        if namesake is not None and namesake.output is None:
            writers.append(output)
        for one, other in combinations(writers, 2):
            if not (self.topology.reaches(one, other) or self.topology.reaches(other, one)):
                raise OutputConflict(
                    f"steps {one!r} and {other!r} of flow {self.name!r} both write output {output!r}, and no order "
                    "says which is last",
                    fix=f"order them (after=[{one!r}]), or give one another output=", flow=self.name, step=other,
                )  # fmt: skip

    # --- reading ----------------------------------------------------------------------------------------------------

    def unresolved(self) -> dict[str, list[str]]:
        """Ids that steps name and nobody registered yet -> the steps that name them."""
        missing: dict[str, list[str]] = self.topology.unresolved()
        return missing

    def plan(self, bindings: Bindings, start: str | None = None) -> Plan:
        """The plan of the current revision, compiled once.

        Args:
            bindings: predicates and callables that steps refer to by name.
            start: only this step and its descendants.

        Raises:
            UnresolvedSteps: named steps are missing.
            UnknownStep: ``start`` does not exist.
            RegistrationError: an input that no earlier step writes, an unknown predicate.
        """
        key = (start, bindings.version)
        plan = self._plans.get(key)
        if plan is None:
            if start is not None:
                self._get(start)
            self._refuse_unresolved()
            try:
                plan = compile_plan(self.name, self.revision, self.topology, bindings, start)
            except RegistrationError as error:
                error.flow = self.name
                raise
            self._plans[key] = plan
        return plan

    def _refuse_unresolved(self) -> None:
        missing = self.unresolved()
        if missing:
            shown = ", ".join(f"{name!r} (named by {', '.join(map(repr, by[:3]))})" for name, by in list(missing.items())[:5])
            raise UnresolvedSteps(
                f"flow {self.name!r} waits for {len(missing)} step(s) that nobody registered: {shown}",
                missing=missing, flow=self.name,
                fix='register them, or execute with unresolved="wait"',
            )  # fmt: skip

    def state(self) -> dict[str, Any]:
        """What this flow is now, for people: revision, number of steps, missing ids."""
        return {"name": self.name, "revision": self.revision, "steps": len(self), "unresolved": self.unresolved()}


def _edges(step: Step) -> dict[str, Any]:
    """The order a step declares, as `Topology` wants it."""
    return {
        "after": [name for name in step.after if name != ALL],
        "before": [name for name in step.before if name != ALL],
        "after_all": ALL in step.after,
        "before_all": ALL in step.before,
        "detached": step.manual,
    }

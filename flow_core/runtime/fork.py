"""Restarting: which outputs of an old execution a new one takes over."""

from __future__ import annotations

from typing import Any, NamedTuple

from flow_core.core.plan import Plan
from flow_core.core.stepper import Stepper
from flow_core.errors import IllegalMove, InvalidOption, MissingInput
from flow_core.model.status import Status
from flow_core.runtime.durable.stored_execution import StoredExecution
from flow_core.runtime.execution import Execution

__all__ = ["Fork", "fork_of"]


class Fork(NamedTuple):
    """A new execution of ``plan``, and the outputs it takes over: (index, value) pairs in topological order."""

    plan: Plan
    recalled: list[tuple[int, Any]]


def fork_of(old: Execution | StoredExecution, step: str | None) -> Fork:
    """What a restart at ``step`` (None: of the whole execution) begins with.

    Raises:
        IllegalMove: it has not ended; UnknownStep; MissingInput: something that ``step`` needs was not recorded;
        InvalidOption: its definition can't be read here.
    """
    if not old.over:
        raise IllegalMove(
            f"execution {old.id} is not over and can't be restarted: it is {old.status.name}",
            fix="wait for its end, or abort it", flow=old.flow, execution=old,
        )  # fmt: skip
    plan = old.plan
    if plan is None:
        raise InvalidOption(
            f"execution {old.id} can't be restarted: its flow {old.flow!r} can't be read here in revision "
            f"{old.revision}", flow=old.flow, execution=old,
        )  # fmt: skip
    if step is None:
        return Fork(plan, [])
    first = plan.index(step)
    outputs = _outputs(old, plan)
    _check_recorded(old, plan, first, outputs)
    again = {int(node) for node in plan.graph.descendants(first)}
    order = (int(index) for index in plan.graph.order())
    return Fork(plan, [(index, outputs[index]) for index in order if index not in again and index in outputs])


def _outputs(old: Execution | StoredExecution, plan: Plan) -> dict[int, Any]:
    """Index of each step that has an output -> the output."""
    if isinstance(old, StoredExecution):
        return {i: old.value(item.id) for i, item in enumerate(plan.items) if old.has_output(item.id)}
    return {i: Stepper(old).output(i) for i in range(len(plan)) if Stepper(old).has_output(i)}


def _check_recorded(old: Execution | StoredExecution, plan: Plan, first: int, outputs: dict[int, Any]) -> None:
    """Check that each predecessor of ``first`` has an output or was allowed to fail. Raises `MissingInput`."""
    if plan.items[first].join != "all":
        return
    for index in map(int, plan.graph.predecessors(first)):
        policy, step = plan.policies.get(index), plan.items[index].id
        allowed = policy is not None and policy.allow_fail and old.step_status_of(step) is Status.FAILURE
        if not (allowed or index in outputs):
            raise MissingInput(
                f"execution {old.id} can't be restarted at {plan.items[first].id!r}: "
                f"step {step!r}, which comes before it, has no recorded output",
                fix=f"restart it at {step!r}, or as a whole", flow=old.flow, execution=old, step=step,
            )  # fmt: skip

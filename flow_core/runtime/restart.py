"""Restarting in the middle: what of an old execution a new one may take over.

Lives here: the checks that it has ended, and that everything a step needs was recorded. Does not live here: starting
(``runtime/executor.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flow_core.errors import IllegalMove, MissingInput
from flow_core.status import Status

if TYPE_CHECKING:
    from flow_core.runtime.execution import Execution

__all__ = ["check_restart"]


def check_restart(old: Execution, step: str | None) -> int | None:
    """Index of the step to restart at. Raises `IllegalMove` (it is under way still), `UnknownStep`, `MissingInput`."""
    if not old.over:
        raise IllegalMove(
            f"execution {old.id} is not over and can't be restarted: it is {old.status.name}",
            fix="wait for its end, or abort it", flow=old.flow, execution=old,
        )  # fmt: skip
    if step is None:
        return None
    first = old.plan.index(step)
    _check_recorded(old, first)
    return first


def _check_recorded(old: Execution, first: int) -> None:
    """What comes before step ``first`` must have an output, or a failure that was allowed. Raises `MissingInput`."""
    plan = old.plan
    if plan.items[first].join != "all":
        return
    for index in plan.graph.predecessors(first):
        policy = plan.policies.get(int(index))
        allowed = policy is not None and policy.allow_fail and old.step_status(index) == Status.FAILURE
        if not (allowed or old.has_output(index)):
            step = plan.items[index].id
            raise MissingInput(
                f"execution {old.id} can't be restarted at {plan.items[first].id!r}: "
                f"step {step!r}, which comes before it, has no recorded output",
                fix=f"restart it at {step!r}, or as a whole", flow=old.flow, execution=old, step=step,
            )  # fmt: skip

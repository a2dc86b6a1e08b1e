"""Restarting in the middle: what of an old execution a new one may take over.

Lives here: the check that everything a step needs was recorded. Does not live here: starting (``runtime/executor.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flow_core.errors import MissingInput
from flow_core.status import Status

if TYPE_CHECKING:
    from flow_core.runtime.execution import Execution

__all__ = ["check_recorded"]


def check_recorded(old: Execution, first: int) -> None:
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

"""`FlowExecuteOperation`: a step that executes a flow, the same or another one."""

from __future__ import annotations

from typing import Any

from flow_core.model.ids import check_id
from flow_core.model.operation import Operation, required_field
from flow_core.model.options import OperationOptions

__all__ = ["FlowExecuteOperation"]


class FlowExecuteOperation(Operation):
    """Executes ``flow`` with the step's input as its request; the result is the output.

    Example::

        Step("ship", FlowExecuteOperation("shipping"), after="charge")

    Args:
        flow: name of the flow.
        step: start there: that step and its descendants only. This is how a parked rollback flow is reached.
        options: defaults of timeout, retries, allow_fail.

    The execution started has an id of its own and a link to its parent; aborting the parent aborts it.

    Raises:
        InvalidId: ``flow`` or ``step`` is no legal id.
    """

    type = "flow_execute_operation"
    holds_slot = False  # it only waits; nested flows would use up the executor's slots otherwise
    __slots__ = ("flow", "step")

    def __init__(self, flow: str, step: str | None = None, *, options: OperationOptions | None = None) -> None:
        self.flow = check_id(flow, "flow")
        self.step = None if step is None else check_id(step, "step")
        super().__init__(flow if step is None else f"{flow}.{step}", options)

    def fields(self) -> dict[str, str]:
        """``flow``, and the step as ``op``, which is what the original called it."""
        return {"flow": self.flow} if self.step is None else {"flow": self.flow, "op": self.step}

    def load(self, fields: dict[str, str]) -> None:
        """Take over ``flow`` and ``op``."""
        self.flow = check_id(required_field(fields, "flow", self.type), "flow")
        self.step = check_id(fields["op"], "op") if "op" in fields else None

    async def execute(self, ctx: Any, data: bytes) -> bytes:
        """Execute the flow once and wait for its end. Raises what its execution raises."""
        result: bytes = await ctx.execute(self.flow, data, step=self.step)
        return result

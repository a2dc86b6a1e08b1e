"""`EmptyOperation`: a step that only joins or forks others."""

from __future__ import annotations

from typing import Any

from flow_core.model.operation import Operation
from flow_core.model.options import OperationOptions

__all__ = ["EmptyOperation"]


class EmptyOperation(Operation):
    """Does nothing: its output is its input. Other steps can run after it, as a common start or end.

    Example::

        Step("ready", EmptyOperation(), after=["stock", "payment"])
    """

    type = "empty_operation"
    __slots__ = ()

    def __init__(self, name: str = "empty", *, options: OperationOptions | None = None) -> None:
        super().__init__(name, options)

    async def execute(self, ctx: Any, data: bytes) -> bytes:
        """Return ``data``."""
        return data

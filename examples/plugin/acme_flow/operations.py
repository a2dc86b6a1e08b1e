"""`Shout`: an operation type. It travels over the wire and through stores as its type and fields."""

from __future__ import annotations

from typing import Any

from flow_core import Operation, OperationOptions
from flow_core.errors import DecodeError

__all__ = ["Shout"]


class Shout(Operation):
    """Upper-cases its input and adds ``marks`` exclamation marks."""

    type = "acme_shout"  # the name of the entry point
    __slots__ = ("marks",)

    def __init__(self, marks: int = 1, *, options: OperationOptions | None = None) -> None:
        super().__init__("shout", options)
        self.marks = marks

    def fields(self) -> dict[str, str]:
        """``marks``."""
        return {"marks": str(self.marks)}

    def load(self, fields: dict[str, str]) -> None:
        """Take over ``marks``."""
        if not fields.get("marks", "").isdecimal():
            raise DecodeError("acme_shout: option 'marks' is no number")
        self.marks = int(fields["marks"])

    async def execute(self, ctx: Any, data: bytes) -> bytes:
        """Shout once."""
        return data.upper() + b"!" * self.marks

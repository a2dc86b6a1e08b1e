"""`FakeContext`: what an operation sees of its attempt, without a runtime."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class FakeContext:
    """The attributes of a StepContext; `execute` records the call and answers ``executed``."""

    flow: str = "checkout"
    execution: str = "e1"
    step: str = "s1"
    attempt: int = 1
    left: float | None = None
    rpc: Any = None
    pubsub: Any = None
    executed: bytes = b"done"
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    cancelled: bool = False
    deadline: float | None = None
    tokens: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def time_left(self) -> float | None:
        return self.left

    def headers(self) -> dict[str, str]:
        return {
            "flow-name": self.flow,
            "flow-execution": self.execution,
            "flow-step": self.step,
            "flow-attempt": str(self.attempt),
            "flow-idempotency-key": f"{self.execution}.{self.step}",
        }

    def token(self) -> str:
        self.tokens += 1
        return f"t{self.tokens}"

    async def execute(self, flow: str, data: bytes, *, step: str | None = None) -> bytes:
        self.calls.append((flow, data, step))
        return self.executed

"""What an executor needs of the `Flow` that it belongs to, told below both."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["FlowResolver"]


class FlowResolver(Protocol):
    """Finds flows by name, and the clients that operations call and publish with."""

    #: The clients; None where there is none.
    rpc: Any
    pubsub: Any

    async def execute_nested(self, flow: str, request: Any, step: str | None, caller: Any) -> Any:
        """Execute a flow for a step of another execution, and wait for its end.

        Args:
            step: start there; None: with the roots.
            caller: the `StepContext` of the attempt that asks for it.
        """

    async def plan_of(self, flow: str, revision: int, step: str | None, steps: bytes | None) -> Any:
        """The `Plan` that a stored execution began with.

        Args:
            steps: encoded, of an execution without a registered flow.
        """

    def missing(self, plan: Any) -> list[str]:
        """What a plan needs and this process does not have, in words."""

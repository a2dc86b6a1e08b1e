"""`StepContext`: what an operation, or a callable that asks for it, knows about the attempt it makes.

Lives here: identity, deadline, headers, the way to clients and to other flows. Does not live here: contextvars (the
core gives each step its own copy).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flow_core.codec import encode_value
from flow_core.core.run import Intent
from flow_core.core.task import Activity
from flow_core.errors import ExecutionAborted

if TYPE_CHECKING:
    from flow_core.runtime.execution import Execution
    from flow_core.runtime.performer import Performer
    from flow_core.step import Step

__all__ = ["StepContext"]

_KINDS = {int(Activity.ACTIVITY_FALLBACK): ".fallback", int(Activity.ACTIVITY_COMPENSATION): ".compensation"}


class StepContext:
    """One attempt of one step.

    Attributes:
        activity: 0 an attempt, 1 the fallback, 2 the compensation.
        attempt: number of the attempt, from 1.
    """

    __slots__ = ("_children", "_index", "_revoked", "_run", "activity", "attempt")

    def __init__(self, run: Execution, index: int, activity: int) -> None:
        self._run = run
        self._index = index
        self._revoked = False
        self._children = 0
        self.activity = activity
        self.attempt: int = run.attempt(index)

    @property
    def flow(self) -> str:
        """Name of the flow."""
        return self._run.plan.flow

    @property
    def execution(self) -> str:
        """Id of the execution."""
        return self._run.id

    @property
    def step(self) -> str:
        """Id of the step."""
        step: Step = self._run.plan.items[self._index]
        return step.id

    @property
    def run(self) -> Execution:
        """The handle of the execution."""
        return self._run

    @property
    def depth(self) -> int:
        """How deep the execution is nested in others; 0: not at all."""
        return self._run.depth

    @property
    def options(self) -> Mapping[str, Any]:
        """The ``context`` given to ``execute``: your own values."""
        given: Mapping[str, Any] = self._run.options.context if self._run.options is not None else {}
        return given

    @property
    def input(self) -> Any:
        """Input value of the step (a compensation gets its output as argument, and finds the input here)."""
        return self._run.input(self._index)

    @property
    def cancelled(self) -> bool:
        """Whether the outcome is no longer wanted: for threads, which can't be interrupted, to look at."""
        if self._revoked or self._run.over:
            return True
        ending = self._run.intent in (Intent.INTENT_ABORT, Intent.INTENT_STOP)
        return ending and self.activity != Activity.ACTIVITY_COMPENSATION  # which runs because it ends

    @property
    def deadline(self) -> float | None:
        """Loop time at which the attempt is over, the earliest of step, operation and execution; None: never."""
        return self._performer.deadline(self._run, self._index, self.activity)

    def time_left(self) -> float | None:
        """Seconds until the deadline, at least 0; None when there is none."""
        deadline = self.deadline
        return None if deadline is None else max(0.0, deadline - self._performer.driver.time)

    def headers(self) -> dict[str, str]:
        """What every attempt carries to the outside. The idempotency key is the same for all attempts of the step."""
        kind = _KINDS.get(self.activity, "")
        execution, step = self.execution, self.step
        return {
            "flow-name": self.flow,
            "flow-execution": execution,
            "flow-step": step,
            "flow-attempt": str(self.attempt),
            "flow-idempotency-key": f"{execution}/{step}{kind}",
        }

    def child_id(self) -> str | None:
        """The id of the next execution that this attempt starts; None: any.

        In a durable execution it follows from what asks for it: an attempt that is made again after a crash finds the
        execution that it started before. A UUIDv8 (RFC 9562) of a hash.
        """
        if not self._run.durable:
            return None
        import uuid

        self._children += 1
        place = (self.execution, self.step, str(self.activity), str(self.attempt), str(self._children))
        digest = bytearray(hashlib.sha256("\0".join(place).encode()).digest()[:16])
        digest[6], digest[8] = digest[6] & 0x0F | 0x80, digest[8] & 0x3F | 0x80
        return str(uuid.UUID(bytes=bytes(digest)))

    def token(self) -> str:
        """16 random bytes as hex: for reply subjects nobody can guess."""
        return secrets.token_hex(16)

    @property
    def rpc(self) -> Any:
        """The client for calls: the execution's own, else the flow's."""
        return self._performer.client(self._run, "rpc")

    @property
    def pubsub(self) -> Any:
        """The client for messages: the execution's own, else the flow's."""
        return self._performer.client(self._run, "pubsub")

    async def execute(self, flow: str, data: Any, *, step: str | None = None) -> bytes:
        """Execute a flow as a child of this execution and return its result as bytes.

        Raises:
            what ``Flow.execute`` raises; LimitExceeded when it nests deeper than MAX_NESTING; ExecutionAborted when
            the outcome of this attempt is no longer wanted.
        """
        if self.cancelled:
            raise ExecutionAborted(
                f"step {self.step!r} starts no other execution: its own is over, or ending",
                flow=self.flow,
                step=self.step,
            )
        child = await self._performer.execute_child(self, flow, data, step)
        return encode_value(child.response, f"result of flow {flow!r}")

    def revoke(self) -> None:
        """The outcome is no longer wanted."""
        self._revoked = True

    @property
    def _performer(self) -> Performer:
        performer: Performer = self._run.driver.handler
        return performer

    def __repr__(self) -> str:
        return f"<StepContext {self.flow}/{self.step} attempt {self.attempt}>"

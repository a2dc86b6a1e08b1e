"""`StepContext`: what a step can ask about its attempt, and how it executes other flows."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flow_core.core.attempt import Attempt
from flow_core.core.stepper import Stepper
from flow_core.core.task import StepTask
from flow_core.errors import ExecutionAborted
from flow_core.model.payload import encode_value

__all__ = ["StepContext"]


class StepContext(Attempt):
    """One attempt of one step: the first argument of operations, and of callables with two parameters::

        async def ship(ctx, order):
            label = await ctx.execute("print-label", order)  # another flow, as a child execution
            return {"label": label.decode(), "attempt": ctx.attempt}

    Attributes:
        activity: 0 an attempt, 1 the fallback, 2 the compensation.
        attempt: number of the attempt, from 1.
        flow, step, execution: name of the flow, id of the step, id of the execution.
        run: the handle of the execution.
        rpc, pubsub: the clients for calls and for messages: the execution's own, else the flow's.
        options: your own values, as passed to ``execute(context=...)``.
        depth: nesting depth of the execution; 0 when no other execution started it.
        input: input value of the step (the argument of a compensation is the step's output; the input is here).
        deadline: loop time at which the attempt times out, the earliest of step and execution; None: never.
        cancelled: whether the result is no longer wanted. Threads can't be interrupted, so long ones should check it.
    """

    __slots__ = ()

    def child_id(self) -> str | None:
        """The id of the next execution that this attempt starts; None: any.

        In a durable execution the id is derived from this attempt, so that an attempt repeated after a crash finds the
        execution that it started before. It is a UUIDv8 (RFC 9562) made of a hash.
        """
        if not Stepper(self.run).durable:
            return None
        import uuid

        self.children += 1
        place = (self.execution, self.step, str(self.activity), str(self.attempt), str(self.children))
        digest = bytearray(hashlib.sha256("\0".join(place).encode()).digest()[:16])
        digest[6], digest[8] = digest[6] & 0x0F | 0x80, digest[8] & 0x3F | 0x80
        return str(uuid.UUID(bytes=bytes(digest)))

    @contextmanager
    def without_slot(self) -> Iterator[None]:
        """Lend this step's slot of the executor to other steps while it only waits."""
        task = asyncio.current_task()
        lent = isinstance(task, StepTask) and task.lend_slot()
        try:
            yield
        finally:
            if lent:
                task.reclaim_slot()  # type: ignore[union-attr]

    def token(self) -> str:
        """16 random bytes as hex, for reply subjects that can't be guessed."""
        token: str = self.handler.environment.token(16)
        return token

    async def execute(self, flow: str, data: Any, *, step: str | None = None) -> bytes:
        """Execute a flow as a child of this execution and return its result as bytes.

        Raises:
            what ``Flow.execute`` raises; LimitExceeded when it nests deeper than MAX_NESTING; ExecutionAborted when
            the result of this attempt is no longer wanted.
        """
        if self.cancelled:
            raise ExecutionAborted(
                f"step {self.step!r} starts no other execution: its own is over, or ending",
                flow=self.flow,
                step=self.step,
            )
        child = await self.handler.execute_child(self, flow, data, step)
        return encode_value(child.response, f"result of flow {flow!r}")

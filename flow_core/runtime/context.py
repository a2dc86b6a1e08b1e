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
    """One attempt of one step: what operations, and callables that ask for it, get as their first argument.

    Attributes:
        activity: 0 an attempt, 1 the fallback, 2 the compensation.
        attempt: number of the attempt, from 1.
        flow, step, execution: name of the flow, id of the step, id of the execution.
        run: the handle of the execution.
        rpc, pubsub: the client for calls, and that for messages: the execution's own, else the flow's.
        options: the ``context`` given to ``execute``: your own values.
        depth: how deep the execution is nested in others; 0: not at all.
        input: input value of the step (a compensation gets its output as argument, and finds the input here).
        deadline: loop time at which the attempt is over, the earliest of step and execution; None: never.
        cancelled: whether the outcome is no longer wanted: for threads, which can't be interrupted, to look at.
    """

    __slots__ = ()

    def child_id(self) -> str | None:
        """The id of the next execution that this attempt starts; None: any.

        In a durable execution it follows from what asks for it: an attempt that is made again after a crash finds the
        execution that it started before. A UUIDv8 (RFC 9562) of a hash.
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
        """Let other steps have the executor's slot of this one meanwhile, while it only waits for somebody."""
        task = asyncio.current_task()
        lent = isinstance(task, StepTask) and task.lend_slot()
        try:
            yield
        finally:
            if lent:
                task.reclaim_slot()  # type: ignore[union-attr]

    def token(self) -> str:
        """16 random bytes as hex: for reply subjects nobody can guess."""
        token: str = self.handler.environment.token(16)
        return token

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
        child = await self.handler.execute_child(self, flow, data, step)
        return encode_value(child.response, f"result of flow {flow!r}")

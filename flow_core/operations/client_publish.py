"""`ClientPublishOperation`: a step that publishes a message, and may wait for a reply."""

from __future__ import annotations

from typing import Any, Final

from flow_core.errors import DecodeError, InvalidStep, Permanent
from flow_core.model.ids import check_address
from flow_core.model.operation import Operation, required_field
from flow_core.model.options import OperationOptions
from flow_core.model.trace_context import outgoing_headers

__all__ = ["ClientPublishOperation"]

_BOOLS: Final = {"true": True, "false": False}


class ClientPublishOperation(Operation):
    """Publishes the step's input to ``topic``.

    Example::

        Step("announce", ClientPublishOperation("orders.placed"), after="receipt")
        Step("check", ClientPublishOperation("fraud.checks", reply=True), timeout=10)

    Args:
        topic: where to.
        reply: wait for one reply, which is the output. Each attempt waits on a subject of its own (header
            ``flow-reply-to``), so that a late reply to one attempt is never taken for the reply to the next: it is
            counted by the client, as duplicates are. Without any timeout it waits until the execution is aborted.
        confirm: wait until the broker has taken the message. False: fire and forget.
        options: defaults of timeout, retries, allow_fail.

    Raises:
        InvalidStep: ``topic`` is no str, empty, longer than 255, or has spaces; or a flag is no bool.
    """

    type = "client_publish_operation"
    __slots__ = ("confirm", "reply", "topic")

    def __init__(
        self, topic: str, *, reply: bool = False, confirm: bool = True, options: OperationOptions | None = None
    ) -> None:
        self.topic = check_address(topic, "topic")
        self.reply = _check_flag(reply, "reply")
        self.confirm = _check_flag(confirm, "confirm")
        super().__init__(topic, options)

    def fields(self) -> dict[str, str]:
        """``topic``, ``reply`` and ``confirm``."""
        return {"topic": self.topic, "reply": str(self.reply).lower(), "confirm": str(self.confirm).lower()}

    def load(self, fields: dict[str, str]) -> None:
        """Take over ``topic``, and ``reply`` and ``confirm`` where given (the original wrote neither)."""
        self.topic = check_address(required_field(fields, "topic", self.type), "topic")
        self.reply = _read_flag(fields, "reply", False)
        self.confirm = _read_flag(fields, "confirm", True)

    async def execute(self, ctx: Any, data: bytes) -> bytes:
        """Publish once. Raises what the client raises: `AdapterError`, and `NoReply` when the time is up."""
        client = ctx.pubsub
        if client is None:
            raise Permanent(f"{self.name}: this execution has no pubsub client", fix="give the flow a pubsub client")
        headers, left = outgoing_headers(ctx), ctx.time_left()
        if self.reply:
            subject = f"{self.topic}.reply.{ctx.execution}.{ctx.step}.{ctx.attempt}.{ctx.token()}"
            answer: bytes = await client.request(self.topic, data, reply_to=subject, headers=headers, timeout=left)
            return answer
        receipt: bytes | None = await client.publish(
            self.topic, data, headers=headers, confirm=self.confirm, timeout=left
        )
        return receipt or b""


def _check_flag(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidStep(f"{what} must be True or False, not {value!r:.80}")
    return value


def _read_flag(fields: dict[str, str], key: str, default: bool) -> bool:
    text = fields.get(key)
    if text is None:
        return default
    if text not in _BOOLS:
        raise DecodeError(f'client_publish_operation: option {key!r} must be "true" or "false", not {text!r:.80}')
    return _BOOLS[text]

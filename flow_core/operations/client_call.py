"""`ClientCallOperation`: a step that calls an endpoint of a service over rpc."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from flow_core.errors import Permanent
from flow_core.model.ids import check_address
from flow_core.model.operation import Operation, required_field
from flow_core.model.options import OperationOptions
from flow_core.model.trace_context import outgoing_headers

__all__ = ["ClientCallOperation"]


class ClientCallOperation(Operation):
    """Calls an endpoint of a service: the step's input is the request, the reply is its output.

    The call carries the headers that identify the attempt (``flow-idempotency-key`` stays the same over all attempts),
    the trace context where there is one, and the time that is left.

    Example::

        Step("charge", ClientCallOperation("payment", "charge"), after="reserve", retry=3)

    Raises:
        InvalidStep: ``service`` or ``endpoint`` is no str, empty, longer than 255, or has spaces.
    """

    type = "client_call_operation"
    __slots__ = ("endpoint", "service")

    def __init__(self, service: str, endpoint: str, *, options: OperationOptions | None = None) -> None:
        self.service = check_address(service, "service")
        self.endpoint = check_address(endpoint, "endpoint")
        super().__init__(f"{service}.{endpoint}", options)

    def fields(self) -> dict[str, str]:
        """``service`` and ``endpoint``."""
        return {"service": self.service, "endpoint": self.endpoint}

    def load(self, fields: dict[str, str]) -> None:
        """Take over ``service`` and ``endpoint``."""
        self.service = check_address(required_field(fields, "service", self.type), "service")
        self.endpoint = check_address(required_field(fields, "endpoint", self.type), "endpoint")

    def execute(self, ctx: Any, data: bytes) -> Coroutine[Any, Any, bytes]:
        """Call once; gives what the client's `call` gives, to be awaited: a coroutine around it would be felt.

        Raises:
            what the client raises: `AdapterError` and its subclasses.
        """
        client = ctx.rpc
        if client is None:
            raise Permanent(f"{self.name}: this execution has no rpc client", fix="give the flow an rpc client")
        call: Coroutine[Any, Any, bytes] = client.call(
            self.service, self.endpoint, data, headers=outgoing_headers(ctx), timeout=ctx.time_left(), caller=ctx
        )
        return call

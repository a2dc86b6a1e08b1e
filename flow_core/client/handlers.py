"""The endpoints of a Python service: which function answers which call, and how it is called."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from flow_core.errors import FlowError, InvalidOption, PayloadError, Permanent
from flow_core.model.operation import LocalOperation, Operation
from flow_core.model.payload import check_payload, decode_json, encode_value
from flow_core.model.step import Fallback, Step
from flow_core.operations import ClientCallOperation
from flow_core.proto import flow_pb2 as pb

__all__ = ["Handler", "ServedCall", "answer_of", "served"]

#: Answers a call: bytes in, bytes out.
Handler = Callable[[pb.Call], Awaitable[bytes]]
#: Longest text of an error that is sent.
MOST_TEXT: Final = 4_000


class ServedCall:
    """What a function that asks for a context gets: who calls, as `StepContext` tells it to local ones."""

    __slots__ = ("_end", "endpoint", "headers")

    def __init__(self, call: pb.Call) -> None:
        self.endpoint = call.endpoint
        self.headers: Mapping[str, str] = dict(call.headers)
        self._end = asyncio.get_running_loop().time() + call.timeout if call.HasField("timeout") else None

    @property
    def flow(self) -> str:
        """Name of the flow."""
        return self.headers.get("flow-name", "")

    @property
    def execution(self) -> str:
        """Id of the execution."""
        return self.headers.get("flow-execution", "")

    @property
    def step(self) -> str:
        """Id of the step."""
        return self.headers.get("flow-step", "")

    @property
    def attempt(self) -> int:
        """Number of the attempt, from 1."""
        return int(self.headers.get("flow-attempt", "1"))

    @property
    def idempotency_key(self) -> str:
        """The same over all attempts of the step: what an effect is deduplicated by."""
        return self.headers.get("flow-idempotency-key", "")

    def time_left(self) -> float | None:
        """Seconds until the answer is not wanted any more, at least 0; None: no end."""
        return None if self._end is None else max(0.0, self._end - asyncio.get_running_loop().time())


def served(
    service: str, steps: Sequence[Step], handler: Callable[..., Any] | None, handlers: Mapping[str, Callable[..., Any]]
) -> tuple[tuple[Step, ...], dict[str, Handler]]:
    """(the steps as they are registered, endpoint -> handler).

    Raises:
        InvalidOption: an endpoint has no handler, a handler no endpoint, or two steps the same endpoint by accident.
    """
    found = {endpoint: _raw(endpoint, function) for endpoint, function in handlers.items()}
    called: set[str] = set()
    registered = []
    for step in steps:
        changes: dict[str, Any] = {"operation": _moved(service, step.id, step.operation, found)}
        if step.fallback is not None:
            operation = _moved(service, f"{step.id}.fallback", step.fallback.operation, found)
            changes["fallback"] = Fallback(operation, step.fallback.then)
        if step.compensation is not None:
            changes["compensation"] = _moved(service, f"{step.id}.compensation", step.compensation, found)
        new = step.replace(**changes)
        called |= set(_endpoints(service, new))
        registered.append(new)
    missing = sorted(called - found.keys())
    if handler is not None:
        if len(missing) != 1:
            raise InvalidOption(
                f"handler= answers the one endpoint that has none, and here are {len(missing)}: {missing}",
                fix="name them: handlers={endpoint: function}",
            )
        found[missing[0]] = _raw(missing[0], handler)
    elif missing:
        raise InvalidOption(f"nobody answers {', '.join(missing)}", fix="pass handler= or handlers=")
    if not found:
        raise InvalidOption("nothing is offered", fix="pass steps with Python callables, or handlers=")
    return tuple(registered), found


async def answer_of(handler: Handler | None, call: pb.Call) -> pb.CallAnswer:
    """The answer to a call, whatever its handler does. Cancelling this cancels the handler."""
    if handler is None:
        error = pb.CallError(message=f"no endpoint {call.endpoint!r} is served here")
        return pb.CallAnswer(number=call.number, error=error)
    try:
        return pb.CallAnswer(number=call.number, data=await handler(call))
    except Exception as error:
        return pb.CallAnswer(number=call.number, error=_error_of(error))


def _moved(service: str, endpoint: str, operation: Operation, found: dict[str, Handler]) -> Operation:
    """A call of this service instead of a Python callable; any other operation stays."""
    if not isinstance(operation, LocalOperation):
        return operation
    if endpoint in found:
        raise InvalidOption(f"endpoint {endpoint!r} has a handler already", fix="give the step another id")
    found[endpoint] = _local(operation)
    return ClientCallOperation(service, endpoint, options=operation.options)


def _endpoints(service: str, step: Step) -> list[str]:
    parts = [step.operation, step.fallback and step.fallback.operation, step.compensation]
    return [part.endpoint for part in parts if isinstance(part, ClientCallOperation) and part.service == service]


def _raw(endpoint: str, function: Callable[..., Any]) -> Handler:
    """A handler of ``(data, headers)``, as `MemoryRpcClient` has them."""
    if not callable(function):
        raise InvalidOption(f"handler of {endpoint!r} must be callable, not {type(function).__name__}")

    async def handle(call: pb.Call) -> bytes:
        reply = function(call.data, dict(call.headers))
        return check_payload(await reply if inspect.isawaitable(reply) else reply, f"reply of {endpoint}")

    return handle


def _local(operation: LocalOperation) -> Handler:
    """A Python callable of values: async ones run on the loop, others in a thread."""
    function = operation.function
    assert function is not None

    async def handle(call: pb.Call) -> bytes:
        value = decode_json(call.data)
        arguments = ((), (value,), (ServedCall(call), value))[operation.arity]
        if operation.is_async:
            result = await function(*arguments)
        else:
            result = await asyncio.to_thread(function, *arguments)
            if inspect.isawaitable(result):
                result = await result
        return encode_value(result, f"output of {operation.name}")

    return handle


def _error_of(error: Exception) -> pb.CallError:
    text = error.message if isinstance(error, FlowError) else f"{type(error).__name__}: {error}"
    data = text.encode("utf-8", "backslashreplace")[:MOST_TEXT].decode("utf-8", "ignore")
    retry_after = getattr(error, "retry_after", None)
    permanent = isinstance(error, (Permanent, PayloadError))
    return pb.CallError(message=data, permanent=permanent, retry_after=retry_after)

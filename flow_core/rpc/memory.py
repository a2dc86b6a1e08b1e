"""`MemoryRpcClient`: calls to handlers in the same process, for tests, demos and embedding."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from flow_core.errors import InvalidOption, RegistrationError, Unavailable, did_you_mean
from flow_core.rpc.base import RpcClient

__all__ = ["Handler", "MemoryRpcClient"]

#: What serves an endpoint: ``(data, headers) -> reply``, async or not. A sync one runs on the loop: it must be quick.
Handler = Callable[[bytes, Mapping[str, str]], bytes | Awaitable[bytes]]


class MemoryRpcClient(RpcClient):
    """Calls handlers in this process, registered with `serve`. They may come and go while flows run, as services do.

    Example::

        client = MemoryRpcClient()
        client.serve("payment", "charge", lambda data, headers: b"paid")
        flow = Flow(rpc=client)
    """

    def __init__(self) -> None:
        super().__init__()
        self._handlers: dict[tuple[str, str], Handler] = {}

    def serve(self, service: str, endpoint: str, handler: Handler) -> None:
        """Let ``handler`` answer the calls of ``service``/``endpoint`` from now on.

        Raises:
            InvalidOption: ``handler`` is not callable.
            RegistrationError: the endpoint is served already.
        """
        if not callable(handler):
            raise InvalidOption(f"handler of {service}.{endpoint} must be callable, not {type(handler).__name__}")
        if (service, endpoint) in self._handlers:
            raise RegistrationError(f"{service}.{endpoint} is served already", fix="withdraw it first")
        self._handlers[service, endpoint] = handler

    def withdraw(self, service: str, endpoint: str) -> bool:
        """Stop serving the endpoint; calls under way finish. Returns whether it was served."""
        return self._handlers.pop((service, endpoint), None) is not None

    async def _call(
        self, service: str, endpoint: str, data: bytes, headers: Mapping[str, str], timeout: float | None
    ) -> bytes:
        handler = self._handlers.get((service, endpoint))
        if handler is None:
            known = [".".join(key) for key in self._handlers]
            raise Unavailable(f"nobody serves {service}.{endpoint}", fix=did_you_mean(f"{service}.{endpoint}", known))
        reply = handler(data, MappingProxyType(dict(headers)))
        return await reply if inspect.isawaitable(reply) else reply

    async def _close(self) -> None:
        self._handlers.clear()

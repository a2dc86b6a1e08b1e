"""`RpcClient`: what a client for calls to services promises.

A new client implements `_call` and `_close`. It does not retry: the engine does, and both together would multiply.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Coroutine, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Final, Protocol

from flow_core.errors import AdapterError, FlowError, NoReply, Unavailable
from flow_core.model.payload import check_payload
from flow_core.net.closing import Client

__all__ = ["Caller", "RpcClient", "RpcStatistics"]

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RpcStatistics:
    """What a client did so far: ``calls`` made, and how those that are over ended (cancelled ones count nowhere)."""

    calls: int = 0
    replies: int = 0
    failures: int = 0
    timeouts: int = 0


class Caller(Protocol):
    """What a client may ask of the attempt that makes a call: a `StepContext`."""

    @property
    def flow(self) -> str:
        """Name of the flow."""

    @property
    def execution(self) -> str:
        """Id of the execution."""

    @property
    def step(self) -> str:
        """Id of the step."""

    def without_slot(self) -> AbstractContextManager[None]:
        """Let other steps have the executor's slot of this one meanwhile, while it only waits for somebody."""


class RpcClient(Client):
    """Calls endpoints of services. One client serves one event loop; use it in ``async with``, or `close` it.

    A subclass calls ``super().__init__()`` and implements `_call`, raising `Unavailable` when nobody answers.

    Example::

        async with GrpcRpcClient("grpc://payment:50051") as client:
            reply = await client.call("payment", "charge", b"{}", timeout=5)
    """

    #: Whether the constructor takes ``targets=`` (`flow_core.net.egress.Targets`) and only connects to checked
    #: addresses.
    checks_targets: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self._calls = self._replies = self._failures = self._timeouts = 0

    async def call(
        self, service: str, endpoint: str, data: bytes, *, headers: Mapping[str, str] = NO_HEADERS,
        timeout: float | None = None, caller: Caller | None = None,
    ) -> bytes:  # fmt: skip
        """Send ``data`` to ``service``/``endpoint`` and return the reply.

        Args:
            service, endpoint: who.
            data: the request, at most `MAX_PAYLOAD` bytes.
            headers: sent along.
            timeout: seconds until `NoReply`; 0 or less fails at once, None waits until cancelled.
            caller: the attempt of a step that makes the call, when there is one. It stays in this process.

        Raises:
            Unavailable: nobody serves this, or the client is closed.
            NoReply: the time is up; also a TimeoutError.
            AdapterError: the call failed; the cause is ``__cause__``. A `FlowError` of the other end passes as it is.
            PayloadError: ``data`` or the reply is not bytes or too large.
        """
        what = f"{service}.{endpoint}"
        check_payload(data, f"request to {what}")
        if self._closed:
            raise Unavailable(f"call of {what}: the client is closed")
        self._calls += 1
        if timeout is not None and timeout <= 0:
            self._timeouts += 1
            raise NoReply(f"call of {what}: no time is left")
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                if caller is None:
                    reply = await self._call(service, endpoint, data, headers, timeout)
                else:
                    reply = await self._call_by(caller, service, endpoint, data, headers, timeout)
            check_payload(reply, f"reply of {what}")
        except Exception as error:
            if limit.expired() and not isinstance(error, NoReply):
                self._timeouts += 1
                raise NoReply(f"call of {what}: no reply within {timeout:g} s") from error
            if isinstance(error, NoReply):  # the client's own clock was quicker, or the other end gave up in our name
                self._timeouts += 1
                raise
            self._failures += 1
            if isinstance(error, FlowError):
                raise
            raise AdapterError(f"call of {what} failed: {type(error).__name__}: {error}") from error
        self._replies += 1
        return reply

    @abstractmethod
    async def _call(
        self, service: str, endpoint: str, data: bytes, headers: Mapping[str, str], timeout: float | None
    ) -> bytes:
        """Make the call. `call` cancels it when ``timeout`` is up; the value is there to be sent to the other end."""

    def _call_by(  # noqa: PLR0917 - as `_call`
        self, caller: Caller, service: str, endpoint: str, data: bytes, headers: Mapping[str, str],
        timeout: float | None,
    ) -> Coroutine[Any, Any, bytes]:  # fmt: skip
        """The same for an attempt of a step: for clients to which it matters whose call it is."""
        return self._call(service, endpoint, data, headers, timeout)

    def waits_for(self, execution: str, step: str) -> str | None:
        """Whom a call of a step waits for before it is sent, in words for `explain`; None: nobody."""
        return None

    def statistics(self) -> RpcStatistics:
        """A snapshot of the counters."""
        return RpcStatistics(self._calls, self._replies, self._failures, self._timeouts)

"""`GrpcRpcClient`: calls over gRPC, with payloads as they are.

What a status becomes::

    UNAVAILABLE          Unavailable     retried
    CANCELLED            AdapterError    retried
    UNKNOWN              AdapterError    retried
    RESOURCE_EXHAUSTED   AdapterError    retried; PayloadError when a message is larger than a limit
    ABORTED              AdapterError    retried
    INTERNAL             AdapterError    retried
    DEADLINE_EXCEEDED    NoReply         retried
    INVALID_ARGUMENT     Rejected        never
    NOT_FOUND            Rejected        never
    ALREADY_EXISTS       Rejected        never
    PERMISSION_DENIED    Rejected        never
    FAILED_PRECONDITION  Rejected        never
    OUT_OF_RANGE         Rejected        never
    DATA_LOSS            Rejected        never
    UNAUTHENTICATED      Rejected        never
    UNIMPLEMENTED        NotServed       never

The trailer ``grpc-retry-pushback-ms`` (gRFC A6) goes before the table: a number is the ``retry_after`` of the error,
one that is negative or none makes it `Rejected`. gRPC's own retries are off: the engine retries.
"""

from __future__ import annotations

import asyncio
import math
import re
import socket
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

try:
    import grpc
    import grpc.aio
except ImportError as error:
    raise ImportError("calls over gRPC need grpcio: pip install 'flow-core[grpc]'") from error

from flow_core.errors import (
    AdapterError,
    FlowError,
    InvalidOption,
    NoReply,
    NotServed,
    PayloadError,
    Rejected,
    Unavailable,
)
from flow_core.model.ids import MAX_PAYLOAD
from flow_core.net.egress import Targets, parse_target
from flow_core.net.resolve import resolve
from flow_core.net.tls import Tls
from flow_core.rpc.base import RpcClient
from flow_core.rpc.headers import HeaderRules

__all__ = ["STATUSES", "GrpcRpcClient"]

#: What each status becomes; drawn above.
STATUSES: Final[Mapping[str, type[AdapterError]]] = {
    "UNAVAILABLE": Unavailable,
    "DEADLINE_EXCEEDED": NoReply,
    "UNIMPLEMENTED": NotServed,
    **dict.fromkeys(("CANCELLED", "UNKNOWN", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL"), AdapterError),
    **dict.fromkeys(("INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED"), Rejected),
    **dict.fromkeys(("FAILED_PRECONDITION", "OUT_OF_RANGE", "DATA_LOSS", "UNAUTHENTICATED"), Rejected),
}
PUSHBACK: Final = "grpc-retry-pushback-ms"
#: What a message may have beyond its payload, so that it is our own check that names the limit.
OVERHEAD: Final = 64 * 1024
#: Calls in a row that got no answer at all before the connection is taken for dead and replaced.
SILENCE: Final = 3
#: Seconds by which a timer may be early: uvloop counts milliseconds.
CLOCK: Final = 0.002
#: Seconds between two look-ups of a checked name that can't be reached.
LOOK_UP_AGAIN: Final = 5.0
#: Methods whose paths a connection remembers.
REMEMBERED: Final = 1024
_MILLISECONDS: Final = re.compile(r"[0-9]{1,12}").fullmatch
RESERVED: Final = frozenset({"grpc-", "-bin", "te", "content-type", "user-agent", "host", "connection"})

_DEFAULTS: Final[dict[str, int | str]] = {
    "grpc.max_receive_message_length": MAX_PAYLOAD + OVERHEAD,
    "grpc.max_send_message_length": MAX_PAYLOAD + OVERHEAD,
    "grpc.enable_retries": 0,
    "grpc.use_local_subchannel_pool": 1,  # closing this client closes its connections
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 1_000,
    "grpc.max_reconnect_backoff_ms": 5_000,
}


class _Channel:
    """A channel of gRPC, and how many calls are on it."""

    __slots__ = ("addresses", "busy", "grpc", "methods", "retired", "silent")

    def __init__(self, channel: Any, addresses: frozenset[str]) -> None:
        self.grpc = channel
        self.addresses = addresses
        self.methods: dict[tuple[str, str], Any] = {}
        self.busy = 0
        self.silent = 0
        self.retired = False


class GrpcRpcClient(RpcClient):
    """Calls ``/service/endpoint`` of one target, as a unary call whose messages are the payloads.

    Example::

        flow = Flow(rpc=GrpcRpcClient("grpc://inventory:50051/shop.v1.Inventory"))

    Args:
        url: ``grpc://host:port``, or ``grpcs://host:port`` with TLS. A path names the service of all calls, in place
            of the step's: with ``grpc://host:port/shop.v1.Inventory`` an operation of service ``inventory`` calls
            ``/shop.v1.Inventory/<endpoint>``.
        tls: for ``grpcs``: authorities, certificate and key.
        headers: metadata sent with each call, for instance ``authorization``.
        targets: None: the target is trusted. Else it, and each address of its name, has to pass.
        options: channel arguments of gRPC beside or in place of our own, e.g. ``{"grpc.keepalive_time_ms": 60_000}``.

    The connection is made with the first call and again when it broke, with gRPC's backoff (0.1 to 5 s) in between,
    during which calls fail at once. One on which three calls in a row got no answer in time is replaced.

    Raises:
        InvalidOption: the URL or another argument is wrong.
        TargetRefused: ``targets`` does not allow the name.
    """

    checks_targets: ClassVar[bool] = True

    def __init__(
        self, url: str, *, tls: Tls | None = None, headers: Mapping[str, str] | None = None,
        targets: Targets | None = None, options: Mapping[str, int | str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.target = parse_target(url, {"grpc": None, "grpcs": None})
        self._service = self.target.path.lstrip("/")
        if "/" in self._service:
            raise InvalidOption(f"the path of {self.target} names no service", fix="one name, as in /shop.v1.Inventory")
        secure = self.target.scheme == "grpcs"
        if tls is not None and not secure:
            raise InvalidOption(f"tls= for {self.target}, which is without TLS", fix="write grpcs://")
        self._credentials = _credentials(tls) if secure else None
        self._rules = HeaderRules(RESERVED)
        self._headers = self._rules.own(headers or {})
        self._targets = targets
        if targets is not None:
            targets.check_name(self.target)
        self._options = _DEFAULTS | dict(options or {})
        if tls is not None and tls.server_name is not None:
            self._options["grpc.ssl_target_name_override"] = tls.server_name
        self._channel: _Channel | None = None
        self._channels: set[_Channel] = set()
        self._looked_up = 0.0
        self._unreachable = False
        self._connecting = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<GrpcRpcClient {self.target}>"

    async def _call(
        self, service: str, endpoint: str, data: bytes, headers: Mapping[str, str], timeout: float | None
    ) -> bytes:
        what = f"call of {service}.{endpoint} at {self.target}"
        metadata = self._headers + self._rules.check(headers, what)
        channel = self._channel
        if channel is None or self._unreachable:
            channel = await self._connect()
        method = channel.methods.get((service, endpoint)) or self._method(channel, service, endpoint)
        now = asyncio.get_running_loop().time
        ends = math.inf if timeout is None else now() + timeout - CLOCK
        call = None
        channel.busy += 1
        try:
            call = method(data, timeout=timeout, metadata=metadata)
            reply: bytes = await call
            channel.silent = 0
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            self._note(channel, code, silent=now() >= ends)
            raise _failure(what, code, error.details(), error.trailing_metadata()) from _bare(error)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if call is None or task is None or task.cancelling():  # it is we who are cancelled; gRPC told the other end
                self._note(channel, "CANCELLED", silent=now() >= ends)
                raise
            if self._closed:
                raise Unavailable(f"{what}: the client was closed") from _bare(error)
            # Whoever answers with the status CANCELLED must not cancel the step that asked.
            raise _failure(what, "CANCELLED", await call.details(), await call.trailing_metadata()) from _bare(error)
        except grpc.aio.UsageError as error:  # the channel was closed in between
            raise Unavailable(f"{what}: the connection was closed") from error
        finally:
            call = None  # whoever keeps the error keeps this frame
            channel.busy -= 1
            if channel.retired and not channel.busy:
                self._shut(channel)
        return reply

    def _method(self, channel: _Channel, service: str, endpoint: str) -> Any:
        path = f"/{self._service or service}/{endpoint}"
        if not path.isascii() or path.count("/") != 2 or not path.isprintable() or " " in path:
            raise Rejected(f"{path!r:.300} is no path of a gRPC method", fix="service and endpoint are names without /")
        if len(channel.methods) >= REMEMBERED:
            channel.methods.clear()
        method = channel.methods[service, endpoint] = channel.grpc.unary_unary(path)
        return method

    # --- the connection ---------------------------------------------------------------------------------------------

    async def _connect(self) -> _Channel:
        """The channel to use; for a checked target after a look-up, for which calls wait for one another."""
        if self._targets is None:
            if self._channel is None:
                self._channel = self._open(f"dns:///{self.target.netloc}", frozenset())
            return self._channel
        async with self._connecting:
            now = asyncio.get_running_loop().time()
            channel = self._channel
            if channel is not None and (not self._unreachable or now < self._looked_up + LOOK_UP_AGAIN):
                return channel
            found = await resolve(self.target, self._targets)
            if self._closed:
                raise Unavailable(f"{self.target}: the client was closed")
            self._looked_up, self._unreachable = now, False
            addresses = frozenset(address for _, address in found)
            if channel is None or channel.addresses != addresses:
                if channel is not None:
                    self._retire(channel)
                channel = self._channel = self._open(_pinned(found, self.target.port), addresses)
            return channel

    def _open(self, target: str, addresses: frozenset[str]) -> _Channel:
        options = dict(self._options)
        if addresses:  # connects to what was checked, and asks there for the host of the URL
            options |= {"grpc.default_authority": self.target.netloc, "grpc.enable_http_proxy": 0}
        arguments = list(options.items())
        if self._credentials is None:
            made = grpc.aio.insecure_channel(target, options=arguments)
        else:
            made = grpc.aio.secure_channel(target, self._credentials, options=arguments)
        channel = _Channel(made, addresses)
        self._channels.add(channel)
        return channel

    def _note(self, channel: _Channel, code: str, *, silent: bool) -> None:
        """Judge the connection by how a call ended."""
        channel.silent = channel.silent + 1 if silent else channel.silent if code == "CANCELLED" else 0
        if channel.silent >= SILENCE:
            self._retire(channel)
        elif code == "UNAVAILABLE" and self._targets is not None:
            self._unreachable = True

    def _retire(self, channel: _Channel) -> None:
        """Let no new call use the channel; it is closed when the last one under way has ended."""
        if self._channel is channel:
            self._channel = None
        channel.retired = True
        if not channel.busy:
            self._shut(channel)

    def _shut(self, channel: _Channel) -> None:
        if channel in self._channels:
            self._channels.discard(channel)
            task = asyncio.get_running_loop().create_task(channel.grpc.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _close(self) -> None:
        self._channel = None
        for channel in tuple(self._channels):
            self._shut(channel)
        await asyncio.gather(*self._closing)


def _credentials(tls: Tls | None) -> Any:
    ca, key, cert = (tls or Tls()).pem()
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=cert)


def _pinned(found: Sequence[tuple[int, str]], port: int) -> str:
    """gRPC's name for the addresses: those of the family that the system prefers, since it takes one family only."""
    family = found[0][0]
    addresses = dict.fromkeys(address for kind, address in found if kind == family)
    if family == socket.AF_INET6:
        return "ipv6:" + ",".join(f"[{address}]:{port}" for address in addresses)
    return "ipv4:" + ",".join(f"{address}:{port}" for address in addresses)


def _bare(error: BaseException) -> BaseException:
    """The error without its traceback, whose frames would keep the call, and that the connection, open."""
    return error.with_traceback(None)


def _failure(what: str, code: str, details: str | None, trailers: Any) -> FlowError:
    """The error for a status other than OK."""
    message = f"{what}: {code}: {(details or 'no details')[:1000]}"
    if code == "RESOURCE_EXHAUSTED" and "larger than max" in (details or ""):
        return PayloadError(message, fix="send less, or raise the limit of the other end")
    kind = STATUSES.get(code, AdapterError)
    pushback = next((value for key, value in trailers or () if key == PUSHBACK), None)
    if pushback is None:
        return kind(message)
    if not _MILLISECONDS(pushback):  # negative, or no number: do not try again
        return kind(message) if issubclass(kind, Rejected) else Rejected(message)
    return kind(message, retry_after=int(pushback) / 1000)

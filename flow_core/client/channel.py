"""`Channel`: a client's connection to a Flow service, with credentials, retries while it is away, and typed errors."""

from __future__ import annotations

import asyncio
import random
import urllib.parse
from pathlib import Path
from typing import Any, Final

try:
    import grpc
    import grpc.aio
except ImportError as _error:
    raise ImportError("a client of the Flow service needs grpcio: pip install 'flow-core[grpc]'") from _error

from google.protobuf.message import DecodeError as ProtobufError

from flow_core.errors import (
    AdapterError,
    FlowError,
    InvalidOption,
    NoReply,
    NotServed,
    PayloadError,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from flow_core.model.backoff import Backoff
from flow_core.net.loopback import is_loopback
from flow_core.proto import flow_pb2 as pb
from flow_core.proto.errors import error_of
from flow_core.proto.methods import MAX_MESSAGE, METHODS

__all__ = ["EOF", "CallError", "Channel", "failure"]

#: Delays before a call is sent again.
BACKOFF: Final = Backoff(0.1, 2.0)

#: What a stream raises when it ends with another status than OK, and what it reads at its end.
CallError: Final[Any] = grpc.aio.AioRpcError
EOF: Final[Any] = grpc.aio.EOF

OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.enable_retries", 0),  # what may be repeated is known here, and not there
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),  # channels don't share connections: each has its own end
)
#: Seconds that a call which may be repeated is repeated while nobody answers.
PATIENCE: Final = 5.0
#: Status -> error, where the trailers bring none.
KINDS: Final = {
    "UNAVAILABLE": Unavailable, "DEADLINE_EXCEEDED": NoReply, "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied, "UNIMPLEMENTED": NotServed,
}  # fmt: skip


class Channel:
    """A connection to a Flow service, made with the first call and bound to the event loop of that call.

    Args:
        url, key, tls: see `flow_core.connect`.
        patience: seconds that a call which may be repeated is repeated while the server is away.

    Raises:
        InvalidOption: the URL is wrong, or the key would travel in the clear.
    """

    def __init__(self, url: str, *, key: str | None = None, tls: Any = None, patience: float = PATIENCE) -> None:
        self.target, secure = _target_of(url)
        if tls is not None and not secure:
            raise InvalidOption(f"{self.target}: tls is given, and the URL is not of TLS", fix="write grpcs://")
        if key is not None and not secure and not is_loopback(self.target):
            raise InvalidOption(
                f"the key would travel to {self.target} where anybody on the way could read it", fix="use grpcs://"
            )
        self._secure, self._tls = secure, tls
        self._metadata = () if key is None else (("authorization", f"Bearer {key}"),)
        self._patience = patience
        self._channel: Any = None
        self._methods: dict[str, Any] = {}
        self._closed = False

    async def call(self, name: str, request: Any, *, repeatable: bool | None = None) -> Any:
        """Call a unary method.

        Args:
            repeatable: whether it may be sent again when its answer was lost; what the table of methods says when None.

        Raises:
            the error that the server raised, of the same class; Unavailable: nobody answers.
        """
        method = self.method(name)
        if repeatable is None:
            repeatable = METHODS[name].repeatable
        loop = asyncio.get_running_loop()
        end, attempt = loop.time() + self._patience, 0
        while True:
            try:
                return await method(request, metadata=self._metadata)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE or not repeatable or loop.time() >= end:
                    raise failure(self.target, error) from None
            attempt += 1
            await asyncio.sleep(BACKOFF.delay(attempt, random.random()))

    def stream(self, name: str, request: Any = None) -> Any:
        """Open a stream: grpc.aio's call object. Its errors go through `failure`."""
        method = self.method(name)
        return method(metadata=self._metadata) if request is None else method(request, metadata=self._metadata)

    def method(self, name: str) -> Any:
        """grpc.aio's callable for a method."""
        found = self._methods.get(name)
        if found is None:
            method = METHODS[name]
            kinds = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
            make = getattr(self._open(), kinds[method.stream_in * 2 + method.stream_out])
            found = self._methods[name] = make(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.reply.FromString,
            )
        return found

    def _open(self) -> Any:
        if self._closed:
            raise Unavailable(f"{self.target}: the client is closed", fix="make a new one")
        if self._channel is None:
            if self._secure:
                self._channel = grpc.aio.secure_channel(self.target, _credentials(self._tls), options=OPTIONS)
            else:
                self._channel = grpc.aio.insecure_channel(self.target, options=OPTIONS)
        return self._channel

    async def close(self) -> None:
        """Close the connection; calls under way fail. Closing twice is fine."""
        self._closed = True
        channel, self._channel = self._channel, None
        self._methods.clear()
        if channel is not None:
            await channel.close()


def failure(target: str, error: Any) -> FlowError:
    """The error for a status other than OK: the one that the server raised, when it says so."""
    for key, value in error.trailing_metadata() or ():
        if key == "flow-error-bin":
            try:
                return error_of(pb.ErrorInfo.FromString(value))
            except (ProtobufError, ValueError):
                break
    code, details = error.code().name, (error.details() or "no details")[:1_000]
    if (
        code == "INTERNAL" and details == "Internal error from Core"
    ):  # how grpc.aio says that a write met a closed stream
        code, details = "UNAVAILABLE", "the stream was ended"
    message = f"{target}: {code}: {details}"
    if code == "RESOURCE_EXHAUSTED" and "larger than max" in details:
        return PayloadError(message, fix=f"the limit of a message is {MAX_MESSAGE} bytes")
    if code == "UNAVAILABLE":
        return Unavailable(message, fix="is the server running?")
    kind: type[FlowError] = KINDS.get(code, AdapterError)
    return kind(message)


def _target_of(url: str) -> tuple[str, bool]:
    """(what gRPC takes, whether with TLS) of a URL."""
    if not isinstance(url, str):
        raise InvalidOption(f"a URL is needed, not {type(url).__name__}", fix='connect("grpc://127.0.0.1:50051")')
    if url.startswith("unix:"):
        return url, False
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("grpc", "grpcs"):
        raise InvalidOption(
            f"{parts.scheme or 'no scheme'}: a Flow service is at grpc://host:port, grpcs://host:port or unix:/path"
        )
    try:
        port = parts.port
    except ValueError:
        port = None
    if not parts.hostname or port is None or parts.path not in ("", "/") or parts.query or parts.username is not None:
        raise InvalidOption("the URL of a Flow service is grpc://host:port, and nothing more", fix="pass key= and tls=")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{port}", parts.scheme == "grpcs"


def _credentials(tls: Any) -> Any:
    if tls is None:
        return grpc.ssl_channel_credentials()
    if isinstance(tls, (str, Path)):
        try:
            return grpc.ssl_channel_credentials(root_certificates=Path(tls).read_bytes())
        except OSError as error:
            raise InvalidOption(f"tls: {tls} can't be read: {error.strerror}") from None
    if not hasattr(tls, "pem"):
        raise InvalidOption(f"tls is the path of a PEM file or a Tls, not {type(tls).__name__}")
    ca, key, cert = tls.pem()
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=cert)

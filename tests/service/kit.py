"""What the tests of security share: a clock, the context of a call, a file of keys, and a server that asks a guard.

Lives here: fakes of gRPC's context, and `guarded_server`, a real one. Does not live here: the Flow service itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from flow_core.errors import AuthError, QuotaExceeded, Unauthenticated
from flow_core.rpc import Tls
from flow_core.service.security.guard import Guard
from flow_core.service.security.key_file import KeyFile
from flow_core.service.security.keys import KeyRing


class Clock:
    """Seconds that the test moves."""

    def __init__(self, at: float = 0.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


class Context:
    """As much of gRPC's ServicerContext as a guard looks at."""

    def __init__(
        self,
        key: str | None = None,
        *,
        metadata: Sequence[tuple[str, Any]] = (),
        certificate: Mapping[str, Sequence[bytes]] | None = None,
        peer: str = "ipv4:10.0.0.1:5000",
    ) -> None:
        self._metadata = (*metadata, *([] if key is None else [("authorization", f"Bearer {key}")]))
        self._certificate = certificate
        self._peer = peer

    def invocation_metadata(self) -> Sequence[tuple[str, Any]]:
        return self._metadata

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        return {} if self._certificate is None else {"transport_security_type": [b"ssl"], **self._certificate}

    def peer(self) -> str:
        return self._peer


def add_key(file: KeyFile, name: str, role: str, lives: float | None = None) -> str:
    """A new key in the file, for ``lives`` seconds; its text."""

    def change(ring: KeyRing, now: float) -> tuple[KeyRing, Any]:
        made, _, secret = ring.new(name, role, now, None if lives is None else now + lives)
        return made, secret

    return str(file.change(change).reveal())


def channel_credentials(*files: Path) -> Any:
    """gRPC's credentials of a client: of the authority, and perhaps its own certificate and key."""
    ca, key, cert = Tls(*files).pem()
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=cert)


STATUS = {Unauthenticated: grpc.StatusCode.UNAUTHENTICATED, QuotaExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED}


class Whoami(grpc.GenericRpcHandler):
    """Answers every unary call with the principal's name, when the guard allows the verb of the path."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def service(self, details: Any) -> Any:
        verb = details.method.rpartition("/")[2]

        async def answer(request: bytes, context: Any) -> bytes:
            try:
                return (await self._guard.allow(context, verb, None)).name.encode()
            except AuthError as error:
                code = STATUS.get(type(error), grpc.StatusCode.PERMISSION_DENIED)
                return await context.abort(code, error.message)  # type: ignore[no-any-return]

        return grpc.unary_unary_rpc_method_handler(answer)


@asynccontextmanager
async def guarded_server(guard: Guard, credentials: Any = None) -> AsyncIterator[int]:
    """A server on loopback; its port."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([Whoami(guard)])
    address = "127.0.0.1:0"
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


async def whoami(port: int, verb: str, key: str | None = None, credentials: Any = None) -> str:
    """Ask the server over a connection of its own; the name, or the status and its text."""
    target = f"localhost:{port}" if credentials else f"127.0.0.1:{port}"
    options = (("grpc.use_local_subchannel_pool", 1),)
    if credentials:
        channel = grpc.aio.secure_channel(target, credentials, options)
    else:
        channel = grpc.aio.insecure_channel(target, options)
    async with channel:
        metadata = () if key is None else (("authorization", f"Bearer {key}"),)
        try:
            answer: bytes = await channel.unary_unary(f"/test/{verb}")(b"", metadata=metadata, timeout=30)
            return answer.decode()
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"

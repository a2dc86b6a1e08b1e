"""`UnixRpcClient`: calls over a Unix socket, ``unix:///run/shop.sock``.

A request is one line of JSON with service, endpoint, headers and size, then the payload; so is the answer, with status
and size. A connection carries one call. `serve` is the other end.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping

from flow_core.errors import AdapterError, InvalidOption, NotServed, Unavailable
from flow_core.model.ids import MAX_PAYLOAD
from flow_core.rpc import RpcClient

__all__ = ["UnixRpcClient", "serve"]

Handler = Callable[[bytes, Mapping[str, str]], Awaitable[bytes]]


class UnixRpcClient(RpcClient):
    """Calls services behind one socket. The base class does checks, timeouts, counting; this one makes the call."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.path = url.partition("://")[2]
        if not self.path.startswith("/"):
            raise InvalidOption(f"{url!r:.80} names no socket", fix="write unix:///path/of/socket")

    async def _call(
        self, service: str, endpoint: str, data: bytes, headers: Mapping[str, str], timeout: float | None
    ) -> bytes:
        try:
            reader, writer = await asyncio.open_unix_connection(self.path)
        except OSError as error:
            raise Unavailable(f"nobody is at {self.path}: {error.strerror}") from error
        try:
            head = {"service": service, "endpoint": endpoint, "headers": dict(headers), "size": len(data)}
            writer.write(json.dumps(head).encode() + b"\n" + data)
            answer = json.loads(await reader.readline() or b'{"status": "lost"}')
            if answer["status"] == "unknown":
                raise NotServed(f"{self.path} does not serve {service}.{endpoint}")
            if answer["status"] != "ok":
                raise AdapterError(f"{service}.{endpoint} at {self.path}: {answer.get('why', answer['status'])}")
            return await reader.readexactly(min(answer["size"], MAX_PAYLOAD + 1))
        finally:
            writer.close()


async def serve(path: str, handlers: Mapping[tuple[str, str], Handler]) -> asyncio.Server:
    """Answer calls at ``path``; ``handlers`` maps (service, endpoint) to ``async (data, headers) -> reply``."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = json.loads(await reader.readline())
            data = await reader.readexactly(head["size"])
            handler = handlers.get((head["service"], head["endpoint"]))
            if handler is None:
                writer.write(b'{"status": "unknown"}\n')
            else:
                reply = await handler(data, head["headers"])
                writer.write(json.dumps({"status": "ok", "size": len(reply)}).encode() + b"\n" + reply)
        except Exception as error:
            writer.write(json.dumps({"status": "failed", "why": repr(error)}).encode() + b"\n")
        finally:
            writer.close()

    return await asyncio.start_unix_server(answer, path)

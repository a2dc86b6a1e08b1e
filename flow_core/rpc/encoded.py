"""`EncodedRpcClient`: calls whose payloads are translated on the way, for instance encrypted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from flow_core.rpc.base import Caller, RpcClient

__all__ = ["EncodedRpcClient"]


class PayloadCodec(Protocol):
    """A codec from bytes to bytes; it raises `PayloadError`."""

    def encode(self, value: bytes, /) -> bytes:
        """What is sent for a request."""

    def decode(self, data: bytes, /) -> bytes:
        """What a reply means."""


class EncodedRpcClient(RpcClient):
    """Encodes each request, and decodes each reply of ``client``, which it closes with itself.

    ``Flow(rpc=EncodedRpcClient(client, AesGcmCodec(key)))``: steps and store see plain payloads, the network does not.
    """

    def __init__(self, client: RpcClient, codec: PayloadCodec) -> None:
        super().__init__()
        self._client = client
        self._codec = codec

    async def _call(
        self, service: str, endpoint: str, data: bytes, headers: Mapping[str, str], timeout: float | None
    ) -> bytes:
        return await self._call_by(None, service, endpoint, data, headers, timeout)

    async def _call_by(  # noqa: PLR0917 - as `RpcClient._call_by`
        self, caller: Caller | None, service: str, endpoint: str, data: bytes, headers: Mapping[str, str],
        timeout: float | None,
    ) -> bytes:  # fmt: skip
        sealed = self._codec.encode(data)
        reply = await self._client.call(service, endpoint, sealed, headers=headers, timeout=timeout, caller=caller)
        return self._codec.decode(reply)

    async def _close(self) -> None:
        await self._client.close()

    def __repr__(self) -> str:
        return f"<EncodedRpcClient {self._client!r} {self._codec!r}>"

"""``flow-core doctor grpc://...``: does a server take work? For health checks of containers and for people."""

from __future__ import annotations

import json
from typing import Any

from flow_core import run
from flow_core.errors import Unavailable

__all__ = ["doctor_of_server", "is_server"]


def is_server(url: str) -> bool:
    """Whether a URL is that of a server, and not of a store."""
    return url.startswith(("grpc:", "grpcs:", "unix:"))


def doctor_of_server(url: str, *, as_json: bool) -> int:
    """Ask a server and print what it says; 0 when it takes work, else 1. Raises `Unavailable`: nobody answers."""
    status = run(ask(url))
    print(json.dumps({"url": url, "health": status}) if as_json else status.lower().replace("_", " "))
    return int(status != "SERVING")


async def ask(url: str) -> str:
    """Name of the server's status: SERVING, NOT_SERVING."""
    try:
        import grpc.aio
        from grpc_health.v1 import health_pb2
    except ImportError as error:
        raise ImportError("asking a server needs more libraries: pip install 'flow-core[grpc]'") from error
    from flow_core.cli.settings import ClientSettings, load
    from flow_core.client.channel import Channel, failure
    from flow_core.rpc import Tls

    settings = load(ClientSettings, {"url": url})
    target = Channel(url).target
    channel: Any
    if url.startswith("grpcs:"):
        ca, key, cert = Tls(settings.tls_ca, settings.tls_cert, settings.tls_key).pem()
        channel = grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(ca, key, cert))
    else:
        channel = grpc.aio.insecure_channel(target)
    async with channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            reply = await check(health_pb2.HealthCheckRequest(), timeout=settings.timeout)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise Unavailable(f"{target} does not answer in {settings.timeout:g} s") from None
            raise failure(target, error) from None
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))

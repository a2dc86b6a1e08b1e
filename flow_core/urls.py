"""Turns what a user writes into what a flow uses: a URL or a mapping of services into clients, a URL into a store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flow_core.errors import InvalidOption
from flow_core.model.store import Store
from flow_core.net.egress import Targets
from flow_core.plugins import Schemes, scheme_of
from flow_core.pubsub.base import PubSubClient
from flow_core.rpc.base import RpcClient
from flow_core.rpc.router import Clients, client_of

__all__ = ["PUBSUB_ENTRY_POINTS", "STORE_ENTRY_POINTS", "pubsub_client", "rpc_client", "store"]

#: Entry point groups of plug-ins: the name is a scheme, the object a class that takes the URL.
PUBSUB_ENTRY_POINTS: Final = "flow_core.pubsub"
STORE_ENTRY_POINTS: Final = "flow_core.stores"

PUBSUB: Final = {
    "nats": "flow_core.pubsub.nats:NatsPubSubClient",
    "tls": "flow_core.pubsub.nats:NatsPubSubClient",
    "redis": "flow_core.pubsub.redis.client:RedisPubSubClient",
    "rediss": "flow_core.pubsub.redis.client:RedisPubSubClient",
    "amqp": "flow_core.pubsub.rabbitmq.client:RabbitMqPubSubClient",
    "amqps": "flow_core.pubsub.rabbitmq.client:RabbitMqPubSubClient",
}
STORES: Final = {
    "sqlite": "flow_core.stores.sqlite.store:SqliteStore",
    "postgresql": "flow_core.stores.postgres.store:PostgresStore",
    "postgres": "flow_core.stores.postgres.store:PostgresStore",
}


def rpc_client(
    spec: str | Mapping[str, str | RpcClient] | RpcClient | None, *, targets: Targets | None = None
) -> RpcClient | None:
    """The client that ``Flow(rpc=spec)`` means.

    Args:
        spec: a client (returned as it is); a URL: all services are there; a mapping of services to URLs or clients; or
            None, which stays None.
        targets: for URLs that are not from your own code: where they may lead (see `flow_core.net.egress`).

    Raises:
        InvalidOption: it is none of these, or no client knows the scheme.
        TargetRefused: ``targets`` does not allow it.
        ImportError: the library of the client is not installed; the message names the extra.
    """
    if spec is None or isinstance(spec, RpcClient):
        return spec
    if isinstance(spec, str):
        return client_of(spec, targets)
    if isinstance(spec, Mapping):
        clients = Clients(targets=targets)
        for service, target in spec.items():
            clients.register(service, target, trusted=targets is None)
        return clients
    raise InvalidOption(
        f"rpc must be a client, a URL or a mapping of services to URLs, not {type(spec).__name__}: {spec!r:.80}"
    )


def pubsub_client(spec: str | PubSubClient | None) -> PubSubClient | None:
    """The client that ``Flow(pubsub=spec)`` means: ``nats://`` ``redis://`` ``amqp://``, or that of a plug-in.

    Errors as `rpc_client`. A broker is always of your own choice: its address is not checked.
    """
    if spec is None or isinstance(spec, PubSubClient):
        return spec
    if not isinstance(spec, str):
        raise InvalidOption(f"pubsub must be a client or a URL, not {type(spec).__name__}: {spec!r:.80}")
    cls = Schemes(PUBSUB_ENTRY_POINTS, "pubsub client", PubSubClient, PUBSUB).resolve(spec)
    client: PubSubClient = cls(spec)
    return client


def store(spec: str | Store | None) -> Store:
    """The store that ``Flow(store=spec)`` means, not opened yet: ``memory:`` (also None), ``sqlite:///flow.db``,
    ``postgresql://``, or that of a plug-in. Errors as `rpc_client`.
    """
    if isinstance(spec, Store):
        return spec
    if not (spec is None or isinstance(spec, str)):
        raise InvalidOption(f"store must be a Store or a URL, not {type(spec).__name__}: {spec!r:.80}")
    if spec is None or scheme_of(spec, "store") == "memory":
        from flow_core.stores.memory import MemoryStore

        return MemoryStore()
    cls = Schemes(STORE_ENTRY_POINTS, "store", Store, STORES).resolve(spec)
    opened: Store = cls(spec)
    return opened

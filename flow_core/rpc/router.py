"""`Clients`: which service is called where, each target through one client that all its services share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flow_core.errors import InvalidOption, RegistrationError, Unavailable, did_you_mean
from flow_core.net.egress import Targets
from flow_core.plugins import Schemes, shown
from flow_core.rpc.base import NO_HEADERS, Caller, RpcClient, RpcStatistics

__all__ = ["ENTRY_POINTS", "Clients", "client_of"]

#: Entry point group of plug-ins: the name is a scheme, the object a subclass of `RpcClient` that takes the URL.
ENTRY_POINTS: Final = "flow_core.rpc"
BUILT_IN: Final = {
    "grpc": "flow_core.rpc.grpc:GrpcRpcClient",
    "grpcs": "flow_core.rpc.grpc:GrpcRpcClient",
    "http": "flow_core.rpc.http:HttpRpcClient",
    "https": "flow_core.rpc.http:HttpRpcClient",
    "nats": "flow_core.rpc.nats:NatsRpcClient",
    "tls": "flow_core.rpc.nats:NatsRpcClient",  # NATS's own word for itself over TLS
}


def client_of(url: str, targets: Targets | None = None) -> RpcClient:
    """A client for the URL of a target; it connects with its first call.

    Args:
        url: ``grpc://`` ``grpcs://`` ``http://`` ``https://`` ``nats://``, or a scheme that a plug-in brings.
        targets: None: the URL is from your own code. Else it has to pass, and so has each address of its name.

    Raises:
        InvalidOption: there is no client for its scheme, or none that checks addresses; or the URL is wrong.
        TargetRefused: ``targets`` does not allow it.
        ImportError: the library of its client is not installed; the message names the extra.
    """
    cls = Schemes(ENTRY_POINTS, "rpc client", RpcClient, BUILT_IN).resolve(url)
    if targets is None:
        client: RpcClient = cls(url)
        return client
    if not cls.checks_targets:
        raise InvalidOption(
            f"{cls.__name__} can't check the addresses of {shown(url)}",
            fix="register it as trusted when it is from your own code",
        )
    checked: RpcClient = cls(url, targets=targets)
    return checked


class _Shared:
    """A client, and the names of the services that use it."""

    __slots__ = ("client", "services", "where")

    def __init__(self, client: RpcClient, where: str) -> None:
        self.client = client
        self.where = where
        self.services: set[str] = set()


class Clients(RpcClient):
    """Calls each service at the URL that it was registered with.

    Services of the same URL share one client, and so its connections. They may be registered and withdrawn while flows
    run. Closing this closes every client.

    Example::

        flow = Flow(rpc=Clients({"inventory": "grpc://10.0.0.7:50051", "payment": "https://payment.example"}))

    Args:
        services: name -> URL, or a client that is made already (which is closed with the others). They are trusted.
        default: URL or client for all services that have no place of their own.
        targets: where services may lie that are registered with ``trusted=False``; any public address when None.

    Raises:
        what `client_of` raises.
    """

    checks_targets = True

    def __init__(
        self, services: Mapping[str, str | RpcClient] | None = None, *, default: str | RpcClient | None = None,
        targets: Targets | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._targets = targets or Targets()
        self._routes: dict[str, _Shared] = {}
        self._shared: dict[tuple[Any, bool], _Shared] = {}
        self._gone = RpcStatistics()
        self._default: _Shared | None = None
        for service, target in (services or {}).items():
            self.register(service, target, trusted=True)
        if default is not None:
            self._default = self._share(default, True)

    def register(self, service: str, target: str | RpcClient, *, trusted: bool = False) -> None:
        """Let calls of ``service`` go to ``target``, a URL or a client, from now on.

        Args:
            trusted: the target is from your own code or configuration. False: it came from elsewhere, and its
                addresses are checked.

        Raises:
            RegistrationError: the service is registered.
            Unavailable: this is closed.
            what `client_of` raises.
        """
        if not isinstance(service, str) or not service:
            raise InvalidOption(f"a service is named by a str that is not empty, not {service!r:.80}")
        if self._closed:
            raise Unavailable(f"service {service!r:.80}: the clients are closed")
        if service in self._routes:
            where = self._routes[service].where
            raise RegistrationError(f"service {service!r:.80} is registered, at {where}", fix="withdraw it first")
        shared = self._share(target, trusted)
        shared.services.add(service)
        self._routes[service] = shared

    async def withdraw(self, service: str) -> bool:
        """Forget where a service is; a client that no other service uses is closed. Returns whether it was known."""
        shared = self._routes.pop(service, None)
        if shared is None:
            return False
        shared.services.discard(service)
        if not shared.services and shared is not self._default:
            self._shared = {key: other for key, other in self._shared.items() if other is not shared}
            await shared.client.close()
            self._gone = _sum(self._gone, shared.client.statistics())
        return True

    def services(self) -> dict[str, str]:
        """Name -> where it is called, without credentials."""
        return {service: shared.where for service, shared in sorted(self._routes.items())}

    async def call(
        self, service: str, endpoint: str, data: bytes, *, headers: Mapping[str, str] = NO_HEADERS,
        timeout: float | None = None, caller: Caller | None = None,
    ) -> bytes:  # fmt: skip
        """As `RpcClient.call`, by the client of the service. `Unavailable` when the service has no place."""
        shared = self._routes.get(service, self._default)
        if shared is None or self._closed:
            return await super().call(service, endpoint, data, headers=headers, timeout=timeout, caller=caller)
        return await shared.client.call(service, endpoint, data, headers=headers, timeout=timeout, caller=caller)

    async def _call(
        self, service: str, endpoint: str, data: bytes, headers: Mapping[str, str], timeout: float | None
    ) -> bytes:
        raise Unavailable(
            f"nobody said where service {service!r:.80} is",
            fix=did_you_mean(service, self._routes) or "register it, with the URL of its target",
        )

    def statistics(self) -> RpcStatistics:
        """The sum over all clients, closed ones included."""
        found = _sum(super().statistics(), self._gone)
        for shared in set(self._shared.values()):
            found = _sum(found, shared.client.statistics())
        return found

    def _share(self, target: str | RpcClient, trusted: bool) -> _Shared:
        key = (target, trusted)
        shared = self._shared.get(key)
        if shared is None:
            if isinstance(target, RpcClient):
                shared = _Shared(target, repr(target))
            elif isinstance(target, str):
                shared = _Shared(client_of(target, None if trusted else self._targets), shown(target))
            else:
                raise InvalidOption(
                    f"a target is a URL or an RpcClient, not {type(target).__name__}: {target!r:.80}",
                    fix='write "grpc://host:port"',
                )
            self._shared[key] = shared
        return shared

    async def _close(self) -> None:
        failed: Exception | None = None
        for shared in set(self._shared.values()):
            try:
                await shared.client.close()
            except Exception as error:  # the others must be closed, too
                failed = failed or error
        if failed is not None:
            raise failed

    def __repr__(self) -> str:
        return f"<Clients {self.services()}>"


def _sum(a: RpcStatistics, b: RpcStatistics) -> RpcStatistics:
    return RpcStatistics(a.calls + b.calls, a.replies + b.replies, a.failures + b.failures, a.timeouts + b.timeouts)

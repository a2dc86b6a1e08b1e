"""Where a server may listen: anywhere on loopback; on other addresses only with authentication."""

from __future__ import annotations

from flow_core.errors import InvalidOption
from flow_core.net.loopback import is_loopback
from flow_core.service.security.guard import Guard

__all__ = ["check_binding"]


def check_binding(address: str, guard: Guard, *, encrypted: bool | None = None, plain: bool = False) -> None:
    """Refuse to listen beyond loopback without authentication, and with keys that anybody on the way could read.

    Args:
        address: as gRPC takes it: ``host:port``, ``[::1]:port``, ``unix:/path``.
        guard: of the server.
        encrypted: whether the port has TLS; None: the caller does not know yet, and asks again.
        plain: something in front of this server does TLS: let keys come without it.

    Raises:
        InvalidOption: it must not listen there. The message says what to configure.
    """
    if is_loopback(address):
        return
    if not guard.authenticates:
        raise InvalidOption(
            f"{address} can be reached from other machines, and this server asks nobody who they are",
            fix="listen on 127.0.0.1; or set keys (flow-core token new) or client_ca and certificates",
        )
    if encrypted is False and not plain:
        raise InvalidOption(
            f"{address} can be reached from other machines, and without TLS anybody on the way could read the keys",
            fix="set tls_cert and tls_key; or plain = true, when a proxy in front of it does TLS",
        )

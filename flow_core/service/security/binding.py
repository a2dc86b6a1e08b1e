"""Where a server may listen: anywhere on loopback; on other addresses only with authentication."""

from __future__ import annotations

import ipaddress
import re
import socket

from flow_core.errors import InvalidOption
from flow_core.service.security.guard import Guard

__all__ = ["check_binding", "is_loopback"]

_SCHEME = re.compile(r"(?P<scheme>dns|ipv4|ipv6):(///)?(?P<rest>.+)").fullmatch
_PORT = re.compile(r"(?P<host>.*):(?P<port>\d{1,5})", re.DOTALL).fullmatch


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


def is_loopback(address: str) -> bool:
    """Whether nothing but this machine can reach an address. A name has to resolve to loopback addresses only."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    scheme = _SCHEME(address)
    if scheme:
        address = scheme["rest"]
    parts = _PORT(address)
    host = parts["host"] if parts and not _is_ip(address) else address
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        return _is_loopback_ip(host)
    except ValueError:
        return _resolves_to_loopback(host)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_loopback_ip(host: str) -> bool:
    found = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def _resolves_to_loopback(host: str) -> bool:
    if not host or host == "*":
        return False
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False  # unknown: not known to be loopback
    return bool(found) and all(_is_loopback_ip(str(entry[4][0])) for entry in found)

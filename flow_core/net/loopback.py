"""`is_loopback`: whether nothing but this machine can reach an address."""

from __future__ import annotations

import ipaddress
import re
import socket

__all__ = ["is_loopback"]

_SCHEME = re.compile(r"(?P<scheme>dns|ipv4|ipv6):(///)?(?P<rest>.+)").fullmatch
_PORT = re.compile(r"(?P<host>.*):(?P<port>\d{1,5})", re.DOTALL).fullmatch


def is_loopback(address: str) -> bool:
    """Whether nothing but this machine can reach an address. A name has to resolve to loopback addresses only.

    Args:
        address: as gRPC takes it: ``host:port``, ``[::1]:port``, ``dns:///host:port``, ``unix:/path``.
    """
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

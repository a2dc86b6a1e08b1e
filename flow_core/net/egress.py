"""Where calls may go: the spelling of targets, and the addresses that are refused when others name them.

A target that your own code names is trusted: no `Targets`, no checks. One that others registered goes through three
checks and has to pass all of them: its name, its port, and *every* address that its name has. The connection is then
made to the addresses that were checked, so a name that changes its addresses in between changes nothing. Nothing is
looked up or connected here; this module only decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from flow_core.errors import InvalidOption, TargetRefused, did_you_mean

__all__ = ["SPECIAL", "Target", "Targets", "canonical_host", "parse_target"]

IP = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: What `ipaddress` does not know, knows in some versions of Python only, or has no word for, and why it is refused.
#: Sources: IANA's registries of special-purpose addresses (RFC 6890 and its updates).
SPECIAL: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(network), why)
    for network, why in (
        ("0.0.0.0/8", "this host"),  # RFC 791
        ("100.64.0.0/10", "shared by a carrier"),  # RFC 6598
        ("192.0.0.0/24", "reserved for protocols"),  # RFC 6890
        ("192.0.2.0/24", "for documentation"),  # RFC 5737
        ("192.88.99.0/24", "6to4 relay"),  # RFC 7526
        ("198.18.0.0/15", "for benchmarks"),  # RFC 2544
        ("198.51.100.0/24", "for documentation"),  # RFC 5737
        ("203.0.113.0/24", "for documentation"),  # RFC 5737
        ("240.0.0.0/4", "reserved"),  # RFC 1112
        ("64:ff9b:1::/48", "local translation"),  # RFC 8215
        ("100::/64", "discarded"),  # RFC 6666
        ("2001::/23", "reserved for protocols"),  # RFC 2928
        ("2001:db8::/32", "for documentation"),  # RFC 3849
        ("2002::/16", "6to4"),  # RFC 3056
        ("3fff::/20", "for documentation"),  # RFC 9637
        ("fc00::/7", "unique local"),  # RFC 4193
    )
)
#: What `ipaddress` tells of an address, the most exact first.
_KINDS: Final = (
    ("is_unspecified", "this host"), ("is_loopback", "loopback"), ("is_link_local", "link-local"),
    ("is_site_local", "site-local"), ("is_multicast", "multicast"), ("is_private", "private"),
)  # fmt: skip
#: Where clouds tell a machine its secrets: only a network of exactly this address lets one pass.
METADATA: Final[frozenset[IP]] = frozenset(
    ip_address(address)
    for address in (
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure; a public address
        "169.254.169.254",  # AWS, Azure, Google, Oracle and others
        "169.254.170.2",  # AWS, containers
        "169.254.170.23",  # AWS, pods
        "192.0.0.192",  # Oracle
        "fd00:ec2::23",  # AWS, pods
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google
    )
)
#: IPv6 networks that carry an IPv4 address in their last 32 bits: mapped, compatible, translated, NAT64.
_CARRIERS: Final = tuple(IPv6Network(n) for n in ("::ffff:0:0/96", "::/96", "::ffff:0:0:0/96", "64:ff9b::/96"))
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_NUMBER: Final = re.compile(r"0x[0-9a-f]*|[0-9]+")


@dataclass(frozen=True, slots=True)
class Target:
    """A target's URL in parts: canonical ``host``, ``port`` and ``path``. It holds no secrets and may be printed."""

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def netloc(self) -> str:
        """``host:port``, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.path}"


def parse_target(url: str, ports: dict[str, int | None]) -> Target:
    """Take the URL of a target apart.

    Args:
        url: ``scheme://host:port/path``.
        ports: the schemes that are understood, with the port that each has when the URL gives none; None: it must.

    Raises:
        InvalidOption: it is no such URL, or it holds credentials, a query or a fragment. The message never repeats
            credentials.
    """
    if not isinstance(url, str) or not url.isprintable() or " " in url:
        raise InvalidOption(f"a target must be a URL of printable characters, not {type(url).__name__}")
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in ports:
        known = " or ".join(f"{name}://" for name in ports)
        raise InvalidOption(f"a target must begin with {known}, not {scheme!r:.40}", fix=did_you_mean(scheme, ports))
    try:
        parts = urlsplit(f"//{rest}")
        port = parts.port
    except ValueError as error:
        raise InvalidOption(f"the {scheme} URL of a target can't be read: {error}") from None
    if "@" in parts.netloc:
        raise InvalidOption(f"the {scheme} URL of a target holds credentials", fix="pass them as headers= or tls=")
    if parts.query or parts.fragment or "\\" in rest:
        raise InvalidOption(f"the {scheme} URL of a target has a query, a fragment or a backslash", fix="leave it out")
    host = canonical_host(parts.hostname or "")
    port = ports[scheme] if port is None else port
    if not port:
        raise InvalidOption(f"the target {scheme}://{host} has no port", fix=f"write {scheme}://{host}:PORT")
    return Target(scheme, host, port, parts.path.rstrip("/"))


def canonical_host(text: str) -> str:
    """The one spelling of a host: lower case, ASCII (IDNA), no trailing dot, an address as `ipaddress` writes it.

    ``0x7f.1``, ``2130706433``, ``017700000001`` and ``::ffff:127.0.0.1`` all become ``127.0.0.1``, and so do digits of
    other scripts: what a resolver would make of them. The rule is that of the WHATWG URL standard: a host whose last
    label is a number is an IPv4 address, or wrong. Raises `InvalidOption`.
    """
    if ":" in text or text[:1] == "[":
        bare = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
        try:
            address = IPv6Address("" if "%" in bare else bare)
        except ValueError:
            raise InvalidOption(f"{text!r:.80} is no IPv6 address") from None
        return str(address.ipv4_mapped or address)
    host = text
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise InvalidOption(f"the host {text!r:.80} is no internationalized name") from None
    host = host.lower().removesuffix(".")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        return str(_odd_ipv4(host, text))
    if not _NAME.fullmatch(host):
        raise InvalidOption(f"the host {text!r:.80} is no name of a machine", fix="use letters, digits, - and .")
    return host


def _odd_ipv4(host: str, text: str) -> IPv4Address:
    """An address in one to four parts, each decimal, octal (0…) or hexadecimal (0x…); the last one fills up."""
    parts = host.split(".")
    if len(parts) > 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        raise InvalidOption(f"{text!r:.80} is no IPv4 address")
    try:
        *heads, last = [_number(part) for part in parts]
    except ValueError:
        raise InvalidOption(f"{text!r:.80} is no IPv4 address") from None
    if any(head > 255 for head in heads) or last >= 256 ** (4 - len(heads)):
        raise InvalidOption(f"{text!r:.80} is no IPv4 address")
    return IPv4Address(sum(head << 8 * (3 - n) for n, head in enumerate(heads)) + last)


def _number(part: str) -> int:
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    return int(part, 8) if len(part) > 1 and part.startswith("0") else int(part)


@dataclass(frozen=True, slots=True)
class Targets:
    """The allow-list for targets whose URLs come from others: which hosts, networks and ports may be called.

    Example::

        Targets(hosts=["*.shop.example"], ports=[443])   # public addresses of these names only
        Targets(networks=["10.1.0.0/16"], public=False)  # our own network, and nothing else

    Args:
        hosts: patterns of names and addresses (``"*.shop.example"``, ``"inventory"``); None: any.
        networks: addresses that are allowed though they are not public, in CIDR: ``"10.1.0.0/16"``, ``"127.0.0.1"``.
        ports: None: any.
        public: whether addresses of the public internet are allowed without being in ``networks``.

    The places where clouds keep a machine's credentials are refused unless ``networks`` names that very address.

    Raises:
        InvalidOption: a network or port that is none.
    """

    hosts: tuple[str, ...] | None = None
    networks: tuple[str, ...] = ()
    ports: tuple[int, ...] | None = None
    public: bool = True
    _networks: tuple[Network, ...] = field(init=False, repr=False, compare=False, default=())

    def __init__(
        self, hosts: Iterable[str] | None = None, networks: Iterable[str] = (), ports: Iterable[int] | None = None,
        public: bool = True,
    ) -> None:  # fmt: skip
        put = object.__setattr__
        put(self, "hosts", None if hosts is None else tuple(_pattern(host) for host in _many(hosts, "hosts")))
        put(self, "networks", _many(networks, "networks"))
        put(self, "ports", None if ports is None else tuple(ports))
        put(self, "public", public)
        for port in self.ports or ():
            if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
                raise InvalidOption(f"Targets.ports: {port!r:.40} is no port", fix="use numbers from 1 to 65535")
        put(self, "_networks", tuple(_network(text) for text in self.networks))

    def check_name(self, target: Target) -> None:
        """Refuse a host or port that is not on the list; when the host is an address, that too. `TargetRefused`."""
        literal = _literal(target.host)
        if self.ports is not None and target.port not in self.ports:
            raise _refusal(target, f"port {target.port} is not on the list", "ports")
        if self.hosts is not None and not any(fnmatchcase(target.host, pattern) for pattern in self.hosts):
            named = literal is not None and self._allowed(literal)
            if not named:
                raise _refusal(target, "its host is not on the list", "hosts")
        if literal is not None:
            self.check_addresses(target, [target.host])

    def check_addresses(self, target: Target, addresses: Sequence[str]) -> None:
        """Refuse the target when *any* of the addresses that its host has is not allowed. Raises `TargetRefused`."""
        for text in addresses:
            address = ip_address(text.partition("%")[0])
            if self._allowed(address):
                continue
            why = _why_special(address)
            if why is None and self.public:
                continue
            why = why or "public, which is not allowed here"
            raise _refusal(target, f"its address {address} is {why}", "networks")

    def _allowed(self, address: IP) -> bool:
        """Whether ``networks`` names the address, or the IPv4 address that it carries."""
        for form in _forms(address):
            for network in self._networks:
                exact = network.prefixlen == network.max_prefixlen
                if form in network and (exact or not _is_metadata(address)):
                    return True
        return False


def _forms(address: IP) -> tuple[IP, ...]:
    """The address, and the IPv4 address that it stands for."""
    if isinstance(address, IPv6Address) and int(address) > 1 and any(address in carrier for carrier in _CARRIERS):
        return address, IPv4Address(int(address) & 0xFFFFFFFF)
    return (address,)


def _is_metadata(address: IP) -> bool:
    return any(form in METADATA for form in _forms(address))


def _why_special(address: IP) -> str | None:
    """Why an address is not public; None when it is."""
    if _is_metadata(address):
        return "where a cloud keeps credentials"
    form = _forms(address)[-1]
    found = next((why for network, why in SPECIAL if form in network), None)
    found = found or next((why for kind, why in _KINDS if getattr(form, kind, False)), None)
    if found is None and form.version == 6 and form not in _GLOBAL_UNICAST:
        return "not global unicast"
    return found or (None if form.is_global else "reserved")


def _refusal(target: Target, why: str, option: str) -> TargetRefused:
    return TargetRefused(
        f"the target {target} is refused: {why}",
        fix=f"if calls may go there, allow it with Targets({option}=...), or name the target in your own code",
    )


def _literal(host: str) -> IP | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _many(values: Iterable[str], what: str) -> tuple[str, ...]:
    if isinstance(values, str):
        raise InvalidOption(f"Targets.{what} must be several, not one str: {values!r:.80}", fix=f"use [{values!r:.80}]")
    found = tuple(values)
    for value in found:
        if not isinstance(value, str):
            raise InvalidOption(f"Targets.{what} must be str, not {type(value).__name__}: {value!r:.80}")
    return found


def _pattern(text: str) -> str:
    return text.lower() if any(sign in text for sign in "*?") else canonical_host(text)


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise InvalidOption(f"Targets.networks: {error}", fix='use CIDR, as in "10.1.0.0/16"') from None

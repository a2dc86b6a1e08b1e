"""`HttpRpcClient`: calls as POST requests.

What a status becomes::

    200 to 299      the reply
    300 to 399      Rejected      never retried; the message says where it pointed
    404, 405        NotServed     never
    408, 425, 429   AdapterError  retried
    other 4xx       Rejected      never
    502, 503        Unavailable   retried
    other 5xx       AdapterError  retried

``Retry-After``, in seconds or as a date, is the ``retry_after`` of the error. Redirects are not followed; cookies and
proxies from the environment are ignored.
"""

from __future__ import annotations

import asyncio
import io
import re
import socket
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlsplit

try:
    import aiohttp
    import yarl
except ImportError as error:
    raise ImportError("calls over HTTP need aiohttp: pip install 'flow-core[http]'") from error

from flow_core.errors import AdapterError, InvalidOption, NotServed, PayloadError, Rejected, Unavailable
from flow_core.model.backoff import Backoff
from flow_core.model.ids import MAX_PAYLOAD, check_count, seconds
from flow_core.net.connection import CircuitBreaker
from flow_core.net.egress import Target, Targets, parse_target
from flow_core.net.resolve import resolve
from flow_core.net.tls import Tls
from flow_core.rpc.base import RpcClient
from flow_core.rpc.headers import TIMEOUT, HeaderRules

__all__ = ["HttpRpcClient", "HttpStatus", "error_of"]

#: Characters of an answer other than 2xx that go into the error.
EXCERPT: Final = 500
#: Bytes of a request that are handed to the socket at once; larger ones go piece by piece, and others in between.
IN_ONE_WRITE: Final = 512 * 1024
#: URLs that a client remembers.
REMEMBERED: Final = 1024
RESERVED: Final = frozenset(
    {
        "accept-encoding", "connection", "content-encoding", "content-length", "expect", "host", "keep-alive", "proxy-",
        "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_FIELD: Final = re.compile(r"\{(\w*)\}")


class HttpRpcClient(RpcClient):
    """Calls ``url/service/endpoint`` with POST; the request is the body, and so is the reply.

    Example::

        flow = Flow(rpc=HttpRpcClient("https://payment.example", headers={"authorization": "Bearer ..."}))

    Args:
        url: ``http://host:port/path`` or ``https://``; what the calls' own path is added to.
        path: the rest of the path; ``{service}`` and ``{endpoint}`` stand for those of the call.
        content_type: of the request. Payloads are JSON as a rule; ``"application/octet-stream"`` for others.
        tls: for ``https``: authorities, certificate and key.
        headers: sent with each call, for instance ``authorization``.
        targets: None: the target is trusted. Else it, and each address of its name, has to pass.
        limit: most connections at a time; further calls wait for one within their time.
        idle: seconds after which a connection without a call is closed.
        connect_timeout: seconds until a host that does not answer counts as unreachable.

    A call that times out or is cancelled closes its connection. After one could not be made, calls fail at once until
    the backoff (0.1 to 5 s) is over. The time left is sent as ``flow-timeout-ms``.

    Raises:
        InvalidOption: the URL or another argument is wrong.
        TargetRefused: ``targets`` does not allow the name.
    """

    checks_targets: ClassVar[bool] = True

    def __init__(
        self, url: str, *, path: str = "{service}/{endpoint}", content_type: str = "application/json",
        tls: Tls | None = None, headers: Mapping[str, str] | None = None, targets: Targets | None = None,
        limit: int = 100, idle: float = 15.0, connect_timeout: float = 10.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.target = parse_target(url, {"http": 80, "https": 443})
        if tls is not None and self.target.scheme != "https":
            raise InvalidOption(f"tls= for {self.target}, which is without TLS", fix="write https://")
        if not set(_FIELD.findall(path)) <= {"service", "endpoint"}:
            raise InvalidOption(f"path={path!r:.80} has other fields than {{service}} and {{endpoint}}")
        check_count(limit, "limit", least=1)
        self._path = path.lstrip("/")
        self._tls = tls
        self._ssl = tls.context() if tls is not None else True
        fixed = {"content-type": content_type, "accept": "*/*", **(headers or {}), "user-agent": "flow-core"}
        self._rules = HeaderRules(RESERVED)
        self._headers = [*self._rules.own(fixed), ("accept-encoding", "identity")]
        self._targets = targets
        if targets is not None:
            targets.check_name(self.target)
        self._limit = limit
        self._idle = seconds(idle, "idle")
        self._connect_timeout = seconds(connect_timeout, "connect_timeout")
        self._breaker = CircuitBreaker(self.target, self._probe, backoff=Backoff(0.1, 5.0))
        self._urls: dict[tuple[str, str], Any] = {}
        self._session: Any = None

    def __repr__(self) -> str:
        return f"<HttpRpcClient {self.target}>"

    async def _call(
        self, service: str, endpoint: str, data: bytes, headers: Mapping[str, str], timeout: float | None
    ) -> bytes:
        what = f"call of {service}.{endpoint} at {self.target}"
        url = self._urls.get((service, endpoint)) or self._url(service, endpoint)
        fields = self._headers + self._rules.check(headers, what)
        if timeout is not None:
            fields.append((TIMEOUT, str(max(1, int(timeout * 1000)))))
        if self._breaker.tripped:
            await self._breaker.enter()
        session = self._session or self._open()
        body = data if len(data) <= IN_ONE_WRITE else io.BytesIO(data)
        name = self._tls.server_name if self._tls is not None else None
        try:
            async with session.post(
                url, data=body, headers=fields, allow_redirects=False, server_hostname=name
            ) as response:
                return await _reply(what, response)
        except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError) as error:
            self._breaker.failed(error)
            raise Unavailable(f"{what}: no connection: {error}") from error
        except aiohttp.ClientError as error:
            if self._closed:
                raise Unavailable(f"{what}: the client was closed") from error
            raise AdapterError(f"{what}: the connection was lost: {type(error).__name__}: {error}") from error

    def _url(self, service: str, endpoint: str) -> Any:
        values = {"service": quote(service, safe=""), "endpoint": quote(endpoint, safe="/")}
        rest = _FIELD.sub(lambda field: values[field[1]], self._path)
        if any(part in ("", ".", "..") for part in rest.split("/")) and rest:
            raise Rejected(f"{rest!r:.300} is no path of {self.target}: it has empty parts or parts that are dots")
        if len(self._urls) >= REMEMBERED:
            self._urls.clear()
        url = self._urls[service, endpoint] = yarl.URL(
            f"{self.target}/{rest}" if rest else str(self.target), encoded=True
        )
        return url

    # --- connections ------------------------------------------------------------------------------------------------

    def _open(self) -> Any:
        """Make the session; connections come with the calls."""
        checked = self._targets is not None
        connector = aiohttp.TCPConnector(
            limit=self._limit,
            keepalive_timeout=self._idle,
            ssl=self._ssl,
            resolver=_Resolver(self.target, self._targets) if self._targets is not None else None,
            use_dns_cache=not checked,  # what was checked is what is connected to, each time anew
        )
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout),
            cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False,
            skip_auto_headers=("user-agent", "accept", "content-type"),
        )  # fmt: skip
        return self._session

    async def _probe(self) -> None:
        """Connect to the target and hang up."""
        loop = asyncio.get_running_loop()
        hosts = [self.target.host]
        if self._targets is not None:
            hosts = [address for _, address in await resolve(self.target, self._targets)]
        failed: OSError | None = None
        for host in hosts:
            try:
                async with asyncio.timeout(self._connect_timeout):
                    transport, _ = await loop.create_connection(asyncio.Protocol, host, self.target.port)
            except OSError as error:
                failed = error
            else:
                transport.close()
                return
        raise failed or OSError("no address")

    async def _close(self) -> None:
        await self._breaker.close()
        if self._session is not None:
            await self._session.close()


class HttpStatus(Exception):
    """The cause of errors that a status other than 2xx made; ``status`` is its number."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Resolver:
    """Looks names up for aiohttp, which then connects to the very addresses that were checked."""

    def __init__(self, target: Target, targets: Targets) -> None:
        self._target = target
        self._targets = targets

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[dict[str, Any]]:
        """What aiohttp asks for: one dict an address. Raises `TargetRefused` and `Unavailable`."""
        found = await resolve(self._target, self._targets)
        fixed = {"hostname": host, "port": port, "proto": 0, "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV}
        return [{"host": address, "family": kind, **fixed} for kind, address in found]

    async def close(self) -> None:
        """Nothing is held."""


async def _reply(what: str, response: Any) -> bytes:
    """The body of an answer that is one; no more is read than a payload may have, and one byte."""
    headers = response.headers
    if not 200 <= response.status < 300:
        body = await response.content.read(EXCERPT)
        reason = body.decode("utf-8", "replace") or response.reason or ""
        raise error_of(what, response.status, reason, headers) from HttpStatus(response.status)
    coding = headers.get("content-encoding", "identity").lower()
    if coding != "identity":
        raise Rejected(f"{what}: the reply is encoded as {coding!r:.40}, though identity was asked for")
    if (response.content_length or 0) > MAX_PAYLOAD:
        raise _too_large(what)
    first: bytes = await response.content.read(MAX_PAYLOAD + 1)
    if response.content.at_eof() and len(first) <= MAX_PAYLOAD:
        return first
    body = bytearray(first)
    while len(body) <= MAX_PAYLOAD:
        more = await response.content.read(MAX_PAYLOAD + 1 - len(body))
        if not more:
            return bytes(body)
        body += more
    raise _too_large(what)


def _too_large(what: str) -> PayloadError:
    return PayloadError(f"{what}: the reply is larger than the limit MAX_PAYLOAD, {MAX_PAYLOAD} bytes")


def error_of(what: str, status: int, reason: str, headers: Mapping[str, str]) -> AdapterError:
    """The error for a status other than 2xx: the table above. ``reason``: what the answer said, shortened here."""
    said = "".join(c if c.isprintable() else " " for c in reason[:EXCERPT]).strip()
    message = f"{what}: status {status}" + (f": {said}" if said else "")
    if 300 <= status < 400:
        where = _where(headers.get("location", ""))
        return Rejected(f"{what}: status {status} points to {where}; redirects are not followed", fix="use that URL")
    after = _retry_after(headers)
    if status in (404, 405):
        return NotServed(message, retry_after=after)
    if status in (502, 503):
        return Unavailable(message, retry_after=after)
    if 400 <= status < 500 and status not in (408, 425, 429):
        return Rejected(message, retry_after=after)
    return AdapterError(message, retry_after=after)


def _where(location: str) -> str:
    """A location without what may be secret in it: credentials, query and fragment."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return "nowhere"
    host = parts.netloc.rpartition("@")[2]
    shown = (f"{parts.scheme}:" if parts.scheme else "") + (f"//{host}" if host else "") + parts.path
    return repr(shown[:300]) if shown else "nowhere"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of ``Retry-After``; a date counts from the answer's own date, so that clocks may differ."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch("[0-9]{1,9}", text):
        return float(text)
    until = _timestamp(text)
    if until is None:
        return None
    since = _timestamp(headers.get("date", ""))
    return max(0.0, until - (time.time() if since is None else since))


def _timestamp(text: str) -> float | None:
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None

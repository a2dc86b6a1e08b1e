"""TLS of the server: certificate, key, and the authorities whose clients are let in (mTLS). Reloaded when they change.

A certificate that is renewed on the disk is used from the next connection on; connections that are open stay. While the
files do not fit together (one of two is written already), the old ones stay in use, with an error in the log.
"""

from __future__ import annotations

import logging
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flow_core.errors import InvalidOption

__all__ = ["ServerTls"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServerTls:
    """The TLS files of a server. Only their names are kept: no key is in a repr, a log or an error.

    Example::

        server = FlowServer(flow, address="0.0.0.0:50051", guard=guard, tls=ServerTls("cert.pem", "key.pem"))

    Args:
        cert, key: PEM files: the server's certificate with its chain, and its key.
        client_ca: PEM file of authorities; then every client has to show a certificate of one of them.
    """

    cert: str | Path
    key: str | Path
    client_ca: str | Path | None = None

    def check(self) -> None:
        """Raise `InvalidOption`, naming the file, when one can't be read or they don't fit together."""
        for what in ("cert", "key", "client_ca"):
            _read(getattr(self, what), f"tls_{what}" if what != "client_ca" else what)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(str(self.cert), str(self.key), password=_no_password)
        except ssl.SSLError as error:
            reason = error.reason or "not PEM"
            raise InvalidOption(
                f"the certificate {self.cert} and the key {self.key} can't be used together: {reason}",
                fix="name a PEM certificate and its own, unencrypted PEM key",
            ) from None
        if self.client_ca is not None:
            try:
                context.load_verify_locations(str(self.client_ca))
            except ssl.SSLError as error:
                raise InvalidOption(
                    f"client_ca {self.client_ca} holds no certificates: {error.reason or 'not PEM'}",
                    fix="name a PEM file of the authorities that sign clients",
                ) from None

    def credentials(self) -> Any:
        """gRPC's server credentials, which follow the files. Raises as `check`; ImportError without grpcio."""
        grpc = _grpc()
        self.check()
        reloader = Reloader(self)  # before the files are read: it notices what changes from now on
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self), reloader, require_client_authentication=self.client_ca is not None
        )

    def signature(self) -> tuple[Any, ...]:
        """What is different once one of the files is another."""
        files = [file for file in (self.cert, self.key, self.client_ca) if file is not None]
        return tuple((facts.st_ino, facts.st_mtime_ns, facts.st_size) for facts in map(os.stat, files))


class Reloader:
    """Gives gRPC the new certificate once the files have changed. gRPC asks at each handshake, from its own thread."""

    def __init__(self, tls: ServerTls) -> None:
        self._tls = tls
        self._seen = tls.signature()

    def __call__(self) -> Any:
        try:
            signature = self._tls.signature()
            if signature == self._seen:
                return None
            self._seen = signature
            self._tls.check()
            log.info("the certificate %s is used from now on", self._tls.cert)
            return _configuration(self._tls)
        except (InvalidOption, OSError) as error:
            log.error("could not reload the certificate, keeping the old one: %s", error)
            return None


def _configuration(tls: ServerTls) -> Any:
    pair = (_read(tls.key, "tls_key"), _read(tls.cert, "tls_cert"))
    return _grpc().ssl_server_certificate_configuration([pair], root_certificates=_read(tls.client_ca, "client_ca"))


def _read(path: str | Path | None, what: str) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidOption(
            f"{what}: {path} can't be read: {error.strerror}", fix=f"check the setting {what}"
        ) from None


def _no_password() -> str:
    """OpenSSL would ask the terminal for the password of an encrypted key, and a server has none."""
    return ""


def _grpc() -> Any:
    try:
        import grpc
    except ImportError as error:
        raise ImportError("the service needs grpcio: pip install 'flow-core[grpc]'") from error
    return grpc

"""`Tls`: whom a client trusts, and how it proves who it is."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from flow_core.errors import InvalidOption

__all__ = ["Tls"]


@dataclass(frozen=True, slots=True)
class Tls:
    """The TLS files of a client. Only their names are kept: no key is in a repr, a log or an error.

    Example::

        GrpcRpcClient("grpcs://payment:443", tls=Tls(ca="ca.pem", cert="client.pem", key="client.key"))

    Args:
        ca: PEM file of the authorities that are trusted; None: those that the library or system trusts.
        cert, key: PEM files with which the client proves who it is (mTLS); both or neither.
        server_name: name in the server's certificate, where it is not the host of the URL.

    Raises:
        InvalidOption: only one of ``cert`` and ``key`` is given.
    """

    ca: str | Path | None = None
    cert: str | Path | None = None
    key: str | Path | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise InvalidOption("Tls has only one of cert and key", fix="give both, or neither")

    def pem(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """The contents of ``ca``, ``key`` and ``cert``. Raises `InvalidOption` when a file can't be read."""
        return _read(self.ca, "ca"), _read(self.key, "key"), _read(self.cert, "cert")

    def context(self) -> ssl.SSLContext:
        """A context for the standard library and what stands on it. Raises `InvalidOption` when a file is unusable."""
        for file, what in ((self.ca, "ca"), (self.key, "key"), (self.cert, "cert")):
            _read(file, what)
        try:
            context = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
            if self.cert is not None:
                context.load_cert_chain(str(self.cert), None if self.key is None else str(self.key))
        except ssl.SSLError as error:
            raise InvalidOption(f"the files of {self} are unusable: {error.reason or error}") from None
        return context


def _read(path: str | Path | None, what: str) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidOption(f"Tls.{what}: {path} can't be read: {error.strerror}") from None

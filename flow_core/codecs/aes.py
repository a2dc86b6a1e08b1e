"""`AesGcmCodec`: payloads that nobody without the key can read, or change without being noticed.

The envelope: one byte of version (1), one byte of length and the key's id in ASCII, 12 random bytes of nonce, then
ciphertext and tag as AES-256-GCM gives them (NIST SP 800-38D). Version and id are authenticated with the rest.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError as error:
    raise ImportError("AesGcmCodec needs cryptography: pip install 'flow-core[crypto]'") from error

from flow_core.codecs.base import BytesCodec, Codec
from flow_core.errors import InvalidOption, PayloadError
from flow_core.model.payload import check_payload

__all__ = ["AesGcmCodec"]

T = TypeVar("T")

VERSION: Final = 1
KEY: Final = 32
NONCE: Final = 12
TAG: Final = 16

_ID: Final = re.compile(r"[!-~]{0,255}").fullmatch

Keys = bytes | Mapping[str, bytes] | Callable[[str], bytes]


class AesGcmCodec(Codec[T]):
    """Encrypts what another codec writes, and decrypts it again.

    Example::

        codec = AesGcmCodec({"2026": new_key, "2025": old_key}, current="2026")
        rpc = EncodedRpcClient(client, codec)

    Args:
        keys: 32 bytes; or ids -> keys of 32 bytes; or a callable that gives the key of an id, and raises LookupError
            when there is none.
        current: id of the key to encrypt with. It travels in the envelope, so that older keys can still decrypt: to
            rotate, add a key everywhere, then make it current, then remove the old one when nothing needs it.
        inner: what writes and reads the values; plain bytes when None.
        associated: authenticated with each payload and not sent, e.g. the name of the tenant: an envelope made with
            another one is refused.

    An envelope is 30 bytes longer than what it holds, and the id. With random nonces one key should encrypt at most
    2**32 payloads.

    Raises:
        InvalidOption: a key is not 32 bytes, or there is none for ``current``. No message tells a key.
    """

    def __init__(
        self, keys: Keys, *, current: str = "", inner: Codec[T] | None = None, associated: bytes = b""
    ) -> None:
        self._find: Callable[[str], bytes] | None = None
        self._ciphers: dict[str, Any] = {}
        if isinstance(keys, bytes):
            self._ciphers[current] = _cipher(keys, current)
        elif isinstance(keys, Mapping):
            self._ciphers = {id_: _cipher(key, id_) for id_, key in keys.items()}
        elif callable(keys):
            self._find = keys
        else:
            raise InvalidOption("keys must be 32 bytes, a mapping of ids to keys, or a callable")
        if not isinstance(current, str) or not all(isinstance(i, str) and _ID(i) for i in (current, *self._ciphers)):
            raise InvalidOption("the id of a key must be at most 255 printable ASCII characters without spaces")
        if self._find is None and current not in self._ciphers:
            raise InvalidOption(f"no key for current={current!r}", fix=f"there are keys for {sorted(self._ciphers)}")
        self._current = current
        self._inner: Codec[Any] = inner or BytesCodec()
        self._associated = associated

    def encode(self, value: T) -> bytes:
        """The envelope of a value. Raises `PayloadError` as the inner codec does, or when the key can't be had."""
        head = bytes((VERSION, len(self._current))) + self._current.encode("ascii")
        nonce = os.urandom(NONCE)
        plain = self._inner.encode(value)
        sealed: bytes = self._cipher(self._current).encrypt(nonce, plain, head + self._associated)
        return check_payload(head + nonce + sealed, "encrypted payload")

    def decode(self, data: bytes) -> T:
        """The value of an envelope. Raises `PayloadError` when it is none, its key is unknown, or it was changed."""
        check_payload(data)
        if len(data) < 2 or data[0] != VERSION:
            raise PayloadError(f"{len(data)} bytes are no encrypted payload of version {VERSION}")
        end = 2 + data[1]
        head, nonce, sealed = data[:end], data[end : end + NONCE], data[end + NONCE :]
        id_ = head[2:].decode("latin-1")
        if len(sealed) < TAG or not _ID(id_):
            raise PayloadError(f"{len(data)} bytes are no encrypted payload: cut off, or without the id of a key")
        try:
            plain: bytes = self._cipher(id_).decrypt(nonce, sealed, head + self._associated)
        except InvalidTag:
            raise PayloadError(
                f"a payload encrypted with key {id_!r} can't be opened: it was changed, or made with another key of "
                "this id, or with other associated data"
            ) from None
        value: T = self._inner.decode(plain)
        return value

    def _cipher(self, id_: str) -> Any:
        cipher = self._ciphers.get(id_)
        if cipher is not None:
            return cipher
        if self._find is not None:
            try:
                return _cipher(self._find(id_), id_)
            except LookupError:
                pass
            except InvalidOption as error:
                raise PayloadError(error.message) from None
        raise PayloadError(f"there is no key {id_!r}", fix="add it to keys=, or ask who sent the payload")

    def __repr__(self) -> str:
        return f"AesGcmCodec(current={self._current!r}, inner={self._inner!r})"


def _cipher(key: Any, id_: str) -> Any:
    if not isinstance(key, bytes) or len(key) != KEY:
        what = f"{len(key)} bytes" if isinstance(key, bytes) else type(key).__name__
        raise InvalidOption(f"key {id_!r:.80} must be {KEY} bytes, not {what}", fix="make one with os.urandom(32)")
    return AESGCM(key)

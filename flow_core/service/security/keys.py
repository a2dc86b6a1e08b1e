"""API keys: made once, shown once, kept as hashes in a file that belongs to the server alone.

A key is ``fc_<id>_<secret>``: the id (12 hex digits, no secret) is for look-up, for logs and for `KeyRing.revoke`; the
secret is 32 random bytes in base64url. The file holds the SHA-256 of the whole key. A slow hash would add nothing: it
protects what people choose, and nobody guesses 256 random bits.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from flow_core.errors import InvalidOption, did_you_mean
from flow_core.model.ids import check_id
from flow_core.model.secret import Secret
from flow_core.service.security.roles import ROLES

__all__ = ["Key", "KeyRing"]

PREFIX: Final = "fc_"
SECRET_BYTES: Final = 32
ID_BYTES: Final = 6
#: Keys of one principal that may be valid at the same time: the one in use, and the one that takes its place.
MOST_VALID: Final = 2
FORMAT: Final = 1

_KEY: Final = re.compile(r"fc_([0-9a-f]{12})_[A-Za-z0-9_-]{43}").fullmatch
_HASH: Final = re.compile(r"[0-9a-f]{64}").fullmatch
#: Compared with when no key has the id that was presented, so that this takes as long.
NO_HASH: Final = "0" * 64


@dataclass(frozen=True, slots=True)
class Key:
    """What is kept of an API key: its hash, whose it is, and how long it is valid.

    Attributes:
        id: of the key, for look-up.
        name: the principal that it stands for.
        role: one of `ROLES`.
        hash: SHA-256 of the key, hex.
        created, expires, rotated: UTC seconds; ``expires`` None: never; ``rotated``: when the principal got a further
            key, from when on this one had only its overlap to live; None: it is the principal's latest.
    """

    id: str
    name: str
    role: str
    hash: str
    created: float
    expires: float | None = None
    rotated: float | None = None

    def valid(self, now: float) -> bool:
        """Whether it can be used at ``now``, UTC seconds."""
        return self.expires is None or now < self.expires


class KeyRing:
    """A set of keys. Changing it makes a new one, so that a reader is never in the middle of a change."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._keys = {key.id: key for key in keys}

    def __iter__(self) -> Any:
        return iter(self._keys.values())

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, id: str) -> Key | None:
        """The key of this id, valid or not."""
        return self._keys.get(id)

    def find(self, text: str, now: float) -> Key | None:
        """The valid key that ``text`` is, or None: after the same work whether the id, the secret or the age is wrong.

        Args:
            now: UTC seconds.
        """
        parts = _KEY(text)
        key = None if parts is None else self._keys.get(parts[1])
        given = hash_of(text)
        same = hmac.compare_digest(given, NO_HASH if key is None else key.hash)
        return key if same and key is not None and key.valid(now) else None

    # --- changes ------------------------------------------------------------------------------------------------------

    def new(self, name: str, role: str, now: float, expires: float | None = None) -> tuple[KeyRing, Key, Secret]:
        """A ring with a first key for a principal; the key, and the secret that is shown once.

        Raises:
            InvalidId: of ``name``. InvalidOption: no such role; the principal has a valid key; ``expires`` is past.
        """
        valid = self._valid(name, now)
        if valid:
            raise InvalidOption(f"{name!r} has a valid key, {valid[-1].id}", fix="rotate it, or revoke it first")
        made, secret = _make(name, role, now, expires)
        return KeyRing([*self, made]), made, secret

    def rotate(
        self, name: str, now: float, overlap: float, expires: float | None = None
    ) -> tuple[KeyRing, Key, Secret]:
        """A ring with a further key for a principal, of the same role; the one before lives ``overlap`` seconds more.

        A third valid one is revoked at once: two are enough to change from one to the other.

        Raises:
            InvalidOption: the principal has no valid key; ``expires`` is past.
        """
        valid = self._valid(name, now)
        if not valid:
            near = did_you_mean(name, {key.name for key in self}) or "make its first key"
            raise InvalidOption(f"{name!r} has no valid key to rotate", fix=near)
        made, secret = _make(name, valid[-1].role, now, expires)
        end = now + overlap
        older = {
            key.id: replace(key, rotated=now, expires=end if key.expires is None else min(end, key.expires))
            for key in valid[1 - MOST_VALID :]
        }
        gone = {key.id for key in valid} - set(older)
        kept = [older.get(key.id, key) for key in self if key.id not in gone]
        return KeyRing([*kept, made]), made, secret

    def revoke(self, which: str) -> tuple[KeyRing, list[Key]]:
        """A ring without the key of this id (or the key itself), or without all keys of a principal; and what went.

        Raises:
            InvalidOption: there is neither.
        """
        whole = _KEY(which)
        wanted = which if whole is None else whole[1]
        gone = [key for key in self if wanted in (key.id, key.name)]
        if not gone:
            if which.startswith(PREFIX):  # part of a key, perhaps: not to be shown
                raise InvalidOption(
                    "there is no key of that id", fix="name the id or the principal, not the key itself"
                )
            near = did_you_mean(which, {name for key in self for name in (key.id, key.name)})
            raise InvalidOption(f"there is no key, and no principal, {which[:40]!r}", fix=near or "list the keys")
        return KeyRing(key for key in self if key not in gone), gone

    def _valid(self, name: str, now: float) -> list[Key]:
        """Valid keys of a principal, oldest first."""
        return sorted((key for key in self if key.name == name and key.valid(now)), key=lambda key: key.created)

    # --- the text of the file -----------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """The ring as text."""
        keys = [{name: getattr(key, name) for name in Key.__slots__} for key in self]
        return json.dumps({"format": FORMAT, "keys": keys}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: bytes, where: str) -> KeyRing:
        """The ring that a text holds. Raises `InvalidOption`, naming ``where`` and the entry, not its value."""
        try:
            found = json.loads(text)
        except ValueError as error:
            raise InvalidOption(f"{where} is not JSON: {_without_text(error)}", fix=RESTORE) from None
        if not isinstance(found, dict) or found.get("format") != FORMAT or not isinstance(found.get("keys"), list):
            raise InvalidOption(f"{where} is not a file of keys in format {FORMAT}", fix=RESTORE)
        keys = [_read_key(entry, f"{where}, keys[{index}]") for index, entry in enumerate(found["keys"])]
        if len({key.id for key in keys}) != len(keys):
            raise InvalidOption(f"{where} has one key id twice", fix=RESTORE)
        return cls(keys)


RESTORE: Final = "restore it, or move it away and make new keys"


def hash_of(text: str) -> str:
    """SHA-256 of a key, hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _make(name: str, role: str, now: float, expires: float | None) -> tuple[Key, Secret]:
    check_id(name, "name of the principal")
    if role not in ROLES:
        near = did_you_mean(role, ROLES) or f"one of {', '.join(ROLES)}"
        raise InvalidOption(f"there is no role {role[:40]!r}", fix=near)
    if expires is not None and expires <= now:
        raise InvalidOption("the key would be expired from the start", fix="give a time to come")
    key_id = secrets.token_hex(ID_BYTES)
    text = f"{PREFIX}{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    return Key(key_id, name, role, hash_of(text), now, expires), Secret(text)


def _read_key(entry: Any, where: str) -> Key:
    if not isinstance(entry, dict) or set(entry) != set(Key.__slots__):
        raise InvalidOption(f"{where} has other fields than {', '.join(Key.__slots__)}", fix=RESTORE)
    for name in ("created", "expires", "rotated"):
        value = entry[name]
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number and (name == "created" or value is not None):
            raise InvalidOption(f"{where}: {name} is not a number of seconds", fix=RESTORE)
    if not all(isinstance(entry[name], str) for name in ("id", "name", "role", "hash")):
        raise InvalidOption(f"{where}: id, name, role and hash have to be texts", fix=RESTORE)
    if not _KEY(f"{PREFIX}{entry['id']}_{'x' * 43}") or not _HASH(entry["hash"]):
        raise InvalidOption(f"{where}: id or hash is malformed", fix=RESTORE)
    if entry["role"] not in ROLES:
        raise InvalidOption(f"{where}: role is not one of {', '.join(ROLES)}", fix=RESTORE)
    check_id(entry["name"], f"{where}: name")
    return Key(**entry)


def _without_text(error: ValueError) -> str:
    """What json says of a text, without the text itself."""
    return f"{error.msg} (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else "it is not UTF-8"

"""``flow-core token``: the API keys in a server's file. No server is asked: whoever can write the file may."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from flow_core.cli.codes import OK
from flow_core.cli.common import JSON, Json, Switch
from flow_core.cli.output import emit, show_table, when
from flow_core.cli.settings import ServeSettings, duration, load
from flow_core.errors import InvalidOption
from flow_core.model.secret import Secret
from flow_core.service.security.key_file import KeyFile
from flow_core.service.security.keys import Key, KeyRing

__all__ = ["register"]

Keys = Annotated[Path | None, Parameter(help="the file; that of the server's settings when left out")]
Role = Literal["viewer", "operator", "author", "admin", "service"]


def register(app: App) -> None:
    """Add the commands."""
    group = App(name="token", help="The API keys of a server.")
    group.command(new)
    group.command(list_keys, name="ls")
    group.command(remove, name="rm")
    app.command(group)


def new(
    name: str, /, *, role: Role | None = None, expires: str | None = None, rotate: Switch = False, overlap: str = "1d",
    keys: Keys = None, options: Json = JSON,
) -> int:  # fmt: skip
    """Make a key and print it: it is shown this once.

    Args:
        name: of the principal that it stands for. That of a service is the name that its steps call.
        role: what it may.
        expires: time that it lives: 30d, 12h; for ever when left out.
        rotate: a further key for a principal that has one; the role stays.
        overlap: with --rotate: time that the old key has left.
    """
    if rotate == (role is not None):
        raise InvalidOption("a first key needs --role, and a further one (--rotate) keeps it", fix="give one of them")
    lives = None if expires is None else duration(expires, "--expires")
    left = duration(overlap, "--overlap")

    def change(ring: KeyRing, now: float) -> tuple[KeyRing, tuple[Key, Secret]]:
        end = None if lives is None else now + lives
        made = ring.rotate(name, now, left, end) if role is None else ring.new(name, role, now, end)
        return made[0], made[1:]

    key, secret = _file(keys).change(change)

    def show() -> None:
        print(secret.reveal())  # the one time that it is shown
        print(f"key {key.id} of {key.name} ({key.role}): keep it now, it can't be shown again", file=sys.stderr)

    emit(options.json, {**_facts(key), "key": secret.reveal() if options.json else None}, show)
    return OK


def list_keys(*, keys: Keys = None, options: Json = JSON) -> int:
    """List the keys: ids, principals, roles, never the keys themselves."""
    file = _file(keys)
    found, now = sorted(file.load(), key=lambda key: (key.name, key.created)), file.now()

    def state(key: Key) -> str:
        return "expired" if not key.valid(now) else "being replaced" if key.rotated is not None else "valid"

    rows = [[key.id, key.name, key.role, state(key), when(key.created), when(key.expires) or "never"] for key in found]
    columns = ("id", "principal", "role", "state", "created (UTC)", "expires (UTC)")
    facts = [{**_facts(key), "state": state(key)} for key in found]
    emit(options.json, facts, lambda: show_table(columns, rows, f"no keys in {file.path}"))
    return OK


def remove(which: str, /, *, keys: Keys = None, options: Json = JSON) -> int:
    """Revoke a key, by its id, or all keys of a principal, by its name. A running server heeds it within a second.

    Args:
        which: id of a key, or name of a principal.
    """
    gone = _file(keys).change(lambda ring, _: ring.revoke(which))
    lines = "\n".join(f"revoked {one.id} of {one.name}" for one in gone)
    emit(options.json, [_facts(key) for key in gone], lambda: print(lines))
    return OK


def _file(path: Path | None) -> KeyFile:
    path = path or load(ServeSettings).keys
    if path is None:
        raise InvalidOption("which file of keys?", fix="give --keys FILE, or set FLOW_CORE_SERVE_KEYS")
    return KeyFile(path)


def _facts(key: Key) -> dict[str, Any]:
    """A key for JSON, without its hash."""
    names = ("id", "name", "role", "created", "expires", "rotated")
    return {name: getattr(key, name) for name in names}

"""Settings of the client and of the server: what there is, where it may be set, and which place wins.

An argument goes before ``FLOW_CORE_*`` in the environment, which goes before ``[tool.flow-core]`` in the nearest
``pyproject.toml`` (or the whole of the nearest ``flow-core.toml``) at or above the current folder. The server's
settings are those of ``[tool.flow-core.serve]`` and ``FLOW_CORE_SERVE_*``. Every place knows the same names; a name
that is not known is an error, as a typing mistake in ``client_ca`` would otherwise open a door.

cyclopts could layer them (`cyclopts.config.Env`, `Toml`), but not as safely: a mistyped name in the environment is
ignored, a number passes for a text, an error shows the value, which may be a secret, or leaves out the file, and every
option of a command becomes a setting, ``--limit`` of ``ls`` too. A few lines below do the merging; the rest is checks.
"""

from __future__ import annotations

import dataclasses
import math
import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, TypeVar, get_type_hints

from flow_core.errors import InvalidOption, did_you_mean
from flow_core.model.secret import Secret

__all__ = ["DEFAULT_ADDRESS", "DEFAULT_URL", "ClientSettings", "ServeSettings", "duration", "load", "names", "read_key"]

DEFAULT_ADDRESS: Final = "127.0.0.1:50051"
DEFAULT_URL: Final = f"grpc://{DEFAULT_ADDRESS}"
PREFIX: Final = "FLOW_CORE_"
#: What Kubernetes puts into the environment of every pod for a Service that is called ``flow-core``.
KUBERNETES: Final = re.compile(r"FLOW_CORE_(SERVICE_(HOST|PORT)|PORT)(_[A-Z0-9_]+)?").fullmatch
UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([smhd]?)\s*").fullmatch

T = TypeVar("T", bound="ClientSettings | ServeSettings")


class About(NamedTuple):
    """How a setting is written, and what it is for."""

    kind: str
    help: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """How to reach a server. The docs list them from here."""

    url: Annotated[str, About("text", "the server: grpc://host:port, or grpcs:// with TLS")] = DEFAULT_URL
    key: Annotated[Secret | None, About("secret", "API key; in files use key_file")] = None
    key_file: Annotated[Path | None, About("path", "file that holds the API key and nothing else")] = None
    tls_ca: Annotated[Path | None, About("path", "PEM file of the authorities whose servers are trusted")] = None
    tls_cert: Annotated[Path | None, About("path", "PEM certificate of this client (mTLS)")] = None
    tls_key: Annotated[Path | None, About("path", "PEM key of that certificate")] = None
    timeout: Annotated[float, About("seconds", "seconds for which a server that is away is tried again")] = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """What ``flow-core serve`` needs to know. The docs list them from here."""

    listen: Annotated[str, About("text", "host:port, or unix:/path")] = DEFAULT_ADDRESS
    store: Annotated[
        Secret | None, About("secret_url", "sqlite:///flow.db, postgresql://...; none: nothing is kept")
    ] = None
    keep: Annotated[int | None, About("count", "finished executions that the store keeps; none: all")] = None
    name: Annotated[str | None, About("text", "of this executor among those that share a store")] = None
    rpc: Annotated[
        Secret | None, About("secret_url", "fallback for services that are not connected: grpc://, http://, nats://")
    ] = None
    pubsub: Annotated[
        Secret | None, About("secret_url", "broker for steps that publish: nats://, redis://, amqp://")
    ] = None
    concurrency: Annotated[int, About("count", "most steps that run at the same time")] = 10_000
    unavailable: Annotated[str, About("wait|fail", "what a step does when its service is not connected")] = "wait"
    drain: Annotated[float, About("seconds", "seconds that executions get to end on SIGTERM")] = 25.0
    keys: Annotated[Path | None, About("path", "file of API keys, see flow-core token")] = None
    certificates: Annotated[Mapping[str, str], About("table", 'name in a client certificate -> "role:principal"')] = (
        dataclasses.field(default_factory=dict)
    )
    client_ca: Annotated[
        Path | None, About("path", "PEM file of the authorities that sign client certificates (mTLS)")
    ] = None
    both: Annotated[bool, About("bool", "a key and a certificate are needed, of one principal")] = False
    foreign_calls: Annotated[bool, About("bool", "a service may register steps that call other services")] = False
    tls_cert: Annotated[Path | None, About("path", "PEM certificate of the server, with its chain")] = None
    tls_key: Annotated[Path | None, About("path", "PEM key of that certificate")] = None
    plain: Annotated[bool, About("bool", "accept API keys without TLS (a proxy in front terminates TLS)")] = False
    rate: Annotated[float, About("number", "requests a second of one principal")] = 50_000.0
    burst: Annotated[int, About("count", "requests of one principal at once")] = 100_000
    steps: Annotated[int, About("count", "steps that one principal owns")] = 100_000
    executions: Annotated[int, About("count", "executions of one principal that are under way")] = 200_000
    message: Annotated[int, About("count", "bytes of one request, at most 4 MiB")] = 4 * 1024 * 1024
    operations: Annotated[
        str | None, About("text", "host:port of /healthz, /readyz and /metrics over HTTP; none: not served")
    ] = None
    log: Annotated[str, About("debug|info|warning|error", "least level that is logged")] = "info"


SECTIONS: Final[Mapping[type[Any], str]] = {ClientSettings: "", ServeSettings: "serve"}


def load(
    kind: type[T], arguments: Mapping[str, Any] | None = None, *, environment: Mapping[str, str] | None = None,
    folder: Path | None = None, file: Path | None = None,
) -> T:  # fmt: skip
    """The settings in force.

    Args:
        kind: `ClientSettings` or `ServeSettings`.
        arguments: of the command line; None values are those that were not given.
        environment: `os.environ` when None.
        folder: where the search for a file begins; the current one when None.
        file: the file itself, instead of a search; ``FLOW_CORE_CONFIG`` does the same.

    Raises:
        InvalidOption: naming the place, the name and the fix; never the value of a secret.
    """
    environment = os.environ if environment is None else environment
    if file is None and environment.get(f"{PREFIX}CONFIG"):
        file = Path(environment[f"{PREFIX}CONFIG"])
    values: dict[str, Any] = {}
    table, found = _file(folder or Path.cwd(), file)
    if found is not None:
        values.update(_of_table(kind, table, found))
    values.update(_of_environment(kind, environment))
    known = names(kind)
    for name, value in (arguments or {}).items():
        if value is not None:
            values[name] = _read(known[name], value, f"--{name.replace('_', '-')}", Path.cwd())
    return kind(**values)


# --- places -----------------------------------------------------------------------------------------------------------


def names(kind: type[Any]) -> dict[str, About]:
    """The settings of a kind, in their order."""
    return {name: hint.__metadata__[0] for name, hint in get_type_hints(kind, include_extras=True).items()}


def _near(name: str, known: Mapping[str, Any]) -> str:
    return did_you_mean(name, known) or f"there are {', '.join(known)}"


def _file(folder: Path, file: Path | None) -> tuple[dict[str, Any], Path | None]:
    """The table of settings, and the file that it is in."""
    if file is not None:
        return _toml(file, required=True), file
    for place in (folder, *folder.parents):
        own, project = place / "flow-core.toml", place / "pyproject.toml"
        if own.is_file():
            return _toml(own, required=True), own
        if project.is_file():
            table = _toml(project, required=False)
            if table:
                return table, project
    return {}, None


def _toml(file: Path, *, required: bool) -> dict[str, Any]:
    try:
        text = file.read_bytes().decode()
        found = tomllib.loads(text)
    except OSError as error:
        raise InvalidOption(f"the settings in {file} can't be read: {error.strerror}") from None
    except ValueError as error:
        if not required and "flow-core" not in text:  # somebody else's broken file
            return {}
        where = re.search(r"\(at .*\)", str(error))  # tomllib may quote the text, where a secret may stand
        raise InvalidOption(f"{file} is not TOML {where[0] if where else ''}".rstrip()) from None
    if file.name != "pyproject.toml":
        return found
    table = found.get("tool", {}).get("flow-core", {})
    if not isinstance(table, dict):
        raise InvalidOption(f"{file}: tool.flow-core is not a table", fix="write [tool.flow-core]")
    return table


def _of_table(kind: type[Any], table: dict[str, Any], file: Path) -> Iterator[tuple[str, Any]]:
    """Settings of ``kind``. What is wrong in the other section is told, too: one file, one check."""
    for section, title in SECTIONS.items():
        entries, known = (table.get(title, {}) if title else table), names(section)
        head = _head(file, title)
        if not isinstance(entries, dict):
            raise InvalidOption(f"{head} is not a table")
        for written, value in entries.items():
            name = written.replace("-", "_")
            if not title and name in SECTIONS.values():
                continue
            if name not in known:
                raise InvalidOption(f"{head}: there is no setting {written!r:.80}", fix=_near(name, known))
            if known[name].kind == "secret":
                raise InvalidOption(
                    f"{head}: a {name} does not belong into a file that others read", fix="use key_file"
                )
            read = _read(known[name], value, f"{head} {name}", file.parent)
            if section is kind:
                yield name, read


def _head(file: Path, title: str) -> str:
    if file.name == "pyproject.toml":
        return f"{file}, [tool.flow-core{title and '.'}{title}]"
    return f"{file}, [{title}]" if title else str(file)


def _of_environment(kind: type[Any], environment: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    known = {
        f"{PREFIX}{title}{title and '_'}{name}".upper(): (section, name, about)
        for section, title in SECTIONS.items()
        for name, about in names(section).items()
    }
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable == f"{PREFIX}CONFIG":
            continue
        if variable in known:
            section, name, about = known[variable]
            if section is kind and text != "":
                yield name, _read(about, text, variable, Path.cwd())
        elif not KUBERNETES(variable):
            raise InvalidOption(f"the environment: there is no setting {variable}", fix=_near(variable, known))


# --- values -----------------------------------------------------------------------------------------------------------


def _read(about: About, value: Any, place: str, folder: Path) -> Any:
    kind = about.kind
    if "|" in kind:
        choices = kind.split("|")
        if value not in choices:
            near = did_you_mean(str(value), choices) or f"write one of {', '.join(choices)}"
            raise InvalidOption(f"{place}: {value!r:.40} is not one of its values", fix=near)
        return value
    if kind == "path":
        path = Path(_text(value, place)).expanduser()
        return path if path.is_absolute() else folder / path
    return READERS[kind](value, place)


def _text(value: Any, place: str) -> str:
    if not isinstance(value, (str, Path)) or not str(value):
        raise InvalidOption(f"{place}: a text is needed, not {type(value).__name__}")
    return str(value)


def _secret(value: Any, place: str) -> Secret:
    return value if isinstance(value, Secret) else Secret(_text(value, place).strip())


def _bool(value: Any, place: str) -> bool:
    if isinstance(value, bool):
        return value
    found = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(str(value).lower())
    if found is None:
        raise InvalidOption(f"{place}: {value!r:.40} is neither true nor false")
    return found


def _count(value: Any, place: str) -> int:
    try:
        number = int(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else 0
    except ValueError:
        number = 0
    if number < 1:
        raise InvalidOption(f"{place}: a whole number of at least 1 is needed, not {value!r:.40}")
    return number


def _number(value: Any, place: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise InvalidOption(f"{place}: a number above 0 is needed, not {value!r:.40}")
    return number


def duration(value: Any, place: str) -> float:
    """Seconds of ``30``, ``"30s"``, ``"5m"``, ``"12h"``, ``"90d"``. Raises `InvalidOption` that names ``place``."""
    parts = _DURATION(value) if isinstance(value, str) else _DURATION(repr(value))
    if isinstance(value, bool) or parts is None:
        raise InvalidOption(f"{place}: {value!r:.40} is no time", fix="write seconds, or 30s, 5m, 12h, 90d")
    return float(parts[1]) * UNITS[parts[2]]


def _table(value: Any, place: str) -> dict[str, str]:
    if isinstance(value, str):
        pairs = [pair.partition("=") for pair in value.split(",")]
        if not all(name.strip() and separator for name, separator, _ in pairs):
            raise InvalidOption(f"{place}: no pairs", fix="write name=role:principal,name=role:principal")
        value = {name.strip(): text.strip() for name, _, text in pairs}
    if not isinstance(value, Mapping) or not all(isinstance(one, str) for pair in value.items() for one in pair):
        raise InvalidOption(f"{place}: a table of texts is needed", fix='write "name" = "role:principal"')
    return dict(value)


READERS: Final[Mapping[str, Callable[[Any, str], Any]]] = {
    "text": _text, "secret": _secret, "secret_url": _secret, "bool": _bool, "count": _count, "number": _number,
    "seconds": duration, "table": _table,
}  # fmt: skip


def read_key(settings: ClientSettings) -> Secret | None:
    """The API key of a client: given, or in its file; None for none.

    Raises:
        InvalidOption: the file can't be read, others can read it, or it is empty.
    """
    if settings.key is not None or settings.key_file is None:
        return settings.key
    file = settings.key_file
    try:
        with open(file, "rb") as opened:
            if os.name == "posix" and os.fstat(opened.fileno()).st_mode & (stat.S_IROTH | stat.S_IWOTH):
                raise InvalidOption(f"others can read the key in {file}", fix=f"chmod 600 {file}, and rotate the key")
            text = opened.read(4096).decode("utf-8", "replace").strip()
    except OSError as error:
        raise InvalidOption(f"the key in {file} can't be read: {error.strerror}") from None
    if not text:
        raise InvalidOption(f"there is no key in {file}")
    return Secret(text)

"""What the commands share: common options, the connection to a server, and JSON arguments."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from cyclopts import Parameter

from flow_core import FlowError, run
from flow_core.cli.settings import ClientSettings, load, names, read_key
from flow_core.errors import InvalidOption

if TYPE_CHECKING:
    from flow_core.client.remote_flow import RemoteFlow

__all__ = ["COMMON", "JSON", "Common", "Json", "Switch", "complete", "error_of", "read_json", "server"]

T = TypeVar("T")
_HELP = {name: about.help for name, about in names(ClientSettings).items()}
#: An option that is on or off, and has no ``--no-``.
Switch = Annotated[bool, Parameter(negative="")]
JsonSwitch = Annotated[bool, Parameter(negative="", help="print one JSON document")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Json:
    """The option of commands that ask no server."""

    json: JsonSwitch = False


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Common:
    """The options of commands that ask a server; all but ``json`` and ``config`` are settings (`ClientSettings`)."""

    json: JsonSwitch = False
    url: Annotated[str | None, Parameter(help=_HELP["url"])] = None
    key: Annotated[
        str | None, Parameter(help="API key; seen by others in the list of processes: better --key-file")
    ] = None
    key_file: Annotated[Path | None, Parameter(help=_HELP["key_file"])] = None
    tls_ca: Annotated[Path | None, Parameter(help=_HELP["tls_ca"])] = None
    tls_cert: Annotated[Path | None, Parameter(help=_HELP["tls_cert"])] = None
    tls_key: Annotated[Path | None, Parameter(help=_HELP["tls_key"])] = None
    timeout: Annotated[str | None, Parameter(help=_HELP["timeout"])] = None
    config: Annotated[Path | None, Parameter(help="file of settings, instead of the nearest one")] = None

    def settings(self) -> ClientSettings:
        """The settings in force. Raises `InvalidOption`."""
        given = {name: getattr(self, name) for name in (field.name for field in fields(ClientSettings))}
        return load(ClientSettings, given, file=self.config)

    def __repr__(self) -> str:
        return "Common(...)"  # there may be a key in it


#: What the options are when none is given.
JSON = Json()
COMMON = Common()


@asynccontextmanager
async def server(common: Common) -> AsyncIterator[RemoteFlow]:
    """A client of the server that the settings name, closed afterwards. Raises `InvalidOption`, ImportError."""
    from flow_core.client.remote_flow import RemoteFlow
    from flow_core.rpc import Tls

    settings = common.settings()
    tls = None
    if settings.url.startswith("grpcs:"):
        tls = Tls(settings.tls_ca, settings.tls_cert, settings.tls_key)
    elif settings.tls_ca or settings.tls_cert or settings.tls_key:
        raise InvalidOption("files of TLS are set, and the URL is without it", fix="write grpcs://")
    secret = read_key(settings)
    key = None if secret is None else secret.reveal()
    async with RemoteFlow(settings.url, key=key, tls=tls, patience=settings.timeout) as remote:
        yield remote


def complete(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end."""
    return run(work)


def read_json(text: str, what: str) -> Any:
    """The value of an argument: JSON, ``@file``, or ``-`` for stdin. Raises `InvalidOption` that names ``what``."""
    source = what
    try:
        if text == "-":
            source, text = "stdin", sys.stdin.read()
        elif text.startswith("@"):
            source = text[1:]
            text = Path(source).read_text(encoding="utf-8")
        return json.loads(text)
    except OSError as error:
        raise InvalidOption(f"{what}: {source} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidOption(f"{source} is not UTF-8") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidOption(
            f"{what}: {source} is not JSON: {error.msg} ({place})", fix="""quote it: '{"a": 1}'"""
        ) from None


def error_of(error: FlowError) -> Mapping[str, Any]:
    """An error, for JSON."""
    return {"code": error.code, "message": error.message, "fix": error.fix, "step": error.step}

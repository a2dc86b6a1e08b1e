"""``flow-core serve``: a flow as a network service, from settings alone. SIGTERM drains it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from flow_core import Executor, Flow
from flow_core.cli.codes import OK
from flow_core.cli.common import complete
from flow_core.cli.settings import About, ServeSettings, load, names
from flow_core.errors import InvalidOption
from flow_core.service.security.binding import check_binding

if TYPE_CHECKING:
    from flow_core.model.secret import Secret
    from flow_core.service.security.guard import Guard

__all__ = ["flow_of", "guard_of", "notify", "register", "tls_of"]

log = logging.getLogger("flow_core.serve")


def _option(name: str, about: About) -> tuple[str, Any, Any]:
    """A setting as an option. Its text is read where all settings are, so that a mistake says the same everywhere."""
    kind = bool if about.kind == "bool" else Path if about.kind == "path" else str
    return name, Annotated[kind | None, Parameter(help=about.help)], dataclasses.field(default=None)


#: The settings as options of the command, drawn from the one table.
ServeOptions: Any = Parameter(name="*")(
    dataclasses.make_dataclass(
        "ServeOptions",
        [_option(name, about) for name, about in names(ServeSettings).items()],
        frozen=True,
        kw_only=True,
    )
)
ServeOptions.__module__ = __name__  # where the types of its fields are looked up
SERVE: Any = ServeOptions()


def register(app: App) -> None:
    """Add the command."""
    app.command(serve)


def serve(
    *,
    config: Annotated[Path | None, Parameter(help="file of settings, instead of the nearest one")] = None,
    json: Annotated[bool, Parameter(negative="", help="print the address as one JSON document")] = False,
    options: ServeOptions = SERVE,
) -> int:
    """Serve flows over the network until SIGTERM or Ctrl-C, then drain.

    Every option is also a setting: FLOW_CORE_SERVE_* or [tool.flow-core.serve].
    """
    given = {name: getattr(options, name) for name in names(ServeSettings)}
    settings = load(ServeSettings, given, file=config)
    logging.basicConfig(level=settings.log.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    complete(_serve(settings, as_json=json))
    return OK


async def _serve(settings: ServeSettings, *, as_json: bool) -> None:
    from flow_core.service.server.health_http import Operations
    from flow_core.service.server.server import FlowServer

    flow = flow_of(settings)
    guard, tls = guard_of(settings, flow), tls_of(settings)
    server = FlowServer(
        flow, address=settings.listen, guard=guard, tls=tls, plain=settings.plain,
        unavailable="fail" if settings.unavailable == "fail" else "wait",
    )  # fmt: skip
    pages = None if settings.operations is None else Operations(server, settings.operations, metrics_of(flow))
    with _signals() as asked:
        try:
            await server.start()
            if pages is not None:
                pages.start()
                log.info("health and metrics at %s", pages.url)
            _tell(server, guard, as_json)
            notify("READY=1")
            await asked.wait()
            log.info("draining, for at most %g s", settings.drain)
            notify("STOPPING=1")
            await server.drain(settings.drain)
        finally:
            if pages is not None:
                pages.stop()
            await server.stop()
            await flow.stop(0)
    log.info("stopped")


def _tell(server: Any, guard: Guard, as_json: bool) -> None:
    """Say where it listens; the line is for people and scripts alike, and so on stdout."""
    facts = {"url": server.url, "authentication": guard.authenticates, "pid": os.getpid()}
    print(json.dumps(facts) if as_json else f"flow-core serves {server.url}", flush=True)
    if not guard.authenticates:
        log.warning("authentication is off: listening on loopback only")


def metrics_of(flow: Flow) -> Any:
    """A WSGI application with the metrics of a flow; None when prometheus-client is not installed."""
    try:
        import prometheus_client

        from flow_core.telemetry.prometheus import ExecutorCollector
    except ImportError:
        return None
    registry = prometheus_client.CollectorRegistry()
    ExecutorCollector(flow, registry=registry)
    return prometheus_client.make_wsgi_app(registry)


def flow_of(settings: ServeSettings) -> Flow:
    """The flow that is served. Raises `InvalidOption` and ImportError, as its clients do."""
    from flow_core.service.workers.router import WorkerRouter
    from flow_core.urls import rpc_client

    store, rpc, pubsub = (_text(secret) for secret in (settings.store, settings.rpc, settings.pubsub))
    return Flow(
        store=store,
        keep=settings.keep,
        executor=Executor(name=settings.name, concurrency=settings.concurrency, drain=settings.drain),
        rpc=WorkerRouter(rpc_client(rpc), unavailable="fail" if settings.unavailable == "fail" else "wait"),
        pubsub=pubsub,
    )


def _text(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


def guard_of(settings: ServeSettings, flow: Flow | None = None) -> Guard:
    """Who may call, as the settings say. Raises `InvalidOption` when they contradict one another."""
    from flow_core.service.security.guard import OpenGuard
    from flow_core.service.security.key_file import KeyFile
    from flow_core.service.security.key_guard import KeyGuard, read_certificates
    from flow_core.service.security.quotas import Limits, steps_owned

    if settings.certificates and settings.client_ca is None:
        raise InvalidOption("certificates are set, and no client is asked for one", fix="set client_ca")
    if settings.client_ca is not None and (settings.tls_cert is None or settings.tls_key is None):
        raise InvalidOption("client_ca is set, and the server has no TLS", fix="set tls_cert and tls_key")
    if settings.keys is None and not settings.certificates:
        if settings.both or settings.client_ca is not None:
            raise InvalidOption("nobody is known", fix="set keys, or certificates")
        check_binding(settings.listen, OpenGuard())
        return OpenGuard()
    keys = None if settings.keys is None else KeyFile(settings.keys)
    if keys is not None and not len(keys.load()) and not settings.certificates:
        raise InvalidOption(f"there are no keys in {keys.path}", fix="flow-core token new NAME --role ROLE --keys FILE")
    limits = Limits(**{name: getattr(settings, name) for name in Limits.__slots__})
    return KeyGuard(
        keys, certificates=read_certificates(settings.certificates), both=settings.both, limits=limits,
        owned=None if flow is None else partial(steps_owned, flow), foreign_calls=settings.foreign_calls,
    )  # fmt: skip


def tls_of(settings: ServeSettings) -> Any:
    """The files of TLS, checked; None without. Raises `InvalidOption` that names the file or setting."""
    from flow_core.service.security.tls import ServerTls

    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise InvalidOption("only one of tls_cert and tls_key is set", fix="set both, or neither")
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    tls = ServerTls(settings.tls_cert, settings.tls_key, settings.client_ca)
    tls.check()
    return tls


# --- the process ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _signals() -> Iterator[asyncio.Event]:
    """An event that SIGTERM or Ctrl-C sets; a second Ctrl-C ends the process as usual."""
    asked, loop = asyncio.Event(), asyncio.get_running_loop()

    def ask(number: int) -> None:
        asked.set()
        loop.remove_signal_handler(number)

    numbers = (signal.SIGTERM, signal.SIGINT)
    if sys.platform != "win32":
        for number in numbers:
            loop.add_signal_handler(number, ask, number)
    try:
        yield asked
    finally:
        if sys.platform != "win32":
            for number in numbers:
                loop.remove_signal_handler(number)


def notify(state: str) -> None:
    """Tell systemd (``sd_notify``) how the service is; nothing where nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)

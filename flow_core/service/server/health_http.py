"""`Operations`: ``/healthz``, ``/readyz`` and ``/metrics`` over plain HTTP, for supervisors and Prometheus."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socketserver
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from flow_core.errors import InvalidOption

if TYPE_CHECKING:
    from flow_core.service.server.server import FlowServer

__all__ = ["Operations"]

#: Seconds in which the loop has to answer to be called healthy.
PATIENCE: Final = 2.0


class _Quiet(WSGIRequestHandler):
    """Logs no request: a supervisor asks every few seconds. A client that sends nothing is let go."""

    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


class _Threads(socketserver.ThreadingMixIn, WSGIServer):
    """A thread a request: one that is slow holds up no other."""

    daemon_threads = True


class Operations:
    """Serves ``/healthz``, ``/readyz`` and ``/metrics`` over plain HTTP. `start` it on the server's loop; `stop` it.

    It runs in a thread of its own, so that a loop that is stuck shows: ``/healthz`` asks the loop, and waits a moment
    for its answer. It only reads, and knows no keys: whoever reaches the address may ask.

    Example::

        pages = Operations(server, "127.0.0.1:9464")
        pages.start()

    Args:
        server: whose health it is.
        address: ``host:port``; port 0 for any that is free.
        metrics: a WSGI application, such as `prometheus_client.make_wsgi_app` of a registry; None: there are none.

    Raises:
        InvalidOption: the address is none.
    """

    def __init__(self, server: FlowServer, address: str, metrics: Callable[..., Iterable[bytes]] | None = None) -> None:
        host, separator, port = address.rpartition(":")
        if not separator or not port.isdigit() or int(port) > 65_535 or not host:
            raise InvalidOption(f"no host:port for operations: {address!r:.80}", fix="say 127.0.0.1:9464")
        self._server = server
        self._place = (host.strip("[]"), int(port))
        self._http: WSGIServer | None = None
        self._thread: threading.Thread | None = None
        self._metrics = metrics

    def start(self) -> None:
        """Listen. Raises OSError when the address is taken."""
        self._loop = asyncio.get_running_loop()
        http = _Threads(self._place, _Quiet)
        http.set_app(self._answer)
        self._http = http
        self._thread = threading.Thread(target=http.serve_forever, name="flow-core operations", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._http is not None
        host, port = self._http.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"http://{shown}:{port}"

    def stop(self) -> None:
        """Listen no more."""
        http, self._http = self._http, None
        if http is not None and self._thread is not None:
            http.shutdown()
            http.server_close()
            self._thread.join()

    # --- in the threads -----------------------------------------------------------------------------------------------

    def _answer(self, environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environment.get("PATH_INFO", "")
        if environment.get("REQUEST_METHOD") not in ("GET", "HEAD"):
            return _text(start, "405 Method Not Allowed", "only GET")
        if path == "/healthz":
            alive = self._loop_answers()
            return _text(
                start, "200 OK" if alive else "503 Service Unavailable", "ok" if alive else "the loop is stuck"
            )
        if path == "/readyz":
            ready = self._server.ready
            return _text(start, "200 OK" if ready else "503 Service Unavailable", "ready" if ready else "not ready")
        if path == "/metrics":
            if self._metrics is None:
                return _text(start, "501 Not Implemented", "no metrics: pip install 'flow-core[prometheus]'")
            return self._metrics(environment, start)
        return _text(start, "404 Not Found", "/healthz /readyz /metrics")

    def _loop_answers(self) -> bool:
        answered: concurrent.futures.Future[bool] = concurrent.futures.Future()
        try:
            self._loop.call_soon_threadsafe(answered.set_result, True)
            return answered.result(PATIENCE)
        except (RuntimeError, TimeoutError):  # the loop is closed, or does not get to it
            return False


def _text(start: Callable[..., Any], status: str, text: str) -> list[bytes]:
    body = text.encode() + b"\n"
    start(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]

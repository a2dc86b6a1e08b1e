"""`FlowServer`: a flow as a network service over gRPC."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Final, Literal, Self

try:
    import grpc
    import grpc.aio
except ImportError as _error:
    raise ImportError("the Flow service needs grpcio: pip install 'flow-core[grpc]'") from _error

from flow_core import Flow
from flow_core.errors import Unavailable
from flow_core.proto.methods import MAX_MESSAGE, METHODS, SERVICES
from flow_core.service.security.binding import check_binding
from flow_core.service.security.guard import Guard, OpenGuard
from flow_core.service.security.tls import ServerTls
from flow_core.service.server.audit_log import AuditLog
from flow_core.service.server.calls import handler_of
from flow_core.service.server.context import ServerContext
from flow_core.service.server.execute_many import execute_many
from flow_core.service.server.executions import ExecutionMethods
from flow_core.service.server.flows import FlowMethods
from flow_core.service.server.serve import serve
from flow_core.service.server.watch import WatchMethods
from flow_core.service.workers.router import WorkerRouter

__all__ = ["FlowServer"]

OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.so_reuseport", 0),  # a second server on this port is a mistake, and has to hear of it
    # A peer that has died without a word is noticed within 30 s: presence is the stream.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)
#: Seconds that calls under way get when the server stops.
GRACE: Final = 1.0


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # of grpc, which has no types
    """Finds the handler of a path: one look-up, for all services."""

    def __init__(self, handlers: dict[str, Any]) -> None:
        self._handlers = handlers

    def service(self, details: Any) -> Any:
        return self._handlers.get(details.method)


class FlowServer:
    """Serves a flow over the network. An async context manager::

        async with Flow(store="sqlite:///flow.db", rpc=WorkerRouter()) as flow, FlowServer(flow) as server:
            print(server.address)

    A flow whose rpc client is no `WorkerRouter` gets one, in front of its own; give a durable flow one from the
    beginning, since what it left unfinished goes on when it opens.

    Args:
        flow: what is served. It is opened, and stays open when the server stops.
        address: ``host:port``, port 0 for any; or ``unix:/path``.
        guard: who may what; None: everybody everything, on loopback.
        tls: of the server; None: no TLS.
        plain: keys may come without TLS beyond loopback: something in front of this server does TLS.
        unavailable: what a call does while its service is away, see `WorkerRouter`.
        reflection: whether clients may ask for the schema.

    Raises:
        InvalidOption: the address can be reached from other machines, and the guard asks nobody who they are.
    """

    def __init__(
        self, flow: Flow, *, address: str = "127.0.0.1:0", guard: Guard | None = None, tls: ServerTls | None = None,
        plain: bool = False, unavailable: Literal["wait", "fail"] = "wait", reflection: bool = True,
    ) -> None:  # fmt: skip
        asked: Guard = OpenGuard() if guard is None else guard
        check_binding(address, asked, encrypted=tls is not None, plain=plain)
        if not isinstance(flow.rpc, WorkerRouter):
            flow.rpc = WorkerRouter(flow.rpc, unavailable=unavailable)
        self._context = ServerContext(flow, asked, flow.rpc, AuditLog())
        self._wanted, self._tls, self._reflection = address, tls, reflection
        self._address = ""
        self._server: Any = None
        self._health: Any = None
        self._ready = False

    # --- what it is ---------------------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """Where it listens: ``host:port`` with the port that it got, or ``unix:/path``; empty before it does."""
        return self._address

    @property
    def url(self) -> str:
        """What `flow_core.connect` takes."""
        if self._address.startswith("unix:"):
            return self._address
        return f"{'grpc' if self._tls is None else 'grpcs'}://{self._address}"

    @property
    def ready(self) -> bool:
        """Whether the server takes new work: readiness, which becomes false before the first refusal."""
        return self._ready

    @property
    def flow(self) -> Flow:
        """What it serves."""
        return self._context.flow

    @property
    def served(self) -> WorkerRouter:
        """The services that opened streams."""
        return self._context.router

    # --- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the flow and listen. Raises `Unavailable` when the address is taken, and what `Flow.open` raises."""
        context = self._context
        await context.flow.open()
        await context.audit_log.attach(context.flow)
        await context.presence.attach(context.flow, expecting=context.router.fallback is None)
        context.router.attached(self._owner_of)
        server = grpc.aio.server(options=OPTIONS)
        server.add_generic_rpc_handlers((_Handlers(self._handlers()),))
        await self._add_standard_services(server)
        try:
            if self._tls is None:
                port = server.add_insecure_port(self._wanted)
            else:
                port = server.add_secure_port(self._wanted, self._tls.credentials())
        except RuntimeError:
            port = 0
        if not port and not self._wanted.startswith("unix:"):
            self._detach()
            raise Unavailable(f"{self._wanted} can't be listened on", fix="it may be taken: choose another port")
        await server.start()
        self._server, self._ready = server, True
        unix = self._wanted.startswith("unix:")
        self._address = self._wanted if unix else f"{self._wanted.rpartition(':')[0]}:{port}"

    async def drain(self, seconds: float = 25.0) -> None:
        """Stop in good order: readiness false, refuse new work, let what is under way end, stop.

        Services stay connected meanwhile, so that their steps go on. What has not ended in time becomes STOPPED; with
        a store it goes on when the flow is opened again. The flow's executor is stopped by this.
        """
        self._ready = False
        if self._health is not None:
            await self._health.enter_graceful_shutdown()
        await asyncio.sleep(0)  # whoever asks for readiness now hears of it before anybody is refused
        self._context.draining = True
        await self._context.flow.executor.stop(seconds)
        await self.stop()

    async def stop(self, grace: float = GRACE) -> None:
        """Stop serving: calls under way get ``grace`` seconds. The flow goes on."""
        self._ready = False
        self._context.draining = True
        server, self._server = self._server, None
        if server is not None:
            await server.stop(grace)
            self._detach()

    async def wait(self) -> None:
        """Wait until it has stopped."""
        if self._server is not None:
            await self._server.wait_for_termination()

    def _detach(self) -> None:
        self._context.audit_log.detach()
        self._context.presence.detach()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # --- parts --------------------------------------------------------------------------------------------------------

    def _handlers(self) -> dict[str, Any]:
        """Path -> handler, of every method of the table."""
        context = self._context
        streams: dict[str, Any] = {"Serve": serve, "ExecuteMany": execute_many}
        rooms = (FlowMethods(context), ExecutionMethods(context), WatchMethods(context))
        found = {}
        for name, method in METHODS.items():
            handle = streams.get(name) or next(
                getattr(room, method.python) for room in rooms if hasattr(room, method.python)
            )
            found[method.path] = handler_of(context, method, handle)
        return found

    async def _add_standard_services(self, server: Any) -> None:
        try:
            from grpc_health.v1 import health_pb2, health_pb2_grpc
            from grpc_health.v1._async import HealthServicer
            from grpc_reflection.v1alpha import reflection
        except ImportError as error:
            raise ImportError(
                "the Flow service needs grpcio-health-checking and grpcio-reflection: pip install 'flow-core[grpc]'"
            ) from error
        self._health = HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        for service in ("", *SERVICES):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        if self._reflection:
            names = (*SERVICES, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, server)

    def _owner_of(self, flow: str, step: str) -> str:
        return self._context.flow.ownership.get(flow, {}).get(step, "")

    def __repr__(self) -> str:
        state = "ready" if self._ready else "draining" if self._server is not None else "stopped"
        return f"<FlowServer {self._address or self._wanted} {state}>"

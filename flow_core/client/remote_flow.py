"""`RemoteFlow`: the flows of a server, with the methods of `Flow`.

Lives here: registering, looking up, executing. Does not live here: the connection (``channel.py``), handles
(``remote.py``), many executions over a stream (``batches.py``), offering steps (``offer.py``).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from flow_core import Step
from flow_core.client.channel import PATIENCE, CallError, Channel, failure
from flow_core.client.execute_many import Outcome, execute_many
from flow_core.client.remote_execution import RemoteExecution, RemoteExecutor
from flow_core.client.worker import Offer
from flow_core.errors import FlowError, InvalidOption
from flow_core.model.payload import encode_outcome, encode_value
from flow_core.model.trace_context import current_trace
from flow_core.operations.registry import OperationRegistry
from flow_core.proto import flow_pb2 as pb
from flow_core.proto.encoding import decode_step, encode_step

__all__ = ["FlowChange", "RemoteFlow"]

#: Options of `Flow.execute` that are of this process and can't travel.
LOCAL_OPTIONS: Final = frozenset({"client", "flow"})
#: Seconds after which a heartbeat is tried again.
BEAT_AGAIN: Final = 1.0


class FlowChange(NamedTuple):
    """A change of a flow; or, with ``available``, an owner that vanished (False) or came back (True)."""

    flow: str
    revision: int
    created: tuple[str, ...]
    deleted: tuple[str, ...]
    owner: str
    available: bool | None


class RemoteFlow:
    """Made by `flow_core.connect`; an async context manager. Errors are those of the server, of the same classes.

    What may be repeated is repeated for ``patience`` seconds while the server is away; then `Unavailable` is raised.
    """

    def __init__(
        self,
        url: str,
        *,
        service: str | None = None,
        key: str | None = None,
        tls: Any = None,
        patience: float = PATIENCE,
        operations: OperationRegistry | None = None,
    ) -> None:
        self.channel: Final = Channel(url, key=key, tls=tls, patience=patience)
        self.service = service
        self.operations: Final = operations or OperationRegistry()
        self._executor = RemoteExecutor(self.channel)
        self._beats: dict[str, asyncio.Task[None]] = {}
        self.entered = False

    @property
    def executor(self) -> RemoteExecutor:
        """Status, result, wait, pause, resume, abort, restart, list, history, explain by id."""
        return self._executor

    # --- registering --------------------------------------------------------------------------------------------------

    async def create_step(
        self, flow: str, step: Step, *, revision: int | None = None, owner: str = "", lease: float | None = None
    ) -> int:
        """Add a step. Returns the revision. See `create_steps`."""
        return await self.create_steps(flow, (step,), revision=revision, owner=owner, lease=lease)

    async def create_steps(
        self,
        flow: str,
        steps: Iterable[Step],
        *,
        revision: int | None = None,
        owner: str = "",
        lease: float | None = None,
    ) -> int:
        """Add steps in one revision, all or none; what is there already, unchanged and of the same owner, stays.

        Args:
            revision: the change is only made when the flow is at this revision.
            owner: whose they are; empty: the caller's.
            lease: seconds without a sign of life of the owner after which they are unavailable. This client sends
                heartbeats until it is closed.

        Raises:
            as `Flow.create_steps`; PermissionDenied.
        """
        request = pb.CreateStepRequest(
            flow=flow, steps=[encode_step(step) for step in steps], revision=revision, owner=owner, lease=lease
        )
        # Lost and sent again, it would meet its own revision.
        reply = await self.channel.call("CreateStep", request, repeatable=revision is None)
        self._keep(owner, lease)
        return int(reply.revision)

    async def delete_step(self, flow: str, step: str | Step, *, revision: int | None = None) -> int:
        """Take a step out. Raises as `Flow.delete_step`; PermissionDenied."""
        request = pb.DeleteStepRequest(flow=flow, step=_id(step), revision=revision)
        return int((await self.channel.call("DeleteStep", request)).revision)

    async def replace_step(
        self, flow: str, old: str | Step, new: Step, *, revision: int | None = None, lease: float | None = None
    ) -> int:
        """Put one step in the place of another; it stays whose it was. Raises as `Flow.replace_step`."""
        request = pb.ReplaceStepRequest(flow=flow, step=_id(old), revision=revision, lease=lease)
        getattr(request, "with").CopyFrom(encode_step(new))
        return int((await self.channel.call("ReplaceStep", request)).revision)

    def _keep(self, owner: str, lease: float | None) -> None:
        """Send the heartbeats of a lease."""
        if lease is not None and owner not in self._beats:
            self._beats[owner] = asyncio.get_running_loop().create_task(self._beat(owner, lease / 3))

    async def _beat(self, owner: str, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                reply = await self.channel.call("Heartbeat", pb.HeartbeatRequest(owner=owner))
                seconds = reply.lease or seconds
            except FlowError:  # the server is away, or forgot the lease: as long as this client lives, it tries
                seconds = min(seconds, BEAT_AGAIN)

    # --- looking up ---------------------------------------------------------------------------------------------------

    async def lookup(self, flow: str) -> list[Step]:
        """The steps of a flow. Raises `UnknownFlow`; `UnknownOperation` for one that this process can't read."""
        return [decode_step(owned.step, self.operations) for owned in (await self._lookup(flow)).steps]

    async def owners(self, flow: str) -> dict[str, str]:
        """Step -> whose it is."""
        return {owned.step.name: owned.owner for owned in (await self._lookup(flow)).steps}

    async def unavailable(self, flow: str) -> dict[str, str]:
        """Step -> owner, of the steps whose owners are away."""
        return {owned.step.name: owned.owner for owned in (await self._lookup(flow)).steps if not owned.available}

    async def _lookup(self, flow: str) -> Any:
        return await self.channel.call("Lookup", pb.LookupRequest(flow=flow))

    async def unresolved(self, flow: str) -> dict[str, list[str]]:
        """Ids that steps name and nobody registered yet -> the steps that name them."""
        reply = await self.channel.call("Unresolved", pb.LookupRequest(flow=flow))
        return {missing: list(by.steps) for missing, by in reply.missing.items()}

    async def revision(self, flow: str) -> int:
        """Revision of a flow; 0 for one that nobody registered."""
        return next((line.revision for line in await self._flows() if line.flow == flow), 0)

    async def flows(self) -> list[str]:
        """Names of all flows, sorted."""
        return [line.flow for line in await self._flows()]

    async def _flows(self) -> Any:
        return (await self.channel.call("ListFlows", pb.ListFlowsRequest())).flows

    async def watch(self, flow: str = "", *, since: int | None = None) -> AsyncIterator[FlowChange]:
        """Changes of a flow (empty: of all) without end, with ``since`` those after that revision first.

        Raises `Unavailable` when the connection is lost: look up, and watch from the revision that was told last.
        """
        call = self.channel.stream("WatchFlows", pb.WatchFlowsRequest(flow=flow, since=since))
        try:
            async for change in call:
                here = change.available if change.HasField("available") else None
                yield FlowChange(
                    change.flow, change.revision, tuple(change.created), tuple(change.deleted), change.owner, here
                )
        except CallError as error:
            raise failure(self.channel.target, error) from None
        finally:
            call.cancel()

    async def audit(self, flow: str = "") -> AsyncIterator[Any]:
        """The audit log, oldest first: messages `AuditEntry` of ``flow.proto``."""
        cursor = None
        while cursor != "":
            reply = await self.channel.call("Audit", pb.AuditRequest(flow=flow, limit=1_000, cursor=cursor or ""))
            for entry in reply.entries:
                yield entry
            cursor = reply.next

    # --- executing ----------------------------------------------------------------------------------------------------

    async def execute(self, flow: str, request: Any = b"", **fields: Any) -> RemoteExecution:
        """Execute a flow and wait for its end; the keywords are those of `Flow.execute`.

        It is sent under an id, and so survives a lost connection: the same id is the same execution.

        Raises:
            as `Flow.execute`; InvalidOption for options that can't travel (``client``, ``context``, a `Retry`).
        """
        message = request_of(flow, request, fields)
        message.wait = not fields.get("async_", False)
        message.id = message.id or uuid.uuid4().hex
        execution = RemoteExecution(self.channel, flow, await self.channel.call("Execute", message, repeatable=True))
        if message.wait and execution.error is not None:
            raise execution.error
        return execution

    async def call(self, flow: str, request: Any = b"", **fields: Any) -> Any:
        """Execute a flow and return its result value."""
        return (await self.execute(flow, request, **fields)).response

    def execute_many(
        self,
        flow: str,
        requests: Iterable[Any] | AsyncIterator[Any],
        *,
        batch: int = 256,
        window: int = 8_192,
        **fields: Any,
    ) -> AsyncIterator[Outcome]:
        """Execute a flow once for each request, over one stream; outcomes come in the order in which they are ready.

        Args:
            batch: requests in one message.
            window: executions that are under way at the same time.
            fields: as for `execute`, for all of them.

        Raises:
            Unavailable: the connection was lost; the outcomes that did not come are unknown.
        """
        template = request_of(flow, b"", fields)
        template.wait = not fields.get("async_", False)
        return execute_many(self.channel, template, requests, batch, window)

    # --- offering -----------------------------------------------------------------------------------------------------

    def serve(
        self,
        flow: str = "",
        *steps: Step,
        handler: Callable[..., Any] | None = None,
        handlers: Mapping[str, Callable[..., Any]] | None = None,
        service: str | None = None,
        keep: bool = False,
        concurrency: int = 100,
        drain: float = 25.0,
    ) -> Offer:
        """Offer steps to a flow, and run them here::

            charge = Step("charge", charge_card, after="reserve")
            async with connect(url, service="payment").serve("checkout", charge) as offer:
                await offer.forever()

        Args:
            flow: which the steps are registered in.
            steps: those whose operation is a Python callable are called here, with values, over the network; so are
                their fallbacks and compensations. Those that call an endpoint of this service need a handler.
            handler: ``(data, headers) -> reply``, bytes, async or not, for the one endpoint that the steps call.
            handlers: endpoint -> handler.
            service: the name under which the steps are called, and their owner; that of `connect` when None.
            keep: leave the registration when this ends: its steps then wait for the service to come back.
            concurrency: calls at the same time.
            drain: seconds that calls under way get when this ends.

        Raises:
            InvalidOption: no service is named, or an endpoint has no handler.
        """
        name = service or self.service
        if name is None:
            raise InvalidOption(
                "a service needs a name to be called by", fix='connect(url, service="payment"), or serve(service=...)'
            )
        return Offer(
            self, name, flow, steps, handler=handler, handlers=handlers, keep=keep, concurrency=concurrency, drain=drain
        )

    # --- life ---------------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Send no further heartbeats, and close the connection."""
        beats = list(self._beats.values())
        self._beats.clear()
        for beat in beats:
            beat.cancel()
        await asyncio.gather(*beats, return_exceptions=True)
        await self.channel.close()

    async def __aenter__(self) -> Self:
        self.entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<RemoteFlow {self.channel.target}>"


def request_of(flow: str, request: Any, fields: Mapping[str, Any]) -> pb.ExecuteRequest:
    """The message for an execution. Raises `InvalidOption` for what can't travel."""
    for name in fields.keys() & LOCAL_OPTIONS:
        raise InvalidOption(f"{name}= is of this process and can't travel", fix="leave it out")
    known = {"id", "step", "output", "timeout", "concurrency", "retries", "priority"}
    unknown = fields.keys() - known - {"async_", "unresolved", "rollback", "inputs", "context"}
    if unknown:
        raise TypeError(f"execute() got an unexpected keyword argument {min(unknown)!r}")
    if not isinstance(fields.get("retries", 0), int | None):
        raise InvalidOption("retries= travels as a number", fix="set a Retry on the step")
    given = {name: value for name, value in fields.items() if name in known and value is not None}
    data, json = encode_outcome(request, "request")
    context = {**(fields.get("context") or {}), **(current_trace() or {})}
    inputs = {name: encode_value(value, f"input {name!r}") for name, value in (fields.get("inputs") or {}).items()}
    try:
        return pb.ExecuteRequest(
            flow=flow, data=data, json=json, inputs=inputs, unresolved_wait=fields.get("unresolved") == "wait",
            no_rollback=not fields.get("rollback", True), context=context, **given,
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        raise InvalidOption(f"an option of the execution can't travel: {error}") from None


def _id(step: str | Step) -> str:
    return step.id if isinstance(step, Step) else step

"""`RemoteFlow`: the flows of a server, with the methods of `Flow`."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple, Never, Self, Unpack

from flow_core.client.channel import PATIENCE, CallError, Channel, failure
from flow_core.client.execute_many import Outcome, execute_many
from flow_core.client.remote_execution import RemoteExecution, RemoteExecutor
from flow_core.client.worker import Worker
from flow_core.errors import FlowError, InvalidOption
from flow_core.model.interface import FlowLike
from flow_core.model.options import DEFAULT_EXECUTE_OPTIONS, ExecuteFields, ExecuteOptions, Retry, unknown_option
from flow_core.model.payload import encode_outcome, encode_value
from flow_core.model.step import Step
from flow_core.model.trace_context import current_trace
from flow_core.operations.registry import OperationRegistry
from flow_core.proto import flow_pb2 as pb
from flow_core.proto.encoding import decode_step, encode_step

__all__ = ["FlowChange", "RemoteFlow"]

#: Options of an execution that the message has a field for, of the same name.
PLAIN_OPTIONS: Final = ("id", "step", "output", "timeout", "concurrency", "retries", "priority")
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


class RemoteFlow(FlowLike):
    """The flows of a server; made by `flow_core.connect`. An async context manager::

        async with connect("grpc://127.0.0.1:50051") as flows:
            print(await flows.call("greet", "world"))

    It has the methods of `Flow` that need no callable and no store of this process (`flow_core.model.interface`), and
    raises the same errors. What may be sent again is sent again for ``patience`` seconds while the server is away; then
    `Unavailable` is raised.
    """

    def __init__(
        self, url: str, *, service: str | None = None, key: str | None = None, tls: Any = None,
        patience: float = PATIENCE, operations: OperationRegistry | None = None, **unknown: Never,
    ) -> None:  # fmt: skip
        if unknown:
            raise unknown_option("RemoteFlow", unknown, RemoteFlow)
        self.channel: Final = Channel(url, key=key, tls=tls, patience=patience)
        self.service = service
        self.operations: Final = operations or OperationRegistry()
        self._executor = RemoteExecutor(self.channel)
        self._beats: dict[str, asyncio.Task[None]] = {}
        self._entered = False

    @property
    def executor(self) -> RemoteExecutor:
        """The executor of the server: look up and control executions by id."""
        return self._executor

    # --- registering --------------------------------------------------------------------------------------------------

    async def create_step(
        self, flow: str, step: Step, *, revision: int | None = None, owner: str = "", lease: float | None = None
    ) -> int:
        """Add a step to a flow, and return the new revision. See `create_steps`."""
        return await self.create_steps(flow, (step,), revision=revision, owner=owner, lease=lease)

    async def create_steps(
        self, flow: str, steps: Iterable[Step], *, revision: int | None = None, owner: str = "",
        lease: float | None = None,
    ) -> int:  # fmt: skip
        """Add steps in one revision, all or none, and return it. Steps that the owner registered already stay.

        Args:
            revision: make the change only if the flow is at this revision (compare-and-set).
            owner: who owns the steps; the caller when empty.
            lease: the steps become unavailable this many seconds after the owner's last heartbeat. This client sends
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
        """Remove a step, and return the new revision. Raises as `Flow.delete_step`; PermissionDenied."""
        request = pb.DeleteStepRequest(flow=flow, step=_id(step), revision=revision)
        return int((await self.channel.call("DeleteStep", request)).revision)

    async def replace_step(
        self, flow: str, old: str | Step, new: Step, *, revision: int | None = None, lease: float | None = None
    ) -> int:
        """Put one step in the place of another; its owner stays. Raises as `Flow.replace_step`; PermissionDenied."""
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
        """The steps of a flow. Raises `UnknownFlow`; `UnknownOperation` for a step that this process can't read."""
        return [decode_step(owned.step, self.operations) for owned in (await self._lookup(flow)).steps]

    async def owners(self, flow: str) -> dict[str, str]:
        return {owned.step.name: owned.owner for owned in (await self._lookup(flow)).steps}

    async def unavailable(self, flow: str) -> dict[str, str]:
        """Step -> owner, of the steps whose owner is not connected."""
        return {owned.step.name: owned.owner for owned in (await self._lookup(flow)).steps if not owned.available}

    async def _lookup(self, flow: str) -> Any:
        return await self.channel.call("Lookup", pb.LookupRequest(flow=flow))

    async def unresolved(self, flow: str) -> dict[str, list[str]]:
        reply = await self.channel.call("Unresolved", pb.LookupRequest(flow=flow))
        return {missing: list(by.steps) for missing, by in reply.missing.items()}

    async def revision(self, flow: str) -> int:
        return next((line.revision for line in await self._flows() if line.flow == flow), 0)

    async def flows(self) -> list[str]:
        return [line.flow for line in await self._flows()]

    async def _flows(self) -> Any:
        return (await self.channel.call("ListFlows", pb.ListFlowsRequest())).flows

    async def changes(self, flow: str | None = None, *, since: int | None = None) -> AsyncIterator[FlowChange]:
        """As `watch`, without the comings and goings of owners."""
        async for change in self.watch(flow or "", since=since):
            if change.available is None:
                yield change

    async def watch(self, flow: str = "", *, since: int | None = None) -> AsyncIterator[FlowChange]:
        """Changes of a flow (empty: of all), and owners that disconnect and reconnect, without end.

        Args:
            since: tell the changes after this revision first.

        Raises:
            Unavailable: the connection was lost; look up, and watch from the revision that was told last.
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

    async def execute(
        self, flow: str, request: Any = b"", options: ExecuteOptions | None = None, **fields: Unpack[ExecuteFields]
    ) -> RemoteExecution:
        """Execute a flow and wait until it ends. With ``async_=True``, return the handle as soon as it has started.

        It is sent under an id, and so survives a lost connection: the same id is the same execution.

        Args:
            flow: its name.
            request: input of the first steps.
            options: an `ExecuteOptions`; or give its fields as keywords.

        Raises:
            as `Flow.execute`; InvalidOption for options that can't travel (``client``, a `Retry`, and in ``context``
            anything but strings).
        """
        message = request_of(flow, request, options, fields)
        message.id = message.id or uuid.uuid4().hex
        execution = RemoteExecution(self.channel, flow, await self.channel.call("Execute", message, repeatable=True))
        if message.wait and execution.error is not None:
            raise execution.error
        return execution

    async def call(self, flow: str, request: Any = b"", **fields: Unpack[ExecuteFields]) -> Any:
        return (await self.execute(flow, request, **fields)).response

    def execute_many(
        self, flow: str, requests: Iterable[Any] | AsyncIterator[Any], *, batch: int = 256, window: int = 8_192,
        **fields: Unpack[ExecuteFields],
    ) -> AsyncIterator[Outcome]:  # fmt: skip
        """Execute a flow once for each request, over one stream; outcomes come in the order in which they are ready.

        Args:
            batch: requests in one message.
            window: executions that are under way at the same time.
            fields: as for `execute`, for all of them.

        Raises:
            Unavailable: the connection was lost; the outcomes that did not come are unknown.
        """
        return execute_many(self.channel, request_of(flow, b"", None, fields), requests, batch, window)

    # --- serving ------------------------------------------------------------------------------------------------------

    def serve(
        self, flow: str = "", *steps: Step, handler: Callable[..., Any] | None = None,
        handlers: Mapping[str, Callable[..., Any]] | None = None, service: str | None = None, keep: bool = False,
        concurrency: int = 100, drain: float = 25.0,
    ) -> Worker:  # fmt: skip
        """Register steps in a flow, and run them here::

            charge = Step("charge", charge_card, after="reserve")
            async with connect(url, service="payment").serve("checkout", charge) as worker:
                await worker.forever()

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
        return Worker(
            self.channel, self, self._release, service=name, flow=flow, steps=steps, handler=handler, handlers=handlers,
            keep=keep, concurrency=concurrency, drain=drain,
        )  # fmt: skip

    # --- life ---------------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Send no further heartbeats, and close the connection."""
        beats = list(self._beats.values())
        self._beats.clear()
        for beat in beats:
            beat.cancel()
        await asyncio.gather(*beats, return_exceptions=True)
        await self.channel.close()

    async def _release(self) -> None:
        """A worker has ended, and with it a client that was made for it alone."""
        if not self._entered:
            await self.close()

    async def __aenter__(self) -> Self:
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<RemoteFlow {self.channel.target}>"


def request_of(flow: str, request: Any, options: ExecuteOptions | None, fields: Mapping[str, Any]) -> pb.ExecuteRequest:
    """The message for an execution. Raises `InvalidOption`, also for what can't travel."""
    options = dataclasses.replace(options or DEFAULT_EXECUTE_OPTIONS, **fields)
    if options.client is not None:
        raise InvalidOption("client= is of this process and can't travel", fix="leave it out")
    if isinstance(options.retries, Retry):
        raise InvalidOption("retries= travels as a number", fix="set a Retry on the step")
    given = {name: getattr(options, name) for name in PLAIN_OPTIONS}
    data, json = encode_outcome(request, "request")
    inputs = {name: encode_value(value, f"input {name!r}") for name, value in options.inputs.items()}
    try:
        return pb.ExecuteRequest(
            flow=flow, data=data, json=json, inputs=inputs, unresolved_wait=options.unresolved == "wait",
            no_rollback=not options.rollback, context={**options.context, **(current_trace() or {})},
            wait=not options.async_,
            **{name: value for name, value in given.items() if value != getattr(DEFAULT_EXECUTE_OPTIONS, name)},
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        raise InvalidOption(f"an option of the execution can't travel: {error}") from None


def _id(step: str | Step) -> str:
    return step.id if isinstance(step, Step) else step

"""The methods about executions: start, wait, ask, control."""

from __future__ import annotations

import math
from typing import Any, Final

from flow_core import Transition
from flow_core.errors import InvalidOption, PayloadError
from flow_core.model.ids import check_id
from flow_core.model.payload import encode_outcome
from flow_core.model.status import Status
from flow_core.proto import flow_pb2 as pb
from flow_core.proto.errors import info_of
from flow_core.service.security.guard import Principal
from flow_core.service.server.context import ServerContext

__all__ = ["ExecutionMethods", "fill_reply", "move_of", "options_of", "value_of"]

#: Executions of a page, at most.
LARGEST_PAGE: Final = 1_000
SUCCESS: Final[Any] = int(Status.SUCCESS)
#: Numbers of the statuses that exist.
STATUSES: Final = frozenset(int(status) for status in Status)


class ExecutionMethods:
    """The methods about executions. Each takes the caller and the request, and returns the reply."""

    def __init__(self, server: ServerContext) -> None:
        self._server = server
        self._flow = server.flow
        self._executor = server.flow.executor

    async def execute(self, principal: Principal, request: pb.ExecuteRequest) -> pb.ExecuteReply:
        """Start an execution; wait for its end when asked to. It goes on when the caller goes away."""
        options = options_of(request)
        value = value_of(request) if request.json else request.data
        execution = await self._flow.execute(request.flow, value, async_=True, **options)
        if not execution.over:
            self._server.guard.started(principal, execution)
            if request.wait:
                await execution.wait()
        return fill_reply(pb.ExecuteReply(), execution)

    async def wait(self, principal: Principal, request: pb.ExecutionRequest) -> pb.ExecuteReply:
        """Wait for the end, however it comes."""
        return fill_reply(pb.ExecuteReply(), await self._executor.ended(request.flow or None, request.id))

    async def pause(self, principal: Principal, request: pb.ExecutionRequest) -> pb.StatusReply:
        """No new step starts."""
        await self._executor.pause(request.flow or None, request.id)
        return await self.get_status(principal, request)

    async def resume(self, principal: Principal, request: pb.ExecutionRequest) -> pb.StatusReply:
        """Go on."""
        await self._executor.resume(request.flow or None, request.id)
        return await self.get_status(principal, request)

    async def abort(self, principal: Principal, request: pb.AbortRequest) -> pb.StatusReply:
        """End it."""
        await self._executor.abort(request.flow or None, request.id, rollback=request.rollback)
        return _status(await self._executor.status(request.flow or None, request.id))

    async def restart(self, principal: Principal, request: pb.RestartRequest) -> pb.ExecuteReply:
        """The same request again, as a new execution."""
        execution = await self._executor.restart(request.flow or None, request.id, request.step or None)
        self._server.guard.started(principal, execution)
        return fill_reply(pb.ExecuteReply(), execution)

    async def get_status(self, principal: Principal, request: pb.ExecutionRequest) -> pb.StatusReply:
        """Its status."""
        return _status(await self._executor.status(request.flow or None, request.id))

    async def result(self, principal: Principal, request: pb.ResultRequest) -> pb.ResultReply:
        """Output of a step."""
        return pb.ResultReply(data=await self._executor.result(request.flow or None, request.id, request.step))

    async def list_executions(self, principal: Principal, request: pb.ListExecutionsRequest) -> pb.ListExecutionsReply:
        """A page of them, newest first."""
        status = since = None
        if request.HasField("status"):
            if request.status not in STATUSES:
                raise InvalidOption(f"status {request.status} is none of the statuses")
            status = Status(request.status)
        if request.HasField("since"):
            since = request.since
            if not math.isfinite(since):
                raise InvalidOption(f"since must be UTC seconds, not {since}")
        limit = min(request.limit or 100, LARGEST_PAGE)
        page = await self._executor.list(
            request.flow or None, status, since=since, limit=limit, cursor=request.cursor or None
        )
        reply = pb.ListExecutionsReply(next=page.cursor or "")
        for info in page.items:
            reply.executions.add(
                id=info.execution, flow=info.flow, revision=info.revision, status=_wire(info.status),
                parent=info.parent or "", time_utc=info.time_utc, ended_utc=info.ended_utc,
            )  # fmt: skip
        return reply

    async def history(self, principal: Principal, request: pb.ExecutionRequest) -> pb.HistoryReply:
        """What has happened to it."""
        found = await self._executor.history(request.flow or None, request.id)
        return pb.HistoryReply(moves=[move_of(transition) for transition in found])

    async def explain(self, principal: Principal, request: pb.ExecutionRequest) -> pb.ExplainReply:
        """What it waits for."""
        found = await self._executor.explain(request.flow or None, request.id)
        reply = pb.ExplainReply(status=_wire(found.status))
        for reason in found.reasons:
            reply.reasons.add(
                step=reason.step or "", kind=reason.kind, text=reason.text[:4_000], waits_for=reason.waits_for[:100],
                seconds=reason.seconds,
            )  # fmt: skip
        return reply


def _wire(status: Status) -> Any:
    """A status as protobuf takes it: the numbers are the same."""
    return int(status)


def _status(status: Status) -> pb.StatusReply:
    return pb.StatusReply(status=_wire(status))


def value_of(request: pb.ExecuteRequest) -> Any:
    """The request value. Raises `PayloadError`."""
    if not request.json:
        return request.data
    import orjson

    try:
        return orjson.loads(request.data)
    except orjson.JSONDecodeError as error:
        raise PayloadError(f"ExecuteRequest.data is not JSON: {error}", fix="or leave out `json`") from None


def options_of(request: pb.ExecuteRequest) -> dict[str, Any]:
    """The keywords of ``Flow.execute`` that a request asks for; none for a plain one."""
    given: dict[str, Any] = {}
    if request.id:
        given["id"] = check_id(request.id, "execution id")
    if request.step:
        given["step"] = request.step
    if request.output:
        given["output"] = request.output
    for name in ("timeout", "concurrency", "retries", "priority"):
        if request.HasField(name):
            given[name] = getattr(request, name)
    if request.unresolved_wait:
        given["unresolved"] = "wait"
    if request.no_rollback:
        given["rollback"] = False
    if request.inputs:
        given["inputs"] = dict(request.inputs)
    if request.context:
        given["context"] = dict(request.context)
    return given


def fill_reply(reply: pb.ExecuteReply, execution: Any) -> pb.ExecuteReply:
    """Write down how an execution stands."""
    reply.id = execution.id
    error = execution.error
    if error is None and execution.over:
        reply.status = SUCCESS
        try:
            reply.data, reply.json = encode_outcome(execution.response, "result")
        except PayloadError as unfit:
            reply.error.CopyFrom(info_of(unfit))
        return reply
    reply.status = _wire(execution.status)
    if error is not None:
        reply.error.CopyFrom(info_of(error))
    return reply


def move_of(transition: Transition) -> pb.Move:
    """A transition as a message; its time in UTC seconds."""
    return pb.Move(
        step=transition.step or "", status=_wire(transition.status), time=transition.time.timestamp(),
        attempt=transition.attempt,
    )  # fmt: skip

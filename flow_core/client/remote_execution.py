"""`RemoteExecutor` and `RemoteExecution`: a server's executions with the methods of local ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from datetime import UTC, datetime
from typing import Any

from flow_core.client.channel import CallError, Channel, failure
from flow_core.errors import FlowError, IllegalMove
from flow_core.model.explanation import Explanation, Reason
from flow_core.model.interface import ExecutionLike, ExecutorLike
from flow_core.model.payload import decode_outcome
from flow_core.model.records import ExecutionInfo, Page
from flow_core.model.status import Status
from flow_core.model.transition import Transition
from flow_core.proto import flow_pb2 as pb
from flow_core.proto.errors import error_of

__all__ = ["RemoteExecution", "RemoteExecutor"]


class RemoteExecution(ExecutionLike):
    """The handle of an execution of a server. ``await`` it for its result::

        execution = await flows.execute("checkout", {"amount": 5}, async_=True)
        async for move in execution:
            print(move.step, move.status)
        print(await execution)

    ``status``, ``error`` and ``response`` are as the server last reported them; `refresh` asks for the status.
    """

    def __init__(self, channel: Channel, flow: str, reply: pb.ExecuteReply) -> None:
        self._channel = channel
        self._flow = flow
        self._id = reply.id
        self._take(reply)

    def _take(self, reply: pb.ExecuteReply) -> None:
        self._reply = reply
        self._status = Status(reply.status)
        self._error: FlowError | None = None
        if reply.HasField("error"):
            self._error = error_of(reply.error)
            self._error.execution = self
            self._error.flow = self._error.flow or self.flow

    @property
    def id(self) -> str:
        """Id of the execution."""
        return self._id

    @property
    def flow(self) -> str:
        """Name of the flow."""
        return self._flow

    @property
    def status(self) -> Status:
        """The status that the server last reported."""
        return self._status

    @property
    def over(self) -> bool:
        """Whether it had ended by then."""
        return self._status.terminal

    @property
    def error(self) -> FlowError | None:
        """The error that ended it; None while it runs, and when it succeeded."""
        return self._error

    @property
    def response(self) -> Any:
        """The result value; None while there is none."""
        if self._status is not Status.SUCCESS or self.error is not None:
            return None
        return decode_outcome(self._reply.data, self._reply.json)

    async def refresh(self) -> Status:
        """Ask the server for the status."""
        if not self.over:
            reply = await self._channel.call("GetStatus", self._where())
            self._status = Status(reply.status)
            if self.over:  # its end is told with its result
                await self.wait()
        return self._status

    async def wait(self) -> Status:
        if not self._reply.status or not Status(self._reply.status).terminal:
            self._take(await self._channel.call("Wait", self._where()))
        return self._status

    def __await__(self) -> Generator[Any, None, Any]:
        yield from self.wait().__await__()
        return self.outcome()

    def outcome(self) -> Any:
        if not self.over:
            raise IllegalMove(f"execution {self.id} is not over: it is {self.status.name}", execution=self)
        if self.error is not None:
            raise self.error
        return self.response

    async def pause(self) -> None:
        self._status = Status((await self._channel.call("Pause", self._where())).status)

    async def resume(self) -> None:
        self._status = Status((await self._channel.call("Resume", self._where())).status)

    async def abort(self, *, rollback: bool = False) -> None:
        await self._channel.call("Abort", pb.AbortRequest(flow=self.flow, id=self.id, rollback=rollback))
        await self.wait()

    async def __aiter__(self) -> AsyncIterator[Transition]:
        """Its transitions, past ones first, until it ends. Raises `Unavailable` when the connection is lost."""
        call = self._channel.stream("WatchExecution", self._where())
        try:
            async for move in call:
                yield _transition(move)
        except CallError as error:
            raise failure(self._channel.target, error) from None
        finally:
            call.cancel()

    def _where(self) -> pb.ExecutionRequest:
        return pb.ExecutionRequest(flow=self.flow, id=self.id)

    def __repr__(self) -> str:
        return f"<RemoteExecution {self.id} of {self.flow} {self.status.name}>"


class RemoteExecutor(ExecutorLike):
    """The executor of a server::

        page = await flows.executor.list("checkout", Status.PAUSED)
        for found in page.items:
            await flows.executor.resume(found.flow, found.execution)

    It looks up and controls executions by flow and id.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def status(self, flow: str | None, id: str) -> Status:
        return Status((await self._channel.call("GetStatus", _where(flow, id))).status)

    async def result(self, flow: str | None, id: str, step: str) -> bytes:
        reply = await self._channel.call("Result", pb.ResultRequest(flow=flow or "", id=id, step=step))
        data: bytes = reply.data
        return data

    async def wait(self, flow: str | None, id: str) -> Status:
        return (await self.ended(flow, id)).status

    async def ended(self, flow: str | None, id: str) -> RemoteExecution:
        return RemoteExecution(self._channel, flow or "", await self._channel.call("Wait", _where(flow, id)))

    async def pause(self, flow: str | None, id: str) -> None:
        await self._channel.call("Pause", _where(flow, id))

    async def resume(self, flow: str | None, id: str) -> None:
        await self._channel.call("Resume", _where(flow, id))

    async def abort(self, flow: str | None, id: str, *, rollback: bool = False) -> None:
        await self._channel.call("Abort", pb.AbortRequest(flow=flow or "", id=id, rollback=rollback))

    async def restart(self, flow: str | None, id: str, step: str | None = None) -> RemoteExecution:
        reply = await self._channel.call("Restart", pb.RestartRequest(flow=flow or "", id=id, step=step or ""))
        return RemoteExecution(self._channel, flow or "", reply)

    async def history(self, flow: str | None, id: str) -> list[Transition]:
        """What has happened to an execution so far, in order of time."""
        return [_transition(move) for move in (await self._channel.call("History", _where(flow, id))).moves]

    async def explain(self, flow: str | None, id: str) -> Explanation:
        reply = await self._channel.call("Explain", _where(flow, id))
        reasons = (
            Reason(
                reason.step or None, reason.kind, reason.text, tuple(reason.waits_for),
                reason.seconds if reason.HasField("seconds") else None,
            )
            for reason in reply.reasons
        )  # fmt: skip
        return Explanation(flow or "", id, Status(reply.status), tuple(reasons))

    async def list(
        self, flow: str | None = None, status: Status | None = None, *, since: float | None = None, limit: int = 100,
        cursor: str | None = None,
    ) -> Page:  # fmt: skip
        request = pb.ListExecutionsRequest(flow=flow or "", since=since, limit=limit, cursor=cursor or "")
        if status is not None:
            number: Any = int(status)
            request.status = number
        reply = await self._channel.call("ListExecutions", request)
        return Page([_info(line) for line in reply.executions], reply.next or None)


def _where(flow: str | None, id: str) -> pb.ExecutionRequest:
    return pb.ExecutionRequest(flow=flow or "", id=id)


def _transition(move: pb.Move) -> Transition:
    at = datetime.fromtimestamp(move.time, UTC)
    return Transition(move.step or None, Status(move.status), at, move.attempt)


def _info(line: pb.ExecutionLine) -> ExecutionInfo:
    ended = line.ended_utc if line.HasField("ended_utc") else None
    return ExecutionInfo(
        line.id, line.flow, line.revision, Status(line.status), line.parent or None, line.time_utc, ended, 0, 0
    )

"""`RemoteExecutor` and `RemoteExecution`: executions of a server, asked for as if they were here.

Lives here: both, and reading the messages they get. Does not live here: starting executions (``client.py``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from datetime import UTC, datetime
from typing import Any

from flow_core import Explanation, Reason, Transition
from flow_core.client.channel import CallError, Channel, failure
from flow_core.errors import FlowError, IllegalMove
from flow_core.model.payload import decode_outcome
from flow_core.model.records import ExecutionInfo, Page
from flow_core.model.status import Status
from flow_core.proto import flow_pb2 as pb
from flow_core.proto.errors import error_of

__all__ = ["RemoteExecution", "RemoteExecutor"]


class RemoteExecution:
    """The handle of an execution of a server. ``await`` it for its result.

    ``status``, ``error`` and ``response`` are as they were told last; ``refresh`` asks for the status.
    """

    def __init__(self, channel: Channel, flow: str, reply: pb.ExecuteReply) -> None:
        self._channel = channel
        self.flow = flow
        self.id = reply.id
        self._take(reply)

    def _take(self, reply: pb.ExecuteReply) -> None:
        self._reply = reply
        self._status = Status(reply.status)
        self.error: FlowError | None = None
        if reply.HasField("error"):
            self.error = error_of(reply.error)
            self.error.execution = self
            self.error.flow = self.error.flow or self.flow

    @property
    def status(self) -> Status:
        """The status that was told last."""
        return self._status

    @property
    def over(self) -> bool:
        """Whether it had ended by then."""
        return self._status.terminal

    @property
    def response(self) -> Any:
        """The result value; None while there is none."""
        if self._status is not Status.SUCCESS or self.error is not None:
            return None
        return decode_outcome(self._reply.data, self._reply.json)

    async def refresh(self) -> Status:
        """Ask for the status."""
        if not self.over:
            reply = await self._channel.call("GetStatus", self._where())
            self._status = Status(reply.status)
            if self.over:  # its end is told with its result
                await self.wait()
        return self._status

    async def wait(self) -> Status:
        """Wait for the end, however it comes. Cancelling the wait leaves the execution alone."""
        if not self._reply.status or not Status(self._reply.status).terminal:
            self._take(await self._channel.call("Wait", self._where()))
        return self._status

    def __await__(self) -> Generator[Any, None, Any]:
        yield from self.wait().__await__()
        return self.outcome()

    def outcome(self) -> Any:
        """The result value of an execution that is over; raises what decided its end when it did not succeed."""
        if not self.over:
            raise IllegalMove(f"execution {self.id} is not over: it is {self.status.name}", execution=self)
        if self.error is not None:
            raise self.error
        return self.response

    async def result(self, step: str) -> bytes:
        """Output of a step as bytes. Raises `UnknownStep`, `IllegalMove`."""
        reply = await self._channel.call("Result", pb.ResultRequest(flow=self.flow, id=self.id, step=step))
        data: bytes = reply.data
        return data

    async def pause(self) -> None:
        """See `Execution.pause`."""
        self._status = Status((await self._channel.call("Pause", self._where())).status)

    async def resume(self) -> None:
        """See `Execution.resume`."""
        self._status = Status((await self._channel.call("Resume", self._where())).status)

    async def abort(self, *, rollback: bool = False) -> None:
        """See `Execution.abort`."""
        await self._channel.call("Abort", pb.AbortRequest(flow=self.flow, id=self.id, rollback=rollback))
        await self.wait()

    async def history(self) -> list[Transition]:
        """What has happened so far, in order of time."""
        return [_transition(move) for move in (await self._channel.call("History", self._where())).moves]

    async def __aiter__(self) -> AsyncIterator[Transition]:
        """Its transitions, past ones first, until it is over. After a lost connection it goes on where it was."""
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


class RemoteExecutor:
    """The executor of a server, with the methods of `Executor` that ask by flow and id."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def status(self, flow: str, id: str) -> Status:
        """Status of an execution."""
        return Status((await self._channel.call("GetStatus", pb.ExecutionRequest(flow=flow, id=id))).status)

    async def result(self, flow: str, id: str, step: str) -> bytes:
        """Output of a step, as bytes."""
        data: bytes = (await self._channel.call("Result", pb.ResultRequest(flow=flow, id=id, step=step))).data
        return data

    async def wait(self, flow: str, id: str) -> Status:
        """Wait for the end, however it comes."""
        return (await self.ended(flow, id)).status

    async def ended(self, flow: str, id: str) -> RemoteExecution:
        """Wait for the end, and return the handle."""
        reply = await self._channel.call("Wait", pb.ExecutionRequest(flow=flow, id=id))
        return RemoteExecution(self._channel, flow, reply)

    async def pause(self, flow: str, id: str) -> None:
        """No new step starts."""
        await self._channel.call("Pause", pb.ExecutionRequest(flow=flow, id=id))

    async def resume(self, flow: str, id: str) -> None:
        """Go on."""
        await self._channel.call("Resume", pb.ExecutionRequest(flow=flow, id=id))

    async def abort(self, flow: str, id: str, *, rollback: bool = False) -> None:
        """End it."""
        await self._channel.call("Abort", pb.AbortRequest(flow=flow, id=id, rollback=rollback))

    async def restart(self, flow: str, id: str, step: str | None = None) -> RemoteExecution:
        """The same request again, as a new execution; from ``step`` on, with the recorded outputs before it."""
        reply = await self._channel.call("Restart", pb.RestartRequest(flow=flow, id=id, step=step or ""))
        return RemoteExecution(self._channel, flow, reply)

    async def history(self, flow: str, id: str) -> list[Transition]:
        """What has happened to it so far, in order of time."""
        reply = await self._channel.call("History", pb.ExecutionRequest(flow=flow, id=id))
        return [_transition(move) for move in reply.moves]

    async def explain(self, flow: str, id: str) -> Explanation:
        """What it waits for."""
        reply = await self._channel.call("Explain", pb.ExecutionRequest(flow=flow, id=id))
        reasons = (
            Reason(
                reason.step or None, reason.kind, reason.text, tuple(reason.waits_for),
                reason.seconds if reason.HasField("seconds") else None,
            )
            for reason in reply.reasons
        )  # fmt: skip
        return Explanation(flow, id, Status(reply.status), tuple(reasons))

    async def list(
        self,
        flow: str | None = None,
        status: Status | None = None,
        *,
        since: float | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """Executions, newest first. ``since``: UTC seconds."""
        request = pb.ListExecutionsRequest(flow=flow or "", since=since, limit=limit, cursor=cursor or "")
        if status is not None:
            number: Any = int(status)
            request.status = number
        reply = await self._channel.call("ListExecutions", request)
        return Page([_info(line) for line in reply.executions], reply.next or None)


def _transition(move: pb.Move) -> Transition:
    at = datetime.fromtimestamp(move.time, UTC)
    return Transition(move.step or None, Status(move.status), at, move.attempt)


def _info(line: pb.ExecutionLine) -> ExecutionInfo:
    ended = line.ended_utc if line.HasField("ended_utc") else None
    return ExecutionInfo(
        line.id, line.flow, line.revision, Status(line.status), line.parent or None, line.time_utc, ended, 0, 0
    )

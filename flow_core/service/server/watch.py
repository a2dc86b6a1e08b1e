"""The streams that tell what happens: changes of flows and owners, transitions of an execution."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from flow_core.errors import LimitExceeded
from flow_core.model.revisions import RevisionChange
from flow_core.proto import flow_pb2 as pb
from flow_core.service.security.guard import Principal
from flow_core.service.server.context import ServerContext
from flow_core.service.server.executions import move_of

__all__ = ["WatchMethods"]

#: Changes that wait for a slow watcher; beyond it the stream ends.
MOST_WAITING: Final = 10_000


class WatchMethods:
    """The methods that stream changes of flows, and the transitions of an execution."""

    def __init__(self, server: ServerContext) -> None:
        self._server = server

    async def watch_flows(self, principal: Principal, request: pb.WatchFlowsRequest) -> AsyncIterator[pb.FlowChange]:
        """Changes without end, past ones first with ``since``.

        Raises:
            InvalidOption: past changes are not known that far back. LimitExceeded: the watcher is too slow.
        """
        server, wanted = self._server, request.flow
        queue: asyncio.Queue[pb.FlowChange] = asyncio.Queue()

        def changed(change: RevisionChange) -> None:
            if wanted in ("", change.flow):
                queue.put_nowait(_message(change))

        def moved(owner: str, here: bool) -> None:
            for message in self._moved(wanted, owner, here):
                queue.put_nowait(message)

        silence, deaf = server.flow.on_change(changed), server.presence.listen(moved)
        try:
            told = 0
            if wanted and request.HasField("since"):
                for change in await server.audit_log.since(wanted, request.since):
                    told = change.revision
                    yield _message(change)
            while True:
                message = await queue.get()
                if not server.guard.valid(principal):  # its key was revoked while nothing happened
                    return
                if message.revision and message.revision <= told and message.flow == wanted:
                    continue
                if queue.qsize() > MOST_WAITING:
                    raise LimitExceeded(
                        f"more than {MOST_WAITING} changes wait for this watcher", fix="Lookup, then watch again"
                    )
                yield message
        finally:
            silence()
            deaf()

    def _moved(self, wanted: str, owner: str, here: bool) -> list[pb.FlowChange]:
        """An owner vanished or came back: one message for each flow that it has steps in."""
        owners = self._server.flow.ownership
        names = [name for name in sorted(owners) if wanted in ("", name) and owner in owners[name].values()]
        return [pb.FlowChange(flow=name, owner=owner, available=here) for name in names]

    async def watch_execution(self, principal: Principal, request: pb.ExecutionRequest) -> AsyncIterator[pb.Move]:
        """The transitions of an execution, past ones first, until it is over."""
        executor = self._server.flow.executor
        await executor.status(request.flow or None, request.id)
        try:
            execution = executor.find(request.flow or None, request.id)
        except LookupError:  # the store alone knows it
            for transition in await executor.history(request.flow or None, request.id):
                yield move_of(transition)
            return
        async for transition in execution:
            if not self._server.guard.valid(principal):
                return
            yield move_of(transition)


def _message(change: RevisionChange) -> pb.FlowChange:
    return pb.FlowChange(
        flow=change.flow, revision=change.revision, created=[step.id for step in change.created],
        deleted=[change.deleted] if change.deleted else [], owner=change.owner,
    )  # fmt: skip

"""The methods about definitions: create, delete, replace, look up, audit log, heartbeats."""

from __future__ import annotations

import time
from typing import Any, Final

from flow_core.errors import DecodeError, LimitExceeded, PermissionDenied
from flow_core.model.ids import check_id, seconds
from flow_core.model.options import Author
from flow_core.model.step import Step
from flow_core.proto import flow_pb2 as pb
from flow_core.proto.encoding import decode_step
from flow_core.service.security.guard import Principal
from flow_core.service.server.context import ServerContext
from flow_core.service.server.lookups import Lookups

__all__ = ["FlowMethods"]

#: Most steps of a flow that is registered over the network.
MOST_STEPS: Final = 10_000


class FlowMethods:
    """The methods about definitions. Each takes the caller and the request, and returns the reply."""

    def __init__(self, server: ServerContext) -> None:
        self._server = server
        self._lookups = Lookups(server)

    async def create_step(self, principal: Principal, request: pb.CreateStepRequest) -> pb.ChangeReply:
        """Add steps, all or none."""
        server = self._server
        owner = check_id(request.owner, "owner") if request.owner else principal.name
        lease = seconds(request.lease, "lease") if request.HasField("lease") else None
        steps = [self._step(step, f"CreateStepRequest.steps[{i}]") for i, step in enumerate(request.steps)]
        self._refuse_too_many(request.flow, [step.id for step in steps])
        revision = await server.flow.create_steps(
            request.flow, steps, revision=_revision(request), author=self._author(owner, principal)
        )
        server.presence.registered(owner, lease)
        return pb.ChangeReply(revision=revision)

    async def delete_step(self, principal: Principal, request: pb.DeleteStepRequest) -> pb.ChangeReply:
        """Take a step out."""
        revision = await self._server.flow.delete_step(
            request.flow, request.step, revision=_revision(request), author=self._author("", principal)
        )
        return pb.ChangeReply(revision=revision)

    async def replace_step(self, principal: Principal, request: pb.ReplaceStepRequest) -> pb.ChangeReply:
        """Put a step in the place of another; it stays whose it was."""
        server = self._server
        lease = seconds(request.lease, "lease") if request.HasField("lease") else None
        new = self._step(getattr(request, "with"), "ReplaceStepRequest.with")
        revision = await server.flow.replace_step(
            request.flow, request.step, new, revision=_revision(request), author=self._author("", principal)
        )
        server.presence.registered((await server.flow.owners(request.flow)).get(new.id, principal.name), lease)
        return pb.ChangeReply(revision=revision)

    async def lookup(self, principal: Principal, request: pb.LookupRequest) -> bytes:
        """The steps of a flow, encoded already."""
        return await self._lookups.reply(request.flow)

    async def list_flows(self, principal: Principal, request: pb.ListFlowsRequest) -> pb.ListFlowsReply:
        """Names, revisions and sizes."""
        server, reply = self._server, pb.ListFlowsReply()
        for name in await server.flow.flows():
            reply.flows.add(
                flow=name, revision=await server.flow.revision(name), steps=len(server.audit_log.steps.get(name, ()))
            )
        return reply

    async def unresolved(self, principal: Principal, request: pb.LookupRequest) -> pb.UnresolvedReply:
        """What others name and nobody registered."""
        reply = pb.UnresolvedReply()
        for missing, by in (await self._server.flow.unresolved(request.flow)).items():
            reply.missing[missing].steps.extend(by)
        return reply

    async def audit(self, principal: Principal, request: pb.AuditRequest) -> pb.AuditReply:
        """Who changed what."""
        return await self._server.audit_log.page(request.flow, request.limit, request.cursor)

    async def heartbeat(self, principal: Principal, request: pb.HeartbeatRequest) -> pb.HeartbeatReply:
        """Renew a lease."""
        owner = request.owner or principal.name
        if owner != principal.name and not self._server.guard.may_serve(principal, owner):
            raise PermissionDenied(f"{principal.name!r} may not send the heartbeat of {owner!r:.80}")
        return pb.HeartbeatReply(lease=self._server.presence.beat(owner))

    def _step(self, message: pb.Step, where: str) -> Step:
        try:
            return decode_step(message, self._server.flow.operations)
        except DecodeError as error:
            raise type(error)(f"{where}: {error.message}", fix=error.fix) from error

    def _refuse_too_many(self, flow: str, new: list[str]) -> None:
        known: Any = self._server.audit_log.steps.get(flow, {})
        count = len(known) + sum(step not in known for step in new)
        if count > MOST_STEPS and new:
            raise LimitExceeded(
                f"flow {flow!r:.80} would have {count} steps, the limit MOST_STEPS over the network is {MOST_STEPS}",
                fix="split it into flows that execute each other",
            )

    def _author(self, owner: str, principal: Principal) -> Author:
        guard = self._server.guard
        return Author(owner, principal.name, time.time(), lambda whose: guard.may_change(principal, whose))


def _revision(request: Any) -> int | None:
    return request.revision if request.HasField("revision") else None

"""`ServerContext`: what the handlers of one server share."""

from __future__ import annotations

from dataclasses import dataclass, field

from flow_core import Flow
from flow_core.service.security.guard import Guard
from flow_core.service.server.audit_log import AuditLog
from flow_core.service.server.throttle import Throttle
from flow_core.service.workers.presence import Presence
from flow_core.service.workers.router import WorkerRouter

__all__ = ["ServerContext"]


@dataclass(slots=True)
class ServerContext:
    """What the handlers of one server share: the flow, the guard, and who is connected.

    Attributes:
        draining: the server takes no new work.
        throttle: slows down those who change flows.
    """

    flow: Flow
    guard: Guard
    router: WorkerRouter
    audit_log: AuditLog
    draining: bool = False
    throttle: Throttle = field(default_factory=Throttle)

    @property
    def presence(self) -> Presence:
        """Which owners of steps are connected."""
        return self.router.presence

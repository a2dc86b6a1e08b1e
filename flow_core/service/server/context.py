"""`Hub`: what the handlers of one server share.

Lives here: the record. Does not live here: its making (``server.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from flow_core import Flow
from flow_core.service.security.guard import Guard
from flow_core.service.server.audit_log import Ledger
from flow_core.service.server.throttle import Line
from flow_core.service.workers.presence import Owners
from flow_core.service.workers.router import ServedClients

__all__ = ["Hub"]


@dataclass(slots=True)
class Hub:
    """See the module.

    Attributes:
        draining: the server takes no new work.
        line: of those who change flows.
    """

    flow: Flow
    guard: Guard
    served: ServedClients
    ledger: Ledger
    draining: bool = False
    line: Line = field(default_factory=Line)

    @property
    def owners(self) -> Owners:
        """Who is there."""
        return self.served.owners

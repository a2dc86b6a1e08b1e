"""The methods of the service, as one table: the server, the client, the tests and the docs are drawn from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from flow_core.proto import flow_pb2 as pb

__all__ = ["MAX_MESSAGE", "METHODS", "SERVICES", "Method"]

#: Largest message, bytes.
MAX_MESSAGE: Final = 4 * 1024 * 1024

FLOWS: Final = "go.micro.flow.FlowService"
EXECUTIONS: Final = "go.micro.flow.ExecutorService"
#: Full names of the services.
SERVICES: Final = (FLOWS, EXECUTIONS)


class Method(NamedTuple):
    """One method of the service.

    Attributes:
        name: in ``flow.proto``; also the verb that the guard is asked about.
        repeatable: sent twice it does what it does once: a client may repeat it when the answer was lost.
        starts: it brings new work, which a server that drains refuses.
        changes: it changes a flow: it stands in the line, which lets others pass.
    """

    service: str
    name: str
    request: Any
    reply: Any
    stream_in: bool = False
    stream_out: bool = False
    repeatable: bool = True
    starts: bool = False
    changes: bool = False

    @property
    def path(self) -> str:
        """Its path in HTTP/2, ``/package.Service/Method``."""
        return f"/{self.service}/{self.name}"

    @property
    def python(self) -> str:
        """Its name in Python, e.g. ``create_step``."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.name).lower()


_TABLE: Final = (
    # To create what is there already changes nothing; with `revision` the second one is refused, and nothing is lost.
    Method(FLOWS, "CreateStep", pb.CreateStepRequest, pb.ChangeReply, changes=True),
    Method(FLOWS, "DeleteStep", pb.DeleteStepRequest, pb.ChangeReply, repeatable=False, changes=True),
    Method(FLOWS, "ReplaceStep", pb.ReplaceStepRequest, pb.ChangeReply, repeatable=False, changes=True),
    Method(FLOWS, "Lookup", pb.LookupRequest, pb.LookupReply),
    Method(FLOWS, "ListFlows", pb.ListFlowsRequest, pb.ListFlowsReply),
    Method(FLOWS, "Unresolved", pb.LookupRequest, pb.UnresolvedReply),
    Method(FLOWS, "WatchFlows", pb.WatchFlowsRequest, pb.FlowChange, stream_out=True),
    Method(FLOWS, "Audit", pb.AuditRequest, pb.AuditReply),
    Method(FLOWS, "Serve", pb.ServeRequest, pb.ServeReply, stream_in=True, stream_out=True, starts=True),
    Method(FLOWS, "Heartbeat", pb.HeartbeatRequest, pb.HeartbeatReply),
    # Repeatable with an id of the caller's own only: the client sees to that.
    Method(EXECUTIONS, "Execute", pb.ExecuteRequest, pb.ExecuteReply, repeatable=False, starts=True),
    Method(
        EXECUTIONS, "ExecuteMany", pb.ExecuteBatch, pb.ExecuteBatchReply,
        stream_in=True, stream_out=True, repeatable=False, starts=True,
    ),
    Method(EXECUTIONS, "Wait", pb.ExecutionRequest, pb.ExecuteReply),
    Method(EXECUTIONS, "Pause", pb.ExecutionRequest, pb.StatusReply),
    Method(EXECUTIONS, "Resume", pb.ExecutionRequest, pb.StatusReply),
    Method(EXECUTIONS, "Abort", pb.AbortRequest, pb.StatusReply),
    Method(EXECUTIONS, "Restart", pb.RestartRequest, pb.ExecuteReply, repeatable=False, starts=True),
    Method(EXECUTIONS, "GetStatus", pb.ExecutionRequest, pb.StatusReply),
    Method(EXECUTIONS, "Result", pb.ResultRequest, pb.ResultReply),
    Method(EXECUTIONS, "ListExecutions", pb.ListExecutionsRequest, pb.ListExecutionsReply),
    Method(EXECUTIONS, "History", pb.ExecutionRequest, pb.HistoryReply),
    Method(EXECUTIONS, "Explain", pb.ExecutionRequest, pb.ExplainReply),
    Method(EXECUTIONS, "WatchExecution", pb.ExecutionRequest, pb.Move, stream_out=True),
)  # fmt: skip

#: Name -> method.
METHODS: Final[Mapping[str, Method]] = MappingProxyType({method.name: method for method in _TABLE})

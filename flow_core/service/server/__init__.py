"""The server: methods of the Flow service over the flows of one process."""

from flow_core.service.server.server import FlowServer

__all__ = ["FlowServer"]

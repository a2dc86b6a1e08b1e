"""Calls to services: the contract of clients, and the one that stays inside the process.

Lives here: ``base`` (the contract), ``memory``, and one file per network client. Does not live here: the operation that
calls (``operations/client_call.py``).
"""

from flow_core.rpc.base import RpcClient, RpcStatistics
from flow_core.rpc.memory import MemoryRpcClient

__all__ = ["MemoryRpcClient", "RpcClient", "RpcStatistics"]

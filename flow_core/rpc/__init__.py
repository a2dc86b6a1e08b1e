"""Calls to services: the contract of clients, and the one that stays inside the process.

Lives here: ``base`` (the contract), ``memory``, one file per network client (imported when it is used), and
``clients``, which knows where each service is. Does not live here: the operation that calls
(``operations/client_call.py``).
"""

from flow_core.net.tls import Tls
from flow_core.rpc.base import RpcClient, RpcStatistics
from flow_core.rpc.memory import MemoryRpcClient
from flow_core.rpc.router import Clients

__all__ = ["Clients", "MemoryRpcClient", "RpcClient", "RpcStatistics", "Tls"]

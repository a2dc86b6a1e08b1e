"""Calls to services: the contract of clients, and the one that stays inside the process.

The clients of networks (``grpc``, ``http``, ``nats``) are imported by those who use them.
"""

from flow_core.net.tls import Tls
from flow_core.rpc.base import RpcClient, RpcStatistics
from flow_core.rpc.memory import MemoryRpcClient
from flow_core.rpc.router import Clients

__all__ = ["Clients", "MemoryRpcClient", "RpcClient", "RpcStatistics", "Tls"]

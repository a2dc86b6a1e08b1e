"""The gRPC client against the contract, on a real server, and what is its own: statuses, metadata, deadlines."""

import pytest

pytest.importorskip("grpc")

from flow_core.rpc.grpc import GrpcRpcClient
from tests.rpc.contract import RpcContract
from tests.rpc.network import NetworkSetup
from tests.servers.grpc_server import GrpcServer


class GrpcSetup(NetworkSetup):
    server_class = GrpcServer
    client_class = GrpcRpcClient


@pytest.fixture
def setup():
    return GrpcSetup()


class TestContract(RpcContract):
    """All promises of ``contract.py``."""

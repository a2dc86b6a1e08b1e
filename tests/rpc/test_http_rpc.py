"""The HTTP client against the contract, on a real server, and what is its own: statuses, headers, the pool."""

import pytest

pytest.importorskip("aiohttp")

from flow_core.rpc.http import HttpRpcClient
from tests.rpc.contract import RpcContract
from tests.rpc.network import NetworkSetup
from tests.servers.http_server import HttpServer


class HttpSetup(NetworkSetup):
    server_class = HttpServer
    client_class = HttpRpcClient


@pytest.fixture
def setup():
    return HttpSetup()


class TestContract(RpcContract):
    """All promises of ``contract.py``."""

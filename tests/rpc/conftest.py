"""The servers, for tests of clients."""

from tests.servers.fixtures import nats_server

__all__ = ["nats_server"]

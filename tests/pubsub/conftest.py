"""The brokers, for tests of clients."""

from tests.servers.fixtures import nats_server, rabbitmq_server, redis_server

__all__ = ["nats_server", "rabbitmq_server", "redis_server"]

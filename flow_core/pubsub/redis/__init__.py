"""Messages over Redis."""

from flow_core.pubsub.redis.client import RedisPubSubClient

__all__ = ["RedisPubSubClient"]

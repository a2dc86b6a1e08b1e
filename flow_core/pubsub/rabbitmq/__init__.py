"""Messages over RabbitMQ."""

from flow_core.pubsub.rabbitmq.client import RabbitMqPubSubClient

__all__ = ["RabbitMqPubSubClient"]

"""Messages: the contract of clients, and the broker that stays inside the process.

The clients of networks (``nats``, ``redis``, ``rabbitmq``) are imported by those who use them.
"""

from flow_core.pubsub.base import Message, PubSubClient, PubSubStatistics, Subscription
from flow_core.pubsub.memory import MemoryPubSubClient

__all__ = ["MemoryPubSubClient", "Message", "PubSubClient", "PubSubStatistics", "Subscription"]

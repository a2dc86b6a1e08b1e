"""Messages: the contract of clients, and the broker that stays inside the process.

Lives here: ``base`` (the contract), ``replies`` (who waits for which reply), ``memory``, and ``nats``, ``redis``,
``rabbitmq``, which are imported by those who use them. Does not live here: the operation that publishes
(``operations/client_publish.py``), connections (``links``).
"""

from flow_core.pubsub.base import Message, PubSubClient, PubSubStatistics, Subscription
from flow_core.pubsub.memory import MemoryPubSubClient

__all__ = ["MemoryPubSubClient", "Message", "PubSubClient", "PubSubStatistics", "Subscription"]

"""Messages: the contract of clients, and the broker that stays inside the process.

Lives here: ``base`` (the contract), ``replies`` (who waits for which reply), ``memory``, and one file per broker. Does
not live here: the operation that publishes (``operations/client_publish.py``).
"""

from flow_core.pubsub.base import Message, PubSubClient, PubSubStatistics, Subscription
from flow_core.pubsub.memory import MemoryPubSubClient

__all__ = ["MemoryPubSubClient", "Message", "PubSubClient", "PubSubStatistics", "Subscription"]

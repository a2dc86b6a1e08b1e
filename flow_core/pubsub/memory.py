"""`MemoryPubSubClient`: a broker inside the process, for tests, demos and embedding."""

from __future__ import annotations

from collections.abc import Mapping

from flow_core.errors import Unavailable, did_you_mean
from flow_core.pubsub.base import Message, PubSubClient, Subscription

__all__ = ["MemoryPubSubClient"]


class MemoryPubSubClient(PubSubClient):
    """Gives each message to every subscription of its topic. Nothing is kept for those that subscribe later.

    Example::

        broker = MemoryPubSubClient()
        flow = Flow(pubsub=broker)
    """

    def __init__(self) -> None:
        super().__init__()
        self._topics: dict[str, list[Subscription]] = {}

    async def _publish(self, topic: str, data: bytes, headers: Mapping[str, str], confirm: bool) -> bytes:
        subscriptions = self._topics.get(topic)
        if not subscriptions:
            self._unroutable += 1
            if confirm:
                raise Unavailable(
                    f"message to {topic!r} is unroutable: nobody is subscribed", fix=did_you_mean(topic, self._topics)
                )
            return b""
        for subscription in tuple(subscriptions):
            subscription.deliver(Message(topic, data, headers, self))
        return b""

    async def _subscribe(self, subscription: Subscription) -> None:
        self._topics.setdefault(subscription.topic, []).append(subscription)

    async def _unsubscribe(self, subscription: Subscription) -> None:
        subscriptions = self._topics.get(subscription.topic, [])
        if subscription in subscriptions:
            subscriptions.remove(subscription)
        if not subscriptions:
            self._topics.pop(subscription.topic, None)

    async def _reply(self, subject: str, data: bytes, headers: Mapping[str, str]) -> None:
        if not self._replies.deliver(subject, data):
            self._unroutable += 1

    async def _close(self) -> None:
        self._topics.clear()

"""Without its library a client says which extra to install, and nothing else of the package needs it."""

import importlib
import sys

import pytest

CLIENTS = [
    ("flow_core.pubsub.nats", "NatsPubSubClient", "nats://h", "nats", "nats"),
    ("flow_core.pubsub.redis.client", "RedisPubSubClient", "redis://h", "redis", "redis"),
    ("flow_core.pubsub.rabbitmq.client", "RabbitMqPubSubClient", "amqp://h", "aio_pika", "rabbitmq"),
    ("flow_core.rpc.nats", "NatsRpcClient", "nats://h", "nats", "nats"),
]


@pytest.mark.parametrize(("module", "name", "url", "library", "extra"), CLIENTS)
def test_the_extra_is_named(monkeypatch, module, name, url, library, extra):
    for loaded in [one for one in sys.modules if one.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, library, None)  # as if it were not installed
    client = getattr(importlib.import_module(module), name)
    with pytest.raises(ImportError) as caught:
        client(url)
    assert name in str(caught.value)
    assert f"pip install 'flow-core[{extra}]'" in str(caught.value)

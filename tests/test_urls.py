"""From URLs to brokers and stores: schemes, plug-ins, and what leads to none."""

import sys
import types

import pytest

from flow_core.errors import InvalidOption
from flow_core.plugins import shown
from flow_core.pubsub import MemoryPubSubClient
from flow_core.stores import MemoryStore
from flow_core.stores.sqlite import SqliteStore
from flow_core.urls import PUBSUB, STORES, pubsub_client, store
from tests.plugin_kit import Installer


@pytest.fixture
def install(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    return Installer(tmp_path)


@pytest.mark.parametrize("scheme", sorted(PUBSUB))
def test_the_scheme_chooses_the_broker_and_the_class_gets_the_url(scheme, monkeypatch):
    class Fake(MemoryPubSubClient):
        def __init__(self, url):
            super().__init__()
            self.url = url

    module, _, name = PUBSUB[scheme].partition(":")
    fake = types.ModuleType(module)
    setattr(fake, name, Fake)
    monkeypatch.setitem(sys.modules, module, fake)
    client = pubsub_client(f"{scheme}://127.0.0.1:1/x")
    assert (type(client), client.url) == (Fake, f"{scheme}://127.0.0.1:1/x")


def test_what_is_a_broker_already_stays_it():
    client = MemoryPubSubClient()
    assert pubsub_client(client) is client
    assert pubsub_client(None) is None


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("rediss+x://shop", "did you mean 'rediss'"),
        ("gopher://u:s3cret@shop", r"known are amqp, .*entry point in the group flow_core\.pubsub"),
        ("u:s3cret@shop", "no pubsub client for the scheme 'u'"),
        ("//s3cret", "given by no URL"),
        ({"a": "nats://shop"}, "must be a client or a URL"),
    ],
)
def test_what_leads_to_no_broker_is_refused(spec, match):
    with pytest.raises(InvalidOption, match=match) as caught:
        pubsub_client(spec)
    assert "s3cret" not in str(caught.value)


def test_stores_by_url(tmp_path):
    for spec in (None, "memory:", "memory://"):
        assert type(store(spec)) is MemoryStore
    found = store(f"sqlite:///{tmp_path}/flow.db")
    assert type(found) is SqliteStore
    assert store(found) is found


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("sqllite:///flow.db", "did you mean 'sqlite'"),
        ("mysql://u:s3cret@shop/x", r"known are .*group flow_core\.stores"),
        ("flow.db", "given by no URL"),
        (7, "must be a Store or a URL, not int"),
    ],
)
def test_what_leads_to_no_store_is_refused(spec, match):
    with pytest.raises(InvalidOption, match=match) as caught:
        store(spec)
    assert "s3cret" not in str(caught.value)


def test_a_plugin_brings_a_store(install):
    source = "from flow_core.stores import MemoryStore\nclass Acme(MemoryStore):\n    def __init__(self, url):\n"
    source += "        super().__init__()\n        self.url = url\n"
    install("flow_core.stores", "acme = acme_flow_ops:Acme\n", source)
    assert store("acme://shop").url == "acme://shop"


@pytest.mark.parametrize("scheme", sorted(STORES))
def test_built_in_stores_are_named_by_module_and_class(scheme):
    module, _, name = STORES[scheme].partition(":")
    assert module.startswith("flow_core.stores.")
    assert name.endswith("Store")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("nats://u:p@shop:1/x?token=t#f", "nats://shop:1/x"),
        ("nats://u:p@h@shop", "nats://shop"),
        ("http://shop/a@b", "http://shop/a@b"),
        ("memory:", "memory:"),
        ("http://shop?x=/u@v", "http://shop"),
    ],
)
def test_urls_are_shown_without_secrets(url, text):
    assert shown(url) == text

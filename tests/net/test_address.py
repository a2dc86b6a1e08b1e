"""URLs of servers: what is refused, and that their secrets stay where they are."""

import traceback

import pytest

from flow_core.errors import InvalidOption, Unavailable
from flow_core.net.address import Address


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (None, "must be a str like nats://host:port, not NoneType"),
        ("", "its scheme is missing"),
        ("localhost:4222", "its scheme is missing"),
        ("http://u:hidden@host", "must start with nats or tls; its scheme is 'http'"),
        ("nats://", "names no host"),
        ("nats://u:hidden@", "names no host"),
        ("nats://u:hidden@host:port", "malformed"),
        ("nats://u:hidden@host:99999", "malformed"),
        ("nats://u:hidden@host:0", "names no port"),
        ("nats://u:hidden@[::1", "malformed"),
        ("nats://a:1,http://u:hidden@b:2", "must start with nats or tls"),
    ],
)
def test_a_bad_url_is_named_without_its_secrets(url, says):
    with pytest.raises(InvalidOption) as caught:
        Address(url, ("nats", "tls"), "NatsPubSubClient", several=True)
    told = "".join(traceback.format_exception(caught.value))
    assert says in told
    assert "NatsPubSubClient" in told
    assert "hidden" not in str(caught.value)


def test_several_servers():
    address = Address("nats://u:hidden@a:1, tls://b:2", ("nats", "tls"), "C", several=True)
    assert address.urls == ("nats://u:hidden@a:1", "tls://b:2")
    assert address.shown == repr(address) == "nats://a:1,tls://b:2"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:hidden@h:1/0", "redis://h:1/0"),
        ("redis://user:hidden@h/0?password=hidden2&db=3", "redis://h/0"),
        ("redis://hidden@h", "redis://h"),  # a user alone is a token
        ("unix:///run/redis.sock?password=hidden", "unix:///run/redis.sock"),
    ],
)
def test_what_is_shown_has_no_secrets(url, shown):
    address = Address(url, ("redis", "unix"), "C")
    assert address.shown == shown
    assert "hidden" not in repr(address)
    assert "hidden" not in address.hide(f"can't reach {url}: hidden, hidden2")


def test_a_password_is_masked_as_written_and_as_meant():
    address = Address("redis://user:p%40ss%2Fw0rd@h", ("redis",), "C")
    assert address.hide("p%40ss%2Fw0rd and p@ss/w0rd of user") == "*** and *** of user"


def test_a_cause_that_tells_a_secret_is_left_out():
    address = Address("redis://user:hidden@h", ("redis",), "C")
    harmless, telling = OSError("refused"), OSError("redis://user:hidden@h refused")
    outer = OSError("failed")
    outer.__cause__ = telling
    assert address.cause(harmless) is harmless
    assert address.cause(telling) is None
    assert address.cause(outer) is None
    assert Unavailable("x").__cause__ is None

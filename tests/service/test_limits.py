"""Rates, quotas and strikes, on a clock that the test moves."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_core.errors import InvalidOption, QuotaExceeded
from flow_core.proto.methods import MAX_MESSAGE
from flow_core.service.security.quotas import LOOK_AGAIN, Limits, Meter, Strikes, TokenBucket, network_of


class Clock:
    def __init__(self, at: float = 0.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


class Handle:
    def __init__(self) -> None:
        self.over = False


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rate": 0}, "rate"), ({"rate": float("inf")}, "rate"), ({"rate": True}, "rate"), ({"rate": "9"}, "rate"),
        ({"burst": 0}, "burst"), ({"steps": -1}, "steps"), ({"executions": 1.5}, "executions"),
        ({"message": MAX_MESSAGE + 1}, "no message is larger"),
    ],
)  # fmt: skip
def test_what_is_no_limit(fields, message):
    with pytest.raises(InvalidOption, match=message):
        Limits(**fields)


# --- the bucket -------------------------------------------------------------------------------------------------------


def test_a_burst_at_once_then_the_rate():
    bucket = TokenBucket(rate=10, burst=3, now=0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [0.0, 0.0, 0.0, pytest.approx(0.1)]
    assert bucket.take(0.05) == pytest.approx(0.05)
    assert bucket.take(0.1) == 0.0
    assert bucket.take(100.0, 3) == 0.0 and bucket.take(100.0) > 0, "it holds no more than its burst"


def test_more_than_the_bucket_holds_is_given_once_and_owed():
    bucket = TokenBucket(rate=10, burst=5, now=0.0)
    assert bucket.take(0.0, 20) == 0.0
    assert bucket.take(0.0, 1) == pytest.approx(1.6)
    assert bucket.take(1.6, 1) == 0.0


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 20)), max_size=40), st.integers(1, 50), st.integers(1, 50))
def test_never_more_than_burst_and_rate_together(asked, rate, burst):
    bucket, now, given_ = TokenBucket(rate, burst, 0.0), 0.0, 0
    for pause, count in asked:
        now += pause
        wait = bucket.take(now, count)
        if wait == 0.0:
            given_ += count
            # one ask beyond the burst may be owed; it is paid before the next one is granted
            assert given_ <= burst + rate * now + max(0, count - burst) + 1e-6
        else:
            assert TokenBucket.level(bucket, now + wait + 1e-9) >= min(count, burst) - 1e-6
            now += wait + 1e-9  # `level` moved its clock there


# --- the meter --------------------------------------------------------------------------------------------------------


def test_requests_are_counted_for_each_principal_alone():
    clock = Clock()
    meter = Meter(Limits(rate=2, burst=2), clock)
    meter.request("a", 2)
    with pytest.raises(QuotaExceeded, match="'a' sends too many requests: the limit rate is 2 a second") as caught:
        meter.request("a")
    assert caught.value.retry_after == pytest.approx(0.5)
    meter.request("b")
    clock.at = 0.5
    meter.request("a")


def test_a_message_beyond_the_limit_is_refused_by_name():
    meter = Meter(Limits(message=100), Clock())
    meter.message("a", 100)
    with pytest.raises(QuotaExceeded, match="'a' has 101 bytes, its limit message is 100"):
        meter.message("a", 101)


def test_steps_are_counted_without_asking_until_the_limit_seems_near():
    asked: list[str] = []
    owned = {"a": 3}

    def count(name: str) -> int:
        asked.append(name)
        return owned.get(name, 0)

    meter = Meter(Limits(steps=10), Clock(), count)
    for _ in range(7):
        meter.steps("a", 1)
    assert asked == ["a"]
    owned["a"] = 10
    with pytest.raises(QuotaExceeded, match=r"'a' owns 10 steps and adds 1: the limit steps is 10"):
        meter.steps("a", 1)
    owned["a"] = 4  # it deleted some
    meter.steps("a", 6)
    assert asked == ["a"] * 3
    with pytest.raises(QuotaExceeded):
        Meter(Limits(steps=10), Clock(), count).steps("b", 11)
    Meter(Limits(steps=10), Clock()).steps("b", 11)  # nobody to ask: no limit, as documented


def test_executions_count_until_they_are_over_or_gone():
    clock = Clock(5.0)
    meter = Meter(Limits(executions=3), clock)
    handles = [Handle() for _ in range(3)]
    for handle in handles:
        meter.execution("a")
        meter.started("a", handle)
    with pytest.raises(
        QuotaExceeded, match="'a' has 3 executions under way and starts 1: the limit executions is 3"
    ) as e:
        meter.execution("a")
    assert e.value.retry_after == LOOK_AGAIN
    meter.execution("b", 3)
    handles[0].over = True
    with pytest.raises(QuotaExceeded):  # it just looked
        meter.execution("a")
    clock.at += LOOK_AGAIN
    meter.execution("a")
    del handles[1], handle
    gc.collect()
    clock.at += LOOK_AGAIN
    with pytest.raises(QuotaExceeded, match="under way and starts 4"):
        meter.execution("a", 4)
    meter.execution("a", 2)


# --- strikes ----------------------------------------------------------------------------------------------------------


def test_failures_are_answered_ever_later_and_forgiven_with_time():
    clock = Clock()
    strikes = Strikes(clock, free=3, rate=1.0, longest=5.0)
    assert [strikes.strike("ipv4:10.0.0.1:1") for _ in range(10)] == [0, 0, 0, 1, 2, 3, 4, 5, 5, 5]
    assert strikes.strike("ipv4:10.0.0.2:1") == 0
    assert strikes.strike("ipv4:10.0.0.1:99") == 5, "another port is the same peer"
    clock.at = 8.0
    assert [strikes.strike("ipv4:10.0.0.1:1") for _ in range(4)] == [0, 0, 0, 1]
    assert strikes.total == 16


def test_peers_are_forgotten_the_oldest_first():
    strikes = Strikes(Clock(), free=1)
    strikes.MOST_PEERS = 2  # type: ignore[misc]
    strikes.strike("ipv4:10.0.0.1:1")
    strikes.strike("ipv4:10.0.0.2:1")
    strikes.strike("ipv4:10.0.0.1:1")
    strikes.strike("ipv4:10.0.0.3:1")
    assert strikes.strike("ipv4:10.0.0.1:1") > 0
    assert strikes.strike("ipv4:10.0.0.2:1") == 0


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("ipv4:127.0.0.1:5000", "127.0.0.1"),
        ("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:5000", "2001:db8:1:2::/64"),
        ("ipv6:[2001:db8:1:2::9]:1", "2001:db8:1:2::/64"),
        ("ipv6:%5B::ffff:10.0.0.1%5D:5000", "10.0.0.1"),
        ("unix:", "unix"),
        ("unix:/run/flow.sock", "unix"),
        ("", ""),
        ("nonsense", "nonsense"),
    ],
)
def test_whom_a_peer_counts_as(peer, network):
    assert network_of(peer) == network

"""Counters: exact under threads, frozen snapshots, clear refusals."""

import threading

import pytest

from flow_core.core.counters import Counters


def test_adds_by_name_and_by_index():
    counters = Counters(["a", "b"])
    counters.add("a")
    counters.add(1, 5)
    assert (counters.value(0), counters.value("b")) == (1, 5)
    assert len(counters) == 2
    counters.check()


def test_snapshot_is_immutable_and_of_its_moment():
    counters = Counters(("a",))
    before = counters.snapshot()
    counters.add("a", 2)
    assert dict(before) == {"a": 0}
    assert counters.snapshot()["a"] == 2
    with pytest.raises(TypeError):
        before["a"] = 1


def test_threads_lose_no_count():
    counters = Counters(["n"])
    threads = [threading.Thread(target=lambda: [counters.add("n") for _ in range(2_000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters.value("n") == 8_000


def test_wraps_at_64_bits():
    counters = Counters(["n"])
    counters.add("n", 2**64 - 1)
    counters.add("n", 2)
    assert counters.value("n") == 1


@pytest.mark.parametrize(
    ("key", "error", "text"),
    [
        ("c", KeyError, "no counter 'c'"),
        (2, IndexError, "no counter 2; there are 2"),
        (-1, IndexError, "no counter -1"),
        (True, TypeError, "not bool"),
        (None, TypeError, "not NoneType"),
    ],
)
def test_refuses_unknown_counters(key, error, text):
    counters = Counters(["a", "b"])
    for call in (counters.value, counters.add):
        with pytest.raises(error, match=text):
            call(key)


@pytest.mark.parametrize(("n", "error"), [(-1, ValueError), (2**64, ValueError), (1.0, TypeError), (True, TypeError)])
def test_refuses_bad_amounts(n, error):
    counters = Counters(["a"])
    with pytest.raises(error, match="n must be"):
        counters.add("a", n)
    assert counters.value("a") == 0


@pytest.mark.parametrize(
    ("names", "error", "text"),
    [
        ("ab", TypeError, "sequence"),
        (["a", "a"], ValueError, "'a'"),
        ([1], TypeError, "not int"),
        (3, TypeError, "iterable"),
    ],
)
def test_refuses_bad_names(names, error, text):
    with pytest.raises(error, match=text):
        Counters(names)


def test_no_counters_at_all():
    assert dict(Counters([]).snapshot()) == {}

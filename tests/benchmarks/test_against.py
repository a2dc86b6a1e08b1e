"""Two checkouts against each other: which numbers are compared, and what counts as a loss."""

from __future__ import annotations

import pytest

from benchmarks import against
from benchmarks.runner import Job


def test_rates_are_turned_round_and_ratios_left_out():
    record = {"kind": "figure", "values": {"steps_s": 4.0, "lonely_step_us": 2.0, "fsync_us": None}}
    assert against.numbers(Job(figure="durability"), record) == {
        "durability: steps_s (1/s)": 0.25,
        "durability: lonely_step_us (us)": 2.0,
    }
    assert against.numbers(Job(figure="growth"), {"kind": "figure", "values": {"ratio": 2.0}}) == {}
    assert against.numbers(Job(figure="growth"), {"kind": "failure"}) == {}


@pytest.mark.parametrize(("ratios", "lost"), [([1.0, 1.02, 9.0], 0), ([1.0, 1.04, 1.05], 1)])
def test_the_median_decides(ratios: list[float], lost: int):
    text, count = against.table({"chain": ratios}, 1.03)
    assert count == lost
    assert ("SLOWER" in text) is bool(lost)


def test_a_checkout_that_is_not_built_is_named(tmp_path, capsys):
    assert against.main([str(tmp_path)]) == 2
    assert "scripts/bootstrap" in capsys.readouterr().err

"""The statuses keep the original's numbers, and the table of moves is whole."""

from itertools import product

import pytest

from flow_core.model.status import MOVES, TERMINAL, Status


def test_the_originals_numbers():
    names = ["UNKNOWN", "PENDING", "FAILURE", "SUCCESS", "PAUSED", "ABORTED", "STOPPED"]
    assert [Status(number).name for number in range(7)] == names
    assert (Status.RUNNING, Status.SKIPPED) == (7, 8)
    assert len(Status) == 9


@pytest.mark.parametrize("status", Status)
def test_a_status_is_terminal_exactly_when_nothing_follows(status):
    assert status.terminal is (status in TERMINAL) is (MOVES[status] == frozenset())


def test_every_status_has_a_row_and_can_be_reached():
    assert MOVES.keys() == set(Status)
    reached, before = {Status.UNKNOWN}, set()
    while reached != before:
        before = set(reached)
        reached |= {after for status in before for after in MOVES[status]}
    assert reached == set(Status)


@pytest.mark.parametrize(("start", "end"), list(product(Status, Status)))
def test_walks_that_may_never_be(start, end):
    legal = end in MOVES[start]
    if start is end or start in TERMINAL or end is Status.UNKNOWN:
        assert not legal
    if end in (Status.ABORTED, Status.STOPPED) and start not in TERMINAL and start is not Status.UNKNOWN:
        assert legal, "an abort or a stop reaches everything that is not over"

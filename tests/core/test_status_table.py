"""StatusTable: the C moves are those of `flow_core.model.status`, rows are reused, the window is read-only."""

import gc
from itertools import product

import numpy
import pytest

from flow_core.core.status_table import MOVES, StatusTable
from flow_core.model.status import MOVES as VOCABULARY
from flow_core.model.status import Status


@pytest.mark.parametrize(("source", "to"), list(product(Status, Status)), ids=lambda status: status.name)
def test_every_pair_is_as_legal_as_the_vocabulary_says(source, to):
    legal = to in VOCABULARY[source]
    assert StatusTable.legal(source, to) is legal
    assert (to in MOVES[source]) is legal


def test_the_c_table_knows_no_other_status():
    assert set(MOVES) == set(Status)
    assert all(0 <= to < len(Status) for row in MOVES.values() for to in row)


@pytest.mark.parametrize(("source", "to"), list(product(set(Status) - {Status.UNKNOWN}, Status)), ids=lambda s: s.name)
def test_rows_move_only_as_allowed(source, to):
    table = StatusTable(1)
    row = table.acquire()
    roads = {Status.PENDING: [], Status.RUNNING: [Status.RUNNING], Status.PAUSED: [Status.PAUSED],
             Status.SKIPPED: [Status.SKIPPED]}  # fmt: skip
    for step in roads.get(source, [Status.RUNNING, source]):
        table.move(row, step)
    if to in VOCABULARY[source]:
        table.move(row, to)
        assert table.status(row) == to
    else:
        with pytest.raises(ValueError, match=f"{source.name} -> {to.name}"):
            table.move(row, to)
        assert table.status(row) == source
    table.check()


def test_rows_are_reused_with_another_generation():
    table = StatusTable(2)
    first, second = table.acquire(), table.acquire()
    table.move(first, Status.RUNNING)
    table.release(first)
    assert (table.status(first), len(table)) == (Status.UNKNOWN, 1)
    again = table.acquire()
    assert again == first
    assert (table.status(again), table.generation(again), table.generation(second)) == (Status.PENDING, 2, 1)
    table.check()


def test_a_full_table_says_so():
    table = StatusTable(1)
    table.acquire()
    with pytest.raises(RuntimeError, match="table is full: capacity=1"):
        table.acquire()
    assert len(table) == 1


def test_free_rows_can_neither_move_nor_be_released_again():
    table = StatusTable(4)
    row = table.acquire()
    table.release(row)
    with pytest.raises(ValueError, match="free already"):
        table.release(row)
    with pytest.raises(ValueError, match="is free"):
        table.move(row, Status.PENDING)
    table.check()


@pytest.mark.parametrize(("row", "error"), [(0, IndexError), (-1, IndexError), (True, TypeError), ("0", TypeError)])
def test_refuses_rows_that_do_not_exist(row, error):
    table = StatusTable(4)
    for call in (table.status, table.release, table.generation, lambda r: table.move(r, 7)):
        with pytest.raises(error):
            call(row)


@pytest.mark.parametrize(("status", "error"), [(9, ValueError), (-1, ValueError), (True, TypeError), ("7", TypeError)])
def test_refuses_statuses_that_do_not_exist(status, error):
    table = StatusTable(1)
    row = table.acquire()
    with pytest.raises(error, match="status"):
        table.move(row, status)
    with pytest.raises(error, match="status"):
        StatusTable.legal(status, 1)


@pytest.mark.parametrize(
    ("capacity", "error"), [(0, ValueError), (2**32, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_refuses_bad_capacities(capacity, error):
    with pytest.raises(error, match="capacity"):
        StatusTable(capacity)


def test_the_window_is_live_read_only_and_as_long_as_the_high_water_mark():
    table = StatusTable()
    assert len(table.window()) == 0
    rows = [table.acquire() for _ in range(3)]
    table.release(rows[2])
    window = table.window()
    assert (len(window), window.dtype.itemsize) == (3, 64)
    table.move(rows[1], Status.RUNNING)
    assert window["status"].tolist() == [Status.PENDING, Status.RUNNING, Status.UNKNOWN]
    assert window["generation"].tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="read-only"):
        window["status"][0] = 3
    with pytest.raises(ValueError, match="WRITEABLE"):
        window.flags.writeable = True


def test_the_window_shows_every_field_where_the_struct_has_it():
    # The layout of ExecutionRow: a wrong offset would shift what comes after.
    table = StatusTable(1)
    table.acquire()
    offsets = {name: offset for name, (_, offset) in table.window().dtype.fields.items()}
    assert offsets == {
        "id_high": 0, "id_low": 8, "generation": 16, "status": 20, "lane": 21, "intent": 22, "reserved": 23,
        "steps": 24, "running": 28, "succeeded": 32, "failed": 36, "skipped": 40, "started_ns": 48, "ended_ns": 56,
    }  # fmt: skip


def test_the_window_keeps_the_table_alive():
    table = StatusTable(8)
    table.acquire()
    window = table.window()
    del table
    gc.collect()
    assert window["status"].tolist() == [Status.PENDING]
    assert isinstance(window, numpy.ndarray)

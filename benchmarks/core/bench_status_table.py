"""StatusTable: a row's life from acquire to release, and the NumPy window over 100,000 rows."""

import pytest

from flow_core.core import status_table

COUNT = 10_000
RUNNING, SUCCESS = 7, 3


def lives():
    table = status_table.StatusTable()
    for _ in range(COUNT):
        row = table.acquire()
        table.move(row, RUNNING)
        table.move(row, SUCCESS)
        table.release(row)
    return len(table)


@pytest.fixture(scope="module")
def full():
    table = status_table.StatusTable()
    for _ in range(100_000):
        table.acquire()
    return table


def bench_lives_of_10k_rows(benchmark):
    benchmark(lives)


def bench_window_of_100k_rows(benchmark, full):
    """Zero-copy, so it does not depend on the number of rows."""
    assert len(benchmark(full.window)) == 100_000


def bench_count_by_status_in_100k_rows(benchmark, full):
    window = full.window()
    assert benchmark(lambda: int((window["status"] == 1).sum())) == 100_000

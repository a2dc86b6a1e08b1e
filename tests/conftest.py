"""What every test gets: a watchdog, and Hypothesis without wall-clock deadlines.

Lives here: settings of the whole suite. Does not live here: helpers of tests (`tests/aio.py`), fixtures of one folder.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import sys
from collections.abc import Iterator

import hypothesis
import pytest

#: Seconds one test may take, set-up and tear-down included. Far above any test: it exists to end a hang, not to time.
WATCHDOG = float(os.environ.get("FLOW_TEST_WATCHDOG", "120"))

_stderr = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    # A copy made before pytest captures the descriptor, so that the dump of a hanging test reaches the terminal.
    config.stash[_stderr] = os.dup(sys.__stderr__.fileno() if sys.__stderr__ else 2)
    hypothesis.settings.register_profile("suite", deadline=None, derandomize="CI" in os.environ, print_blob=True)
    hypothesis.settings.load_profile("suite")


def pytest_unconfigure(config: pytest.Config) -> None:
    os.close(config.stash[_stderr])


def pytest_collection_finish() -> None:
    """What the suite itself is made of is no garbage: the tests that collect need not look at it each time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Dump all threads and end the process when a test hangs in C code or waits for ever: no timeout in Python can."""
    if WATCHDOG <= 0 or item.config.getoption("usepdb", False):
        return (yield)
    faulthandler.dump_traceback_later(WATCHDOG, exit=True, file=item.config.stash[_stderr])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()

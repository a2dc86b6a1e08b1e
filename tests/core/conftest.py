"""What the tests of the core share: each kind of event loop.

Lives here: the ``run`` fixture. Does not live here: schedulers and plans (``kit.py``).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.core.kit import Main

if sys.platform != "win32":
    import uvloop


@pytest.fixture(params=["asyncio", "debug", "uvloop"][: 2 if sys.platform == "win32" else 3])
def run(request: pytest.FixtureRequest) -> Main:
    """Runs a coroutine on a loop of each kind."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else None

    def runs(main: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=factory, debug=request.param == "debug") as runner:
            return runner.run(main)

    return runs

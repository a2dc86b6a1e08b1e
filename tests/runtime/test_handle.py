"""Execution: what a handle shows, and that none of it can forge an outcome.

Lives here: the list of names and their docstrings. Does not live here: what they do (``test_asking.py``,
``test_watching.py``).
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flow_core import Flow, Step
from flow_core.core.stepper import Stepper
from flow_core.model.status import Status
from flow_core.runtime.execution import Execution
from tests.aio import run_virtual
from tests.runtime.kit import Gate, echo

#: Every public name of a handle; a new one needs a docstring and a reason.
NAMES = frozenset({
    "abort", "counts", "error", "errors", "flow", "history", "id", "listen", "options", "outcome", "over", "parent",
    "pause", "plan", "recovered", "request", "response", "result", "resume", "revision", "status", "step_status_of",
    "unlisten", "wait", "when_over",
})  # fmt: skip


def test_a_handle_shows_these_names_only() -> None:
    assert {name for name in dir(Execution) if not name.startswith("_")} == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_name_has_a_docstring(name: str) -> None:
    assert getattr(Execution, name).__doc__


def test_a_handle_cannot_be_forged() -> None:
    async def main() -> None:
        async with Flow() as flow:
            gate = Gate()
            await flow.create_steps("f", [Step("a", gate), Step("b", echo, after="a")])
            handle: Any = await flow.execute("f", "request", async_=True)
            for verb in (name for name in vars(Stepper) if not name.startswith("_") and name not in NAMES):
                assert not hasattr(handle, verb)
            for name in ("error", "id", "options", "over", "parent", "plan", "request", "response", "status"):
                with pytest.raises(AttributeError):
                    setattr(handle, name, None)
            gate.open()
            assert await asyncio.wait_for(handle, 10) == "request" and handle.status is Status.SUCCESS

    run_virtual(main())

"""An order of twelve steps in which everything happens: fan-out, a retry, a fallback, conditions, a pause, a rollback.

Lives here: its steps, and what must be true of it when it is over, however it came to its end. Does not live here: what
goes wrong meanwhile.
"""

from __future__ import annotations

from typing import Any

from flow_core import Retry, Status, Step
from flow_core.model.records import Compensated, ExecutionEnded, StepEnded
from tests.durable.kit import Calls, outcomes, statuses

__all__ = ["check_order", "order"]

SOON = Retry(2, initial=1, factor=1, jitter="none")
DONE = {
    "reserve", "charge", "pick0", "pick1", "pick2", "pack", "label", "mail", "gift", "ship", "receipt", "archive"
}  # fmt: skip


def order(calls: Calls, *, ship_fails: bool = False) -> list[Step]:
    """The steps. The predicate ``never`` has to be registered."""

    def step(name: str, *after: str, fail: int = 0, undo: bool = False, **options: Any) -> Step:
        undoing = {"compensation": calls.body(f"undo {name}")} if undo else {}
        return Step(name, calls.body(name, fail=fail), after=after, **undoing, **options)

    return [
        step("reserve", undo=True),
        step("charge", "reserve", undo=True, delivery="at_most_once", fallback=calls.body("ask the bank")),
        *(step(f"pick{i}", "charge") for i in range(3)),
        step("pack", "pick0", "pick1", "pick2", fail=1, retry=SOON, undo=True),
        step("label", "pack", fail=99, fallback=calls.body("by hand")),
        step("mail", "pack", fail=99, allow_fail=True),
        step("gift", "pack", when="never"),
        step("ship", "label", "mail", fail=99 if ship_fails else 0),
        step("receipt", "ship"),
        step("archive", "receipt", "gift", join="done"),
    ]


async def check_order(store: Any, execution: str, calls: Calls, *, again: int = 0, ship_fails: bool = False) -> None:
    """Whether the execution is over as it should be: one outcome a step, and steps called at most ``again`` times more.

    Raises:
        AssertionError: it is not.
    """
    found = await statuses(store, execution)
    records = await store.load(execution)
    assert isinstance(records[-1], ExecutionEnded), "something was recorded after the end"
    ended = await outcomes(store, execution)
    assert found[""] == ("FAILURE" if ship_fails else "SUCCESS")
    assert ended["label"].recovered and found["mail"] == "FAILURE" and found["gift"] == "SKIPPED"
    undone = [record.step for record in records if isinstance(record, Compensated)]
    if ship_fails:
        assert undone == ["pack", "charge", "reserve"]
        assert found["ship"] == "FAILURE"
    else:
        assert undone == []
        assert set(found) - {""} == DONE
    needed = {"pack": 2} | {f"undo {name}": int(ship_fails) for name in ("reserve", "charge", "pack")}
    for name in calls:
        least = needed.get(name, 1)
        assert least <= calls[name] <= least + again, f"{name} was called {calls[name]} times"
    assert calls["charge"] == 1, "an at-most-once step was called twice"
    assert all(Status(record.status) is not Status.ABORTED for record in records if isinstance(record, StepEnded))

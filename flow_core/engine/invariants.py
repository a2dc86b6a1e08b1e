"""What must hold of a machine after every event, as assertions.

Lives here: the check that tests run after each event. Does not live here: any move (``engine/execution.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flow_core.engine.timers import GRACE_TIMER, RETRY, TOTAL
from flow_core.model.status import Status

if TYPE_CHECKING:
    from flow_core.engine.machine import Machine

__all__ = ["check"]


def check(machine: Machine) -> None:
    """Raise AssertionError when an invariant of the machine, its run or its timers is broken."""
    run = machine.run
    run.check()
    machine._alarms.check()
    assert machine.paused == machine._alarms.is_frozen, "timers are frozen exactly while it is paused"
    assert machine.paused or not machine.waiting, "something waits for a resume, but nothing is paused"
    for kind, step in [*machine.timers, *machine.frozen]:
        status = Status(run.step_status(step)) if kind in (RETRY, TOTAL) else Status.PENDING
        assert status is Status.PENDING or (kind == TOTAL and status is Status.RUNNING), (
            f"step {step} has a timer {kind!r}, but it is {status.name}"
        )
    phase = machine.phase.value
    if phase in ("cancelling", "rolling back", "over"):
        assert run.finished, f"it is {phase}, but has steps that have not ended"
    assert GRACE_TIMER not in machine.timers or phase == "cancelling", "grace, but nothing was cancelled"
    if phase == "over":
        outliving = machine.timers or machine.frozen or machine.waiting or machine.to_compensate
        assert not outliving, "something outlives it"
    for step in machine.recovered:
        assert run.step_status(step) == Status.SUCCESS, f"step {step} was recovered, but did not succeed"

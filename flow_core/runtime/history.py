"""The records of an execution of this process: those kept in memory, and those rebuilt from its rows."""

from __future__ import annotations

from flow_core.core.run import Run
from flow_core.core.stepper import Stepper
from flow_core.model.projection import Projection
from flow_core.model.records import (
    AttemptFailed,
    Ending,
    ErrorRecord,
    ExecutionEnded,
    ExecutionStarted,
    Fact,
    Record,
    StepEnded,
    StepStarted,
)
from flow_core.model.status import Status
from flow_core.model.transition import Transition

__all__ = ["History", "history_of", "keep", "transitions_of"]

#: Records that can be rebuilt from a run's rows.
IN_ROWS = (ExecutionStarted, StepEnded, Ending, ExecutionEnded)
#: Replaces an error, whose traceback would keep objects alive, and whose text may be long.
FAILED = ErrorRecord("error", "", "Exception")


class History:
    """The records of one execution that its rows don't contain.

    Args:
        utc_offset: UTC seconds minus loop seconds; the same for all times of the execution, so that they stay in order.
    """

    __slots__ = ("records", "utc_offset")

    def __init__(self, utc_offset: float) -> None:
        self.utc_offset = utc_offset
        self.records: list[Record] = []


def history_of(run: Run) -> History:
    """The history of an execution, made when it is first needed."""
    stepper = Stepper(run)
    history: History | None = stepper.past
    if history is None:
        history = stepper.past = History(stepper.scheduler.handler.utc_offset)
    return history


def keep(run: Run, record: Fact | Record) -> None:
    """Keep a record or a fact that the rows don't contain; ignore others."""
    if not isinstance(record, IN_ROWS):
        if getattr(record, "error", None) is not None:
            record = record._replace(error=FAILED)  # type: ignore[call-arg]
        history_of(run).records.append(record)


def transitions_of(run: Run) -> list[Transition]:
    """All transitions of an execution so far, in order of time."""
    return Projection(_records(run)).transitions()


def _records(run: Run) -> list[Record]:
    """The records that a store would have of an execution, without ids and values, and those of skipped steps."""
    stepper = Stepper(run)
    history, plan = history_of(run), run.plan
    offset, kept = history.utc_offset, history.records
    failed = {(record.step, record.attempt): record for record in kept if isinstance(record, AttemptFailed)}
    began, over = stepper.span
    records: list[Record] = [ExecutionStarted("", plan.flow, plan.revision, b"", time_utc=began + offset), *kept]
    for index in plan.graph.order():  # steps of one batch have one time, and this order
        step, attempt, status = plan.items[index].id, stepper.attempt(index), stepper.step_status(index)
        started, ended = stepper.times(index)
        at = 0.0 if started is None else started + offset
        if status == Status.RUNNING and at:
            records.append(StepStarted("", step, attempt, at))
        elif ended is not None:
            before = failed.get((step, attempt - 1))
            if before is not None and abs(at - before.started_utc) < 1e-6:
                at = 0.0  # it ended between two attempts: that was the start of the one before
            records.append(StepEnded("", step, attempt, status, None, None, False, False, at, ended + offset))
    if run.over:
        records.append(ExecutionEnded("", stepper.status_number, None, over + offset))
    return records

"""What has happened to an execution, as a list of moves: of one that is under way, and of one as its records tell it.

Lives here: `Transition`, and where moves are read from. Does not live here: watching as they happen
(`Execution.__aiter__`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flow_core.core.stepper import Stepper
from flow_core.model.records import (
    AttemptFailed,
    Compensated,
    ExecutionEnded,
    ExecutionStarted,
    Paused,
    Record,
    Resumed,
    StepEnded,
)
from flow_core.model.status import Status
from flow_core.model.transition import Transition

if TYPE_CHECKING:
    from flow_core.runtime.execution import Execution

__all__ = ["live_moves", "note_failed_attempt", "past_moves", "recorded_moves"]


def note_failed_attempt(run: Execution, step: int, attempt: int, began: float | None, ended: float) -> None:
    """Keep an attempt that another one follows, or the fallback: the core knows how the last one ended only."""
    id_ = run.plan.items[step].id
    if began is not None:
        Stepper(run).note(Transition(id_, Status.RUNNING, began, attempt))
    Stepper(run).note(Transition(id_, Status.FAILURE, ended, attempt))


def live_moves(run: Execution) -> list[Transition]:
    """What has happened so far, in order of time."""
    stepper = Stepper(run)
    moves: list[Transition] = list(stepper.past or ())
    told = {(move.step, move.attempt) for move in moves}
    for index in run.plan.graph.order():  # steps of one batch have one time, and this order
        step = run.plan.items[index].id
        began, ended = stepper.times(index)
        attempt = stepper.attempt(index)
        status = Status(stepper.step_status(index))
        # Of one that waits for a retry, or has become its fallback's, the past has the start.
        if began is not None and status is not Status.PENDING and (step, attempt) not in told:
            moves.append(Transition(step, Status.RUNNING, began, attempt))
        if ended is not None:
            moves.append(Transition(step, status, ended, attempt))
    moves.sort(key=lambda move: move.time)
    # Its own times are whole nanoseconds, and so a little less than those of the steps in the same batch.
    began, over = stepper.span
    moves.insert(0, Transition(None, Status.RUNNING, min([began, *(move.time for move in moves[:1])])))
    if run.over:
        moves.append(Transition(None, run.status, max(over, moves[-1].time)))
    return moves


def recorded_moves(records: Sequence[Record]) -> list[Transition]:
    """The same of an execution that is stored."""
    moves = [move for record in records for move in _moves(record)]
    return sorted(moves, key=lambda move: move.time)


def past_moves(records: Sequence[Record], ahead: float) -> list[Transition]:
    """What the core does not know of an execution that goes on from its records.

    Args:
        ahead: UTC seconds minus loop seconds.
    """
    kept = (record for record in records if isinstance(record, AttemptFailed | Compensated | Paused | Resumed))
    moves = [move for record in kept for move in _moves(record)]
    return [dataclasses.replace(move, time=move.time - ahead) for move in moves]


def _moves(record: Record) -> list[Transition]:
    match record:
        case ExecutionStarted() | Resumed():
            return [Transition(None, Status.RUNNING, record.time_utc)]
        case AttemptFailed():
            began = Transition(record.step, Status.RUNNING, record.started_utc, record.attempt)
            return [began, Transition(record.step, Status.FAILURE, record.time_utc, record.attempt)]
        case StepEnded():
            ended = Transition(record.step, Status(record.status), record.time_utc, record.attempt)
            if record.status == Status.SKIPPED or record.recovered:
                return [ended]
            return [Transition(record.step, Status.RUNNING, record.started_utc, record.attempt), ended]
        case Paused():
            return [Transition(None, Status.PAUSED, record.time_utc)]
        case ExecutionEnded():
            return [Transition(None, Status(record.status), record.time_utc)]
        case Compensated():
            status = Status.SUCCESS if record.error is None else Status.FAILURE
            return [Transition(f"{record.step}.compensation", status, record.time_utc)]
        case _:  # of a start the end tells when it was
            return []

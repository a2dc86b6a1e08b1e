"""The rules of a commit, the same in every store: which records may follow those that a store already has."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Final, NamedTuple

from flow_core.errors import Conflict, LeaseLost
from flow_core.model.records import Epoch, ExecutionEnded, ExecutionStarted, Record, StepEnded

__all__ = ["KnownExecution", "epoch_over", "judge", "other_steps"]


class KnownExecution(NamedTuple):
    """What a store has of an execution: its row, the number of the epoch that owns it, and when it ended."""

    key: int
    epoch: int
    ended: float | None = None


def judge(
    epoch: Epoch,
    records: Sequence[Record],
    known: Mapping[str, KnownExecution],
    starts: Mapping[str, tuple[str, bytes]],
    outcomes: Container[tuple[str, str]] | None = None,
) -> list[Record]:
    """Return the records of a commit that are left to write: all but starts that the store already has.

    Args:
        epoch: the writer; the store has checked that it is not over.
        known: the executions of these records that the store has.
        starts: flow and request of those that ``records`` start again.
        outcomes: (execution, step) of the outcomes that the store has. None: a unique index refuses a second one.

    Raises:
        Conflict, LeaseLost: for the first record that may not be written.
    """
    number = epoch.number
    begun: dict[str, tuple[str, bytes]] = {}
    ended: set[str] = set()
    here: set[tuple[str, str]] = set()
    kept: list[Record] = []
    for record in records:
        id_ = record[0]
        found = known.get(id_)
        if type(record) is ExecutionStarted:
            before = begun.get(id_) if found is None else starts[id_]
            if starts_anew(record, number, found, before):
                begun[id_] = (record.flow, record.request)
                kept.append(record)
            continue
        if found is None and id_ not in begun:
            raise refused("unknown", record)
        if id_ in ended or (found is not None and found.ended is not None):
            raise refused("ended", record)
        if found is not None and found.epoch != number:
            raise LeaseLost(f"execution {id_} belongs to another owner", execution=id_)
        if type(record) is StepEnded:
            if outcomes is not None:
                place = (id_, record.step)
                if place in here or place in outcomes:
                    raise refused("outcome", record)
                here.add(place)
        elif type(record) is ExecutionEnded:
            ended.add(id_)
        kept.append(record)
    return kept


def starts_anew(
    record: ExecutionStarted, epoch: int, found: KnownExecution | None, before: tuple[str, bytes] | None
) -> bool:
    """Whether a start is a new one; False: the same is there already. Raises `Conflict` when another one is."""
    if before is None:
        return True
    if before != (record.flow, record.request):
        raise refused("request", record)
    if found is not None and (found.ended is not None or found.epoch != epoch):
        raise refused("exists", record)
    return False


WORDS: Final = {
    "request": "execution {0!r} exists with another flow or request",
    "exists": "execution {0!r} was started by another owner or has ended",
    "unknown": "execution {0!r} was never started",
    "ended": "execution {0!r} has ended",
    "outcome": "step {1!r} of execution {0!r} has its outcome already",
}


def refused(reason: str, record: Record) -> Conflict:
    """The `Conflict` that says why a record can't be written."""
    step = getattr(record, "step", None)
    return Conflict(WORDS[reason].format(record.execution, step), reason=reason, execution=record.execution, step=step)


def epoch_over(epoch: Epoch) -> LeaseLost:
    """The error for a writer whose epoch is over."""
    return LeaseLost(f"epoch {epoch.number} of executor {epoch.executor!r} is over")


def other_steps(flow: str, revision: int) -> Conflict:
    """The error for a revision that is stored with other steps."""
    return Conflict(f"revision {revision} of {flow!r} holds other steps", reason="revision", flow=flow)

"""Commits as rows for PostgreSQL: those that can go in one call together, and the judgement on one that was refused.

Lives here: `Rows`, `together`, `judged`; nothing here waits or talks to a server. Does not live here: sending
(``postgres_writer.py``), the function that is called (``postgres_schema.py``).

The short way takes for granted that every commit is fine and lets the server object: it checks owners, ends, outcomes
and receipts under the lock of the owner. What it objects to, or what is not plain, goes the long way: the state is read
and `judged` tells what is left to write, or why nothing is.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from flow_core.errors import LeaseLost
from flow_core.model.records import (
    NUMBERS,
    Epoch,
    ErrorRecord,
    ExecutionEnded,
    ExecutionStarted,
    Paused,
    Record,
    Resumed,
    StepEnded,
    encode,
    encode_error,
)
from flow_core.model.status import Status
from flow_core.model.store import refused

__all__ = ["PARAMETERS", "Commit", "Known", "Rows", "judged", "together"]

#: How many parameters `Rows.parameters` gives.
PARAMETERS: Final = 34
_RUNNING: Final = int(Status.RUNNING)


class Commit(Protocol):
    """What is looked at of a commit."""

    epoch: Epoch
    records: Sequence[Record]
    commit_id: int | None


class Known(NamedTuple):
    """What the server has of an execution."""

    key: int
    flow: str
    request: bytes
    epoch: int
    ended: float | None


class Rows:
    """The rows of some commits, by table. An execution started in here is known as -1, -2, ... until it has a key."""

    def __init__(self) -> None:
        self.epochs: set[int] = set()
        self.receipts: list[tuple[int, int]] = []
        self.starts: list[ExecutionStarted] = []
        self.owners: list[int] = []
        self.fresh: dict[str, int] = {}
        self.live: dict[int, int] = {}  # every execution written to -> its epoch
        self.ended: dict[int, str] = {}
        self.nth = 0
        self.outcomes: list[tuple[Any, ...]] = []
        self.keys: list[int] = []
        self.nths: list[int] = []
        self.events: list[tuple[int, int, int, bytes]] = []
        self.changes: dict[int, tuple[int, float | None, bool]] = {}

    def add(self, job: Commit, keys: Mapping[str, int]) -> bool:
        """Take a commit in; False when it is not plain, and then a part of it may be in already."""
        number, fresh, live, ended, nth = job.epoch.number, self.fresh, self.live, self.ended, self.nth
        add_outcome, add_key, add_nth = self.outcomes.append, self.keys.append, self.nths.append
        for record in job.records:
            id_ = record[0]
            key = keys.get(id_) or fresh.get(id_)
            if type(record) is ExecutionStarted:
                if key is not None:
                    return False
                self._start(record, number)
                continue
            if key is None or key in ended or live.setdefault(key, number) != number:
                return False
            nth += 1
            if type(record) is StepEnded:
                add_outcome(record)
                add_key(key)
                add_nth(nth)
            else:
                self._event(nth, key, record)
        self.nth = nth
        self.epochs.add(number)
        if job.commit_id is not None:
            self.receipts.append((number, job.commit_id))
        return True

    def _start(self, record: ExecutionStarted, number: int) -> None:
        self.starts.append(record)
        self.owners.append(number)
        key = -len(self.starts)
        self.fresh[record.execution] = key
        self.live[key] = number

    def _event(self, nth: int, key: int, record: Record) -> None:
        self.events.append((nth, key, NUMBERS[type(record)], encode(record)))
        resumed = key in self.changes and self.changes[key][2]
        if isinstance(record, ExecutionEnded):
            self.ended[key] = record.execution
            self.changes[key] = (int(record.status), record.time_utc, resumed)
        elif isinstance(record, Paused):
            self.changes[key] = (int(Status.PAUSED), None, resumed)
        elif isinstance(record, Resumed):
            self.changes[key] = (_RUNNING, None, True)

    def parameters(self, crowded: Sequence[int]) -> list[Any]:
        """Everything for ``flow_core.write``. ``crowded``: epochs whose oldest receipts can go."""
        ids, flows, revisions, requests, options, parents, begun = columns(self.starts, 7)
        live = {key: number for key, number in self.live.items() if key > 0} if self.starts else self.live
        changes = [(key, *change) for key, change in self.changes.items()]
        return [
            sorted(self.epochs), *columns(self.receipts, 2), crowded,
            ids, flows, revisions, requests, options, parents, begun, self.owners, _RUNNING,
            [*live], [*live.values()],
            self.nths, self.keys, *self._outcomes(),
            *columns(self.events, 4), *columns(changes, 4),
        ]  # fmt: skip

    def _outcomes(self) -> list[Any]:
        """The columns of the outcomes but the execution's; None for what none of them has, which is cheap."""
        _, steps, attempts, statuses, outputs, errors, recovered, json, started, ended = columns(self.outcomes, 10)
        return [
            steps,
            attempts,
            statuses,
            outputs,
            [*map(error_of, errors)] if any(errors) else None,
            recovered if any(recovered) else None,
            json if any(json) else None,
            started,
            ended,
        ]


def columns(rows: Sequence[tuple[Any, ...]], count: int) -> Sequence[Sequence[Any]]:
    """Rows turned into columns."""
    return [*zip(*rows, strict=True)] if rows else [()] * count


def error_of(error: ErrorRecord | None) -> bytes | None:
    return None if error is None else encode_error(error)


def together(jobs: Sequence[Commit], keys: Mapping[str, int]) -> tuple[Rows, int]:
    """The rows of the first commits that are plain, and how many those are."""
    rows = Rows()
    for count, job in enumerate(jobs):
        try:
            plain = rows.add(job, keys)
        except Exception:  # a text that no encoding takes: raised again when it is alone
            plain = False
        if not plain:
            return together(jobs[:count], keys)  # afresh, without the part of that one
    return rows, len(jobs)


def judged(
    epoch: Epoch, records: Sequence[Record], known: Mapping[str, Known], outcomes: Container[tuple[int, str]]
) -> list[Record]:
    """What is left to write of a commit. Raises `LeaseLost` or `Conflict` for the first record that can't be."""
    started: dict[str, ExecutionStarted] = {}
    ended: set[str] = set()
    here: set[tuple[str, str]] = set()
    kept: list[Record] = []
    for record in records:
        id_ = record.execution
        found = known.get(id_)
        if isinstance(record, ExecutionStarted):
            if _starts(epoch, record, found, started.get(id_)):
                started[id_] = record
                kept.append(record)
            continue
        if found is None and id_ not in started:
            raise refused("unknown", record)
        if id_ in ended or (found is not None and found.ended is not None):
            raise refused("ended", record)
        if found is not None and found.epoch != epoch.number:
            raise LeaseLost(f"execution {id_} belongs to another owner", execution=id_)
        if isinstance(record, StepEnded):
            if (id_, record.step) in here or (found is not None and (found.key, record.step) in outcomes):
                raise refused("outcome", record)
            here.add((id_, record.step))
        elif isinstance(record, ExecutionEnded):
            ended.add(id_)
        kept.append(record)
    return kept


def _starts(epoch: Epoch, record: ExecutionStarted, found: Known | None, before: ExecutionStarted | None) -> bool:
    """Whether a start is a new one; False: it is there already, the same. Raises `Conflict`."""
    if found is None and before is None:
        return True
    flow, request = (before.flow, before.request) if before is not None else (found.flow, found.request)  # type: ignore[union-attr]
    if (flow, request) != (record.flow, record.request):
        raise refused("request", record)
    if found is not None and (found.ended is not None or found.epoch != epoch.number):
        raise refused("exists", record)
    return False

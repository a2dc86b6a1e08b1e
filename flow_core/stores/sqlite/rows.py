"""What `SqliteStore` writes in one transaction: the records of a commit as rows.

Rows go in a hundred to the statement: sqlite3 gives up the GIL at each step of a statement and has to win it back from
the event loop, and has less to do besides. Alone on the machine about twice the rows of one to the statement; how much
it gains beside a busy loop is not measured well yet.
"""
# ruff: noqa: S608 - the names of tables are constants of this module; values are bound

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from flow_core.errors import InternalError
from flow_core.model.records import (
    NUMBERS,
    Epoch,
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
from flow_core.model.store import REMEMBERED
from flow_core.stores.rules import KnownExecution, epoch_over, judge

__all__ = ["SqliteWriter"]

CHUNK: Final = 100
_STATUS: Final[dict[type[Any], Status]] = {Paused: Status.PAUSED, Resumed: Status.RUNNING}


@dataclass(slots=True)
class SqliteRows:
    """The rows of one commit, by table; ``started`` and ``ended`` name the executions whose life it changes."""

    executions: list[tuple[Any, ...]] = field(default_factory=list)
    outcomes: list[tuple[Any, ...]] = field(default_factory=list)
    events: list[tuple[Any, ...]] = field(default_factory=list)
    statuses: list[tuple[Any, ...]] = field(default_factory=list)
    started: dict[str, KnownExecution] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)


class SqliteWriter:
    """Writes commits on one connection, each inside a transaction of the caller.

    ``_known`` has the executions under way. It stays true because every commit first checks that its epoch is not over,
    and nobody takes an execution from an epoch that is not; after any failure it is read afresh.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._known: dict[str, KnownExecution] = {}

    def forget(self) -> None:
        """Read from the file again what is known of executions."""
        self._known.clear()

    def check_epoch(self, epoch: Epoch) -> None:
        """Raises `LeaseLost` when the epoch is over."""
        if self._db.execute("SELECT 1 FROM owner WHERE epoch = ? AND NOT fenced", (epoch.number,)).fetchone() is None:
            raise epoch_over(epoch)

    def write(self, epoch: Epoch, records: Sequence[Record], commit_id: int | None) -> None:
        """Write one commit. After any error the caller has to roll back, and to call `forget`.

        Raises:
            LeaseLost, Conflict: see `judge`.
        """
        self.check_epoch(epoch)
        if commit_id is not None:
            seen = "SELECT 1 FROM receipt WHERE epoch = ? AND number = ?"
            if self._db.execute(seen, (epoch.number, commit_id)).fetchone():
                return
        starts = self._look_up(records)
        kept = judge(epoch, records, self._known, starts)
        # Other processes may have written since the last commit.
        seq, key = self._db.execute(
            "SELECT max(ifnull((SELECT max(seq) FROM outcome), 0), ifnull((SELECT max(seq) FROM event), 0)),"
            " ifnull((SELECT max(key) FROM execution), 0)"
        ).fetchone()
        rows = self._rows(epoch.number, kept, seq, key)
        try:
            self._insert(rows)
        except sqlite3.IntegrityError as error:  # an outcome is there already; of which record?
            judge(epoch, records, self._known, starts, self._outcomes(records, seq))
            raise InternalError(f"SQLite refuses a record: {error}") from error
        if commit_id is not None:
            self._receipt(epoch.number, commit_id)
        self._known.update(rows.started)
        for id_ in rows.ended:
            del self._known[id_]

    def _look_up(self, records: Sequence[Record]) -> dict[str, tuple[str, bytes]]:
        """Read what is not known of the executions of a commit; return flow and request of those."""
        known = self._known
        ids = {record[0] for record in records if record[0] not in known or type(record) is ExecutionStarted}
        for id_ in ids:
            known.pop(id_, None)
        starts = {}
        query = (
            "SELECT id, flow, request, key, epoch, ended FROM execution WHERE id IN (SELECT value FROM json_each(?))"
        )
        if ids:
            for id_, flow, request, *rest in self._db.execute(query, (orjson.dumps([*ids]).decode(),)):
                starts[id_] = (flow, request)
                known[id_] = KnownExecution(*rest)
        return starts

    def _rows(self, epoch: int, records: list[Record], seq: int, key: int) -> SqliteRows:
        """The rows of records that were judged; ``seq`` and ``key``: the last ones in use."""
        rows, known = SqliteRows(), self._known
        started, add_outcome = rows.started, rows.outcomes.append
        for record in records:
            id_ = record[0]
            if type(record) is ExecutionStarted:
                key += 1
                started[id_] = KnownExecution(key, epoch)
                values = (key, id_, record.flow, record.revision, int(Status.RUNNING), record.parent, record.time_utc)
                rows.executions.append((*values, epoch, record.request, record.options))
                continue
            place = (known.get(id_) or started[id_]).key
            seq += 1
            if type(record) is StepEnded:
                error = None if record.error is None else encode_error(record.error)
                add_outcome((seq, place, record[1], record[2], int(record.status), record.output, error, *record[6:]))
                continue
            rows.events.append((seq, place, NUMBERS[type(record)], encode(record)))
            if type(record) is ExecutionEnded:
                rows.ended.append(id_)
                rows.statuses.append((int(record.status), record.time_utc, False, place))
            elif type(record) in _STATUS:
                rows.statuses.append((int(_STATUS[type(record)]), None, type(record) is Resumed, place))
        return rows

    def _insert(self, rows: SqliteRows) -> None:
        columns = "key, id, flow, revision, status, parent, started, epoch, request, options"
        insert(self._db, f"execution ({columns})", rows.executions)
        insert(self._db, "outcome", rows.outcomes)
        insert(self._db, "event", rows.events)
        change = "UPDATE execution SET status = ?, ended = ?, recoveries = recoveries * (1 - ?) WHERE key = ?"
        self._db.executemany(change, rows.statuses)

    def _outcomes(self, records: Sequence[Record], last: int) -> set[tuple[str, str]]:
        """The outcomes of these steps that the file had up to ``last``."""
        query = "SELECT 1 FROM outcome JOIN execution ON key = execution WHERE id = ? AND step = ? AND seq <= ?"
        places = {(record.execution, record.step) for record in records if type(record) is StepEnded}
        return {place for place in places if self._db.execute(query, (*place, last)).fetchone()}

    def _receipt(self, epoch: int, commit_id: int) -> None:
        count = "SELECT ifnull(max(seq), 0) + 1 FROM receipt WHERE epoch = ?"
        nth = self._db.execute(count, (epoch,)).fetchone()[0]
        self._db.execute("INSERT INTO receipt VALUES (?, ?, ?)", (epoch, commit_id, nth))
        if nth % REMEMBERED == 0:
            self._db.execute("DELETE FROM receipt WHERE epoch = ? AND seq <= ?", (epoch, nth - REMEMBERED))


def insert(db: sqlite3.Connection, table: str, rows: list[tuple[Any, ...]]) -> None:
    """All rows, `CHUNK` to the statement; the statements' texts repeat, so sqlite3 keeps them prepared."""
    if not rows:
        return
    row = "(" + ",".join("?" * len(rows[0])) + ")"
    whole = len(rows) // CHUNK * CHUNK
    if whole:
        many = f"INSERT INTO {table} VALUES {','.join([row] * CHUNK)}"
        for at in range(0, whole, CHUNK):
            db.execute(many, [value for one in rows[at : at + CHUNK] for value in one])
    db.executemany(f"INSERT INTO {table} VALUES {row}", rows[whole:])

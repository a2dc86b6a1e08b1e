"""What `SqliteStore` writes in one transaction: records to rows, ownership, conflicts.

Lives here: `Writer`, synchronous, on the store's own thread. Does not live here: threads, grouping (``sqlite.py``).

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

from flow_core.errors import LeaseLost
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
from flow_core.model.store import REMEMBERED, refused

__all__ = ["Writer"]

CHUNK: Final = 100
_STATUS: Final[dict[type[Any], Status]] = {Paused: Status.PAUSED, Resumed: Status.RUNNING}


@dataclass(slots=True)
class Rows:
    """The rows of one commit, by table."""

    executions: list[tuple[Any, ...]] = field(default_factory=list)
    outcomes: list[tuple[Any, ...]] = field(default_factory=list)
    events: list[tuple[Any, ...]] = field(default_factory=list)
    statuses: list[tuple[Any, ...]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)


class Writer:
    """Writes commits on one connection, inside a transaction of the caller.

    ``_live`` maps executions to their row and owner. It stays true because every transaction first checks that its
    epoch stands, and nobody takes an execution from an epoch that stands; after any failure it is forgotten.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._live: dict[str, tuple[int, int]] = {}
        self._seq = self._key = 0

    def forget(self) -> None:
        """Read ownership from the file again."""
        self._live.clear()

    def start(self) -> None:
        """At the start of each transaction: other processes may have written since."""
        one = self._db.execute(
            "SELECT max(ifnull((SELECT max(seq) FROM outcome), 0), ifnull((SELECT max(seq) FROM event), 0)),"
            " ifnull((SELECT max(key) FROM execution), 0)"
        ).fetchone()
        self._seq, self._key = one

    def stands(self, epoch: Epoch) -> None:
        """Raises `LeaseLost` when the epoch is over."""
        if self._db.execute("SELECT 1 FROM owner WHERE epoch = ? AND NOT fenced", (epoch.number,)).fetchone() is None:
            raise LeaseLost(f"epoch {epoch.number} of executor {epoch.executor!r} is over")

    def write(self, epoch: Epoch, records: Sequence[Record], commit_id: int | None) -> None:
        """One commit, all or nothing. Raises `LeaseLost` and `Conflict`."""
        db = self._db
        self.stands(epoch)
        if commit_id is not None:
            seen = "SELECT 1 FROM receipt WHERE epoch = ? AND number = ?"
            if db.execute(seen, (epoch.number, commit_id)).fetchone():
                return
        db.execute("SAVEPOINT one")
        try:
            rows = self._rows(epoch, records)
            self._insert(rows)
            if commit_id is not None:
                self._receipt(epoch, commit_id)
        except BaseException as error:
            self.forget()
            if db.in_transaction:  # a full disk rolls everything back by itself
                if isinstance(error, sqlite3.IntegrityError):
                    db.execute("ROLLBACK TO one")
                    db.execute("RELEASE one")
                    raise self._culprit(records) from error
                db.execute("ROLLBACK TO one")
                db.execute("RELEASE one")
            raise
        db.execute("RELEASE one")
        for id_ in rows.ended:
            self._live.pop(id_, None)

    def _receipt(self, epoch: Epoch, commit_id: int) -> None:
        number = epoch.number
        count = "SELECT ifnull(max(seq), 0) + 1 FROM receipt WHERE epoch = ?"
        nth = self._db.execute(count, (number,)).fetchone()[0]
        self._db.execute("INSERT INTO receipt VALUES (?, ?, ?)", (number, commit_id, nth))
        if nth % REMEMBERED == 0:
            self._db.execute("DELETE FROM receipt WHERE epoch = ? AND seq <= ?", (number, nth - REMEMBERED))

    def _rows(self, epoch: Epoch, records: Sequence[Record]) -> Rows:
        rows, live, ended = Rows(), self._live, set[str]()
        found = self._lookup({record.execution for record in records if record.execution not in live})
        add, number, seq = rows.outcomes.append, epoch.number, self._seq
        for record in records:
            id_ = record.execution
            if type(record) is ExecutionStarted:
                self._start(epoch, record, found, rows)
                continue
            place = live.get(id_)
            if place is None:
                raise refused("ended" if id_ in found else "unknown", record)
            key, owner = place
            if owner != number:
                raise LeaseLost(f"execution {id_} belongs to another owner", execution=id_)
            if id_ in ended:
                raise refused("ended", record)
            seq += 1
            if type(record) is StepEnded:
                error = None if record.error is None else encode_error(record.error)
                status = int(record.status)
                add((seq, key, record[1], record[2], status, record.output, error, *record[6:]))
                continue
            rows.events.append((seq, key, NUMBERS[type(record)], encode(record)))
            if type(record) is ExecutionEnded:
                ended.add(id_)
                rows.statuses.append((int(record.status), record.time_utc, False, key))
            elif type(record) in _STATUS:
                rows.statuses.append((int(_STATUS[type(record)]), None, type(record) is Resumed, key))
        self._seq = seq
        rows.ended = [*ended]
        return rows

    def _lookup(self, ids: set[str]) -> dict[str, tuple[str, bytes, float | None]]:
        """Flow, request and end of those executions that the file knows and ``_live`` does not."""
        found = {}
        query = (
            "SELECT id, flow, request, ended, key, epoch FROM execution WHERE id IN (SELECT value FROM json_each(?))"
        )
        if ids:
            for id_, flow, request, ended, key, epoch in self._db.execute(query, (orjson.dumps([*ids]).decode(),)):
                found[id_] = (flow, request, ended)
                if ended is None:
                    self._live[id_] = (key, epoch)
        return found

    def _start(self, epoch: Epoch, record: ExecutionStarted, found: dict[str, Any], rows: Rows) -> None:
        id_ = record.execution
        place = self._live.get(id_)
        if place is not None and id_ not in found:
            query = "SELECT flow, request, ended FROM execution WHERE id = ?"
            found[id_] = self._db.execute(query, (id_,)).fetchone() or started_here(id_, rows)
        if id_ in found:
            flow, request, _ = found[id_]
            if (flow, request) != (record.flow, record.request):
                raise refused("request", record)
            if place is None or place[1] != epoch.number:
                raise refused("exists", record)
            return
        self._key += 1
        self._live[id_] = (self._key, epoch.number)
        values = (self._key, id_, record.flow, record.revision, int(Status.RUNNING), record.parent, record.time_utc)
        rows.executions.append((*values, epoch.number, record.request, record.options))

    def _insert(self, rows: Rows) -> None:
        columns = "key, id, flow, revision, status, parent, started, epoch, request, options"
        insert(self._db, f"execution ({columns})", rows.executions)
        insert(self._db, "outcome", rows.outcomes)
        insert(self._db, "event", rows.events)
        change = "UPDATE execution SET status = ?, ended = ?, recoveries = recoveries * (1 - ?) WHERE key = ?"
        self._db.executemany(change, rows.statuses)

    def _culprit(self, records: Sequence[Record]) -> Exception:
        """Which record met an outcome that is there already: in the file, or earlier in the same commit."""
        query = "SELECT 1 FROM outcome JOIN execution ON key = execution WHERE id = ? AND step = ?"
        seen = set()
        for record in records:
            if isinstance(record, StepEnded):
                place = (record.execution, record.step)
                if place in seen or self._db.execute(query, place).fetchone():
                    return refused("outcome", record)
                seen.add(place)
        return refused("exists", records[0])


def started_here(id_: str, rows: Rows) -> tuple[str, bytes, None]:
    """Flow and request of an execution that the same commit starts."""
    row = next(row for row in rows.executions if row[1] == id_)
    return row[2], row[8], None


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

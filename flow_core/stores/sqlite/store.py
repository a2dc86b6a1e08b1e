"""`SqliteStore`: durable in one file, without a server; nothing but the standard library.

Lives here: the thread that owns the connection, group commit, healing, and the questions. Does not live here: the rows
of a commit (``sqlite_rows.py``), the schema and the opening (``sqlite_file.py``).

Group commit: the thread takes whatever has queued up while it was in the last fsync and makes one transaction of it. An
idle store therefore commits at once, a loaded one in batches, and no timer is involved.
"""
# ruff: noqa: S608 - every text put into a statement is a constant of this module; values are bound

from __future__ import annotations

import asyncio
import copy
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final, TypeVar

from flow_core.errors import Conflict, InvalidOption, StoreUnavailable
from flow_core.model.records import (
    Epoch,
    ExecutionInfo,
    ExecutionStarted,
    Page,
    Record,
    StepEnded,
    decode,
    decode_error,
)
from flow_core.model.revisions import Change, StoredDefinition
from flow_core.model.status import Status
from flow_core.model.store import Store, parse_cursor
from flow_core.stores.sqlite.rows import Writer
from flow_core.stores.sqlite.schema import connect, connect_to_read, settle, translated, waited

__all__ = ["SqliteStore"]

T = TypeVar("T")
#: Most records of one transaction, so that the first caller in it does not wait for ever.
GROUP: Final = 20_000
#: Most records that wait for the thread; callers beyond wait on the loop.
QUEUE: Final = 200_000
_INFO: Final = "id, flow, revision, status, parent, started, ended, epoch, recoveries"
_DEAD: Final = "EXISTS (SELECT 1 FROM owner WHERE owner.epoch = execution.epoch AND fenced)"


class Job:
    """A question, or a commit (then ``records`` is set), and who waits for it."""

    __slots__ = ("commit_id", "epoch", "error", "future", "records", "result", "work")

    def __init__(self, future: asyncio.Future[Any], work: Callable[[sqlite3.Connection], Any] | None) -> None:
        self.future = future
        self.work = work
        self.epoch: Epoch | None = None
        self.records: Sequence[Record] = ()
        self.commit_id: int | None = None
        self.result: Any = None
        self.error: BaseException | None = None


class SqliteStore(Store):
    """Keeps executions in one SQLite file, which several processes of one machine may share.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, or a path.
        clock: UTC seconds, for leases and retention by age.
        read_only: nothing is created, migrated or written, and no writer is kept waiting.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time, read_only: bool = False) -> None:
        path = url.removeprefix("sqlite:///")
        if not path or "://" in path or path.startswith("sqlite:") or path == ":memory:":
            raise InvalidOption(f"no path of a file in {url!r:.80}", fix="write sqlite:///flow.db")
        self.path: Final = path
        self._clock: Final = clock
        self._read_only: Final = read_only
        self._db: sqlite3.Connection | None = None
        self._writer: Writer | None = None
        #: Something failed, so what stands in the log may be in the kernel's memory only.
        self._doubt = False
        self._jobs: deque[Job] = deque()
        self._waiting = 0
        self._wake = threading.Semaphore(0)
        self._thread: threading.Thread | None = None
        self._waiters: list[asyncio.Future[None]] = []

    # --- life ---------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        if self._thread is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="flow-core-sqlite", daemon=True)
        self._thread.start()
        try:
            await self._ask(lambda db: None)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self._wake.release()  # a wake-up without a job behind it: the end
            await asyncio.to_thread(thread.join)

    async def _ask(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` on the store's thread in a transaction of its own."""
        self._alive()
        job = Job(self._loop.create_future(), work)
        self._push(job)
        result: T = await job.future
        return result

    def _alive(self) -> None:
        if self._thread is None:
            raise StoreUnavailable(f"{self.path} is closed", fix="open the store first")

    def _push(self, job: Job) -> None:
        self._jobs.append(job)
        self._wake.release()

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            self._wake.acquire()
            if not self._jobs:
                break
            group = [self._jobs.popleft()]
            rows = len(group[0].records)
            while group[0].work is None and self._jobs and self._jobs[0].work is None and rows < GROUP:
                self._wake.acquire()
                group.append(self._jobs.popleft())
                rows += len(group[-1].records)
            self._transaction(group)
            try:
                self._loop.call_soon_threadsafe(self._done, group)
            except RuntimeError:
                pass  # the loop is closed: nobody waits any more
        self._drop()

    def _transaction(self, group: list[Job]) -> None:
        db = None
        try:
            db = self._connected()
            db.execute("BEGIN" if self._read_only else "BEGIN IMMEDIATE")
            assert self._writer is not None
            self._writer.start()
            for job in group:
                self._run(job, db)
            db.execute("COMMIT")
        except BaseException as error:
            told = translated(error, self.path) if isinstance(error, sqlite3.Error) else error
            self._doubt |= isinstance(error, sqlite3.Error) and not waited(error)
            for job in group:
                # Refusals too: they may stem from what another caller wrote in this very transaction. A copy for each:
                # two tasks that raise the same object would share its traceback.
                job.error = copy.copy(told)
            self._drop()

    def _run(self, job: Job, db: sqlite3.Connection) -> None:
        """One job. Its own refusal leaves the others of the group alone; whatever SQLite says ends the transaction."""
        assert self._writer is not None
        try:
            if job.work is not None:
                job.result = job.work(db)
            elif job.epoch is not None:
                self._writer.write(job.epoch, job.records, job.commit_id)
        except sqlite3.Error:
            raise
        except Exception as error:
            # A question is alone in its transaction, and raises before it writes.
            job.error = error

    def _connected(self) -> sqlite3.Connection:
        if self._db is None:
            db = connect_to_read(self.path) if self._read_only else connect(self.path)
            if self._doubt and not self._read_only:
                settle(db, self.path)
                self._doubt = False
            self._db, self._writer = db, Writer(db)
        return self._db

    def _drop(self) -> None:
        """Forget the connection: after an error the next job opens the file afresh, which is how the store heals."""
        db, self._db, self._writer = self._db, None, None
        if db is not None:
            try:
                if db.in_transaction:
                    db.execute("ROLLBACK")
            except sqlite3.Error:
                pass  # rolled back already, or by the next opening
            try:
                db.close()
            except sqlite3.Error:
                pass  # the log is kept and read by the next opening

    def _done(self, group: list[Job]) -> None:
        """On the loop: one wake-up for the whole group."""
        for job in group:
            self._waiting -= len(job.records)
            if job.future.done():
                continue  # the caller was cancelled; what it sent is written all the same
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)
        if self._waiting < QUEUE:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    # --- writing ------------------------------------------------------------------------------------------------------

    async def commit(self, epoch: Epoch, records: Sequence[Record], *, commit_id: int | None = None) -> None:
        self._alive()
        while self._waiting >= QUEUE:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter
            self._alive()
        job = Job(self._loop.create_future(), None)
        job.epoch, job.records, job.commit_id = epoch, records, commit_id
        self._waiting += len(records)
        self._push(job)
        await job.future

    async def begin(self, executor: str, lease: float) -> Epoch:
        def work(db: sqlite3.Connection) -> int:
            db.execute("UPDATE owner SET fenced = 1 WHERE executor = ?", (executor,))
            row = db.execute("INSERT INTO owner (executor, expires) VALUES (?, ?)", (executor, self._clock() + lease))
            return row.lastrowid or 0

        number = await self._ask(work)
        self._changed(Change.WORK)
        return Epoch(number, executor, lease)

    async def renew(self, epoch: Epoch) -> None:
        def work(db: sqlite3.Connection) -> None:
            self._stands(epoch)
            until = self._clock() + epoch.lease
            db.execute("UPDATE owner SET expires = ? WHERE epoch = ?", (until, epoch.number))

        await self._ask(work)

    async def release(self, epoch: Epoch) -> None:
        def work(db: sqlite3.Connection) -> None:
            self._stands(epoch)
            db.execute("UPDATE owner SET fenced = 1, clean = 1 WHERE epoch = ?", (epoch.number,))

        await self._ask(work)
        self._changed(Change.WORK)

    async def owners(self) -> Sequence[str]:
        query = "SELECT executor FROM owner WHERE NOT fenced ORDER BY epoch"
        return [name for (name,) in await self._ask(lambda db: db.execute(query).fetchall())]

    def _stands(self, epoch: Epoch) -> None:
        assert self._writer is not None
        self._writer.stands(epoch)

    async def claim(self, epoch: Epoch, limit: int = 100) -> Sequence[ExecutionInfo]:
        def work(db: sqlite3.Connection) -> list[ExecutionInfo]:
            self._stands(epoch)
            fence = "UPDATE owner SET fenced = 1 WHERE NOT fenced AND expires < ? AND epoch <> ?"
            db.execute(fence, (self._clock(), epoch.number))
            query = f"SELECT key FROM execution WHERE ended IS NULL AND {_DEAD} ORDER BY key LIMIT ?"
            keys = db.execute(query, (limit,)).fetchall()
            latest = "ifnull((SELECT max(seq) FROM outcome WHERE outcome.execution = key), 0)"
            crashed = "(SELECT NOT clean FROM owner WHERE owner.epoch = execution.epoch)"
            change = (
                f"UPDATE execution SET recoveries = CASE WHEN NOT {crashed} THEN recoveries"
                f" WHEN progress = {latest} THEN recoveries + 1 ELSE 1 END,"
                f" progress = CASE WHEN {crashed} THEN {latest} ELSE progress END, epoch = ? WHERE key = ?"
            )
            db.executemany(change, [(epoch.number, key) for (key,) in keys])
            assert self._writer is not None
            self._writer.forget()
            read = f"SELECT {_INFO} FROM execution WHERE key = ?"
            return [info(db.execute(read, key).fetchone()) for key in keys]

        return await self._ask(work)

    async def retain(self, keep: timedelta | int) -> int:
        free = "NOT EXISTS (SELECT 1 FROM execution AS up WHERE up.id = execution.parent AND up.ended IS NULL)"
        if isinstance(keep, timedelta):
            which, value = "ended < ?", self._clock() - keep.total_seconds()
        else:
            which = (
                "ended IS NOT NULL AND (ended, key) <= (SELECT ended, key FROM execution WHERE ended IS NOT NULL"
                " ORDER BY ended DESC, key DESC LIMIT 1 OFFSET ?)"
            )
            value = keep

        def work(db: sqlite3.Connection) -> int:
            keys = db.execute(f"SELECT key FROM execution WHERE {which} AND {free} LIMIT 1000", (value,)).fetchall()
            for table, column in (("outcome", "execution"), ("event", "execution"), ("execution", "key")):
                db.executemany(f"DELETE FROM {table} WHERE {column} = ?", keys)
            return len(keys)

        removed = 0
        while count := await self._ask(work):  # in portions, so that commits get their turn
            removed += count
        return removed

    async def save_definition(self, flow: str, revision: int, steps: bytes, owner: str = "") -> None:
        def work(db: sqlite3.Connection) -> None:
            query = "SELECT steps FROM definition WHERE flow = ? AND revision = ?"
            found = db.execute(query, (flow, revision)).fetchone()
            if found is None:
                db.execute("INSERT INTO definition VALUES (?, ?, ?, ?)", (flow, revision, steps, owner))
            elif found[0] != steps:
                raise Conflict(f"revision {revision} of {flow!r} holds other steps", reason="revision", flow=flow)

        await self._ask(work)
        self._changed(Change.DEFINITIONS)

    # --- reading ------------------------------------------------------------------------------------------------------

    async def load(self, execution: str) -> Sequence[Record]:
        return await self._ask(lambda db: load(db, execution))

    async def list(
        self,
        flow: str | None = None,
        status: Status | None = None,
        since: float | None = None,
        limit: int = 100,
        cursor: str | None = None,
        *,
        unfinished: bool = False,
    ) -> Page:
        wanted = {"flow = ?": flow, "status = ?": status, "started >= ?": since, "key < ?": parse_cursor(cursor)}
        given = {text: value for text, value in wanted.items() if value is not None}
        where = " AND ".join([*given, "ended IS NULL" if unfinished else "1"])
        query = f"SELECT key, {_INFO} FROM execution WHERE {where} ORDER BY key DESC LIMIT ?"
        rows = await self._ask(lambda db: db.execute(query, (*given.values(), limit + 1)).fetchall())
        return Page([info(row[1:]) for row in rows[:limit]], str(rows[limit - 1][0]) if len(rows) > limit else None)

    async def definitions(self, flow: str | None = None, *, after: int = 0) -> Sequence[StoredDefinition]:
        query = (
            "SELECT flow, revision, steps, owner FROM definition WHERE (?1 IS NULL OR flow = ?1) AND revision > ?2"
            " ORDER BY 1, 2"
        )
        return [
            StoredDefinition(*row) for row in await self._ask(lambda db: db.execute(query, (flow, after)).fetchall())
        ]

    async def check(self) -> Sequence[str]:
        def work(db: sqlite3.Connection) -> list[str]:
            wrong = [row[0] for row in db.execute("PRAGMA integrity_check") if row[0] != "ok"]
            for table in ("outcome", "event"):
                query = f"SELECT count(*) FROM {table} WHERE execution NOT IN (SELECT key FROM execution)"
                if lost := db.execute(query).fetchone()[0]:
                    wrong.append(f"{lost} rows of {table} belong to no execution")
            return wrong

        return await self._ask(work)


def info(row: tuple[Any, ...]) -> ExecutionInfo:
    """A row of `_INFO` as the facts about one execution."""
    id_, flow, revision, status, *rest = row
    return ExecutionInfo(id_, flow, revision, Status(status), *rest)


def load(db: sqlite3.Connection, execution: str) -> Sequence[Record]:
    """The records of one execution in order."""
    query = "SELECT key, flow, revision, request, options, parent, started FROM execution WHERE id = ?"
    start = db.execute(query, (execution,)).fetchone()
    if start is None:
        return []
    made: list[tuple[int, Record]] = []
    columns = "seq, step, attempt, status, output, error, recovered, json, started, ended"
    for row in db.execute(f"SELECT {columns} FROM outcome WHERE execution = ?", start[:1]):
        seq, step, attempt, status, output, error, recovered, json, *times = row
        facts = (output, decode_error(error), bool(recovered), bool(json))
        made.append((seq, StepEnded(execution, step, attempt, status, *facts, *times)))
    for seq, kind, body in db.execute("SELECT seq, kind, body FROM event WHERE execution = ?", start[:1]):
        made.append((seq, decode(kind, execution, body)))
    made.sort(key=lambda pair: pair[0])
    return [ExecutionStarted(execution, *start[1:]), *(record for _, record in made)]

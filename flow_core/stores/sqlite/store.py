"""`SqliteStore`: durable in one file, without a server; nothing but the standard library."""
# ruff: noqa: S608 - every text put into a statement is a constant of this module; values are bound

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final, TypeVar

from flow_core.errors import InvalidOption, StoreUnavailable
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
from flow_core.stores.rules import other_steps
from flow_core.stores.sqlite.rows import SqliteWriter
from flow_core.stores.sqlite.schema import connect, connect_to_read, settle, translated, waited
from flow_core.stores.watchers import Watchers

__all__ = ["SqliteStore"]

T = TypeVar("T")
#: Who waits for the answer, and what to do.
Job = tuple[asyncio.Future[Any], Callable[[sqlite3.Connection], Any]]
_INFO: Final = "id, flow, revision, status, parent, started, ended, epoch, recoveries"
_DEAD: Final = "EXISTS (SELECT 1 FROM owner WHERE owner.epoch = execution.epoch AND fenced)"


class SqliteStore(Store):
    """Keeps executions in one SQLite file, which several processes of one machine may share.

        store = SqliteStore("sqlite:///flow.db")     # Flow(store="sqlite:///flow.db") makes one of its own
        async with store, Flow(store=store) as flow:
            await flow.executor.list(limit=10)

    Every commit is on the disk when it returns (WAL, ``synchronous=FULL``). One thread owns the connection and does one
    thing after the other, each in a transaction of its own.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, or a path.
        clock: gives UTC seconds, for leases and for retention by age.
        read_only: create, migrate and write nothing, and never keep a writer waiting.

    Raises:
        InvalidOption: ``url`` names no file.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time, read_only: bool = False) -> None:
        path = url.removeprefix("sqlite:///")
        if not path or "://" in path or path.startswith("sqlite:") or path == ":memory:":
            raise InvalidOption(f"no path of a file in {url!r:.80}", fix="write sqlite:///flow.db")
        self.path: Final = path
        self._clock: Final = clock
        self._read_only: Final = read_only
        self._db: sqlite3.Connection | None = None
        self._writer: SqliteWriter | None = None
        #: After a failure: what stands in the log may be in the kernel's memory only.
        self._doubt = False
        self._thread: threading.Thread | None = None
        self._watchers = Watchers()

    # --- life ---------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        opening = self._thread is None
        if opening:
            self._loop = asyncio.get_running_loop()
            #: None: the end.
            self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
            self._thread = threading.Thread(target=self._work, name="flow-core-sqlite", daemon=True)
            self._thread.start()
        try:
            await self._ask(lambda db: None)
        except BaseException:
            if opening:
                await self.close()
            raise

    async def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join)

    def _ask(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Run ``work`` on the store's thread in a transaction of its own, also when nobody waits for the answer."""
        if self._thread is None:
            raise StoreUnavailable(f"{self.path} is closed", fix="open the store first")
        answer: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((answer, work))
        return answer

    # --- the thread ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            answer, work = job
            try:
                result = self._transaction(work)
            except BaseException as error:
                self._tell(answer, None, error)
            else:
                self._tell(answer, result, None)
        self._drop()

    def _tell(self, answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        try:
            self._loop.call_soon_threadsafe(settle_answer, answer, result, error)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    def _transaction(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        try:
            db = self._connected()
            db.execute("BEGIN" if self._read_only else "BEGIN IMMEDIATE")
            result = work(db)
            db.execute("COMMIT")
            return result
        except sqlite3.Error as error:
            self._doubt |= not waited(error)
            self._drop()
            raise translated(error, self.path) from error
        except BaseException:  # a refusal: the connection is as good as it was
            if self._db is not None and self._writer is not None:
                self._writer.forget()
                self._rollback(self._db)
            raise

    def _rollback(self, db: sqlite3.Connection) -> None:
        try:
            if db.in_transaction:
                db.execute("ROLLBACK")
        except sqlite3.Error:
            pass  # rolled back already, or by the next opening

    def _connected(self) -> sqlite3.Connection:
        if self._db is None:
            db = connect_to_read(self.path) if self._read_only else connect(self.path)
            if self._doubt and not self._read_only:
                settle(db, self.path)
                self._doubt = False
            self._db, self._writer = db, SqliteWriter(db)
        return self._db

    def _drop(self) -> None:
        """Forget the connection: after an error the next job opens the file afresh, which is how the store heals."""
        db, self._db, self._writer = self._db, None, None
        if db is not None:
            self._rollback(db)
            try:
                db.close()
            except sqlite3.Error:
                pass  # the log is kept and read by the next opening

    # --- writing ------------------------------------------------------------------------------------------------------

    async def commit(self, epoch: Epoch, records: Sequence[Record], *, commit_id: int | None = None) -> None:
        def work(db: sqlite3.Connection) -> None:
            assert self._writer is not None
            self._writer.write(epoch, records, commit_id)

        await self._ask(work)

    def watch(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        return self._watchers.add(callback)

    async def begin(self, executor: str, lease: float) -> Epoch:
        def work(db: sqlite3.Connection) -> int:
            db.execute("UPDATE owner SET fenced = 1 WHERE executor = ?", (executor,))
            row = db.execute("INSERT INTO owner (executor, expires) VALUES (?, ?)", (executor, self._clock() + lease))
            return row.lastrowid or 0

        number = await self._ask(work)
        self._watchers.tell(Change.WORK)
        return Epoch(number, executor, lease)

    async def renew(self, epoch: Epoch) -> None:
        def work(db: sqlite3.Connection) -> None:
            self._check_epoch(epoch)
            until = self._clock() + epoch.lease
            db.execute("UPDATE owner SET expires = ? WHERE epoch = ?", (until, epoch.number))

        await self._ask(work)

    async def release(self, epoch: Epoch) -> None:
        def work(db: sqlite3.Connection) -> None:
            self._check_epoch(epoch)
            db.execute("UPDATE owner SET fenced = 1, clean = 1 WHERE epoch = ?", (epoch.number,))

        await self._ask(work)
        self._watchers.tell(Change.WORK)

    async def owners(self) -> Sequence[str]:
        query = "SELECT executor FROM owner WHERE NOT fenced ORDER BY epoch"
        return [name for (name,) in await self._ask(lambda db: db.execute(query).fetchall())]

    def _check_epoch(self, epoch: Epoch) -> None:
        assert self._writer is not None
        self._writer.check_epoch(epoch)

    async def claim(self, epoch: Epoch, limit: int = 100) -> Sequence[ExecutionInfo]:
        def work(db: sqlite3.Connection) -> list[ExecutionInfo]:
            self._check_epoch(epoch)
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
                raise other_steps(flow, revision)

        await self._ask(work)
        self._watchers.tell(Change.DEFINITIONS)

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


def settle_answer(answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    """Tell a caller, who may have been cancelled meanwhile, how its job ended."""
    if answer.done():
        return
    if error is None:
        answer.set_result(result)
    else:
        answer.set_exception(error)


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

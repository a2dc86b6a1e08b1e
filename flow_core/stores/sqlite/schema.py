"""The schema of `SqliteStore`'s file: opening and migrating it, and what SQLite's errors mean.

Why records are appended by a running number with an index beside, instead of a table ordered by execution: 1,000
executions that each add one row would touch 1,000 pages in each commit; appended they touch a few, and the narrow index
the rest. Measured
once each at 40 steps an execution, bare inserts: about 320,000 rows/s against 130,000 to 180,000.
"""

from __future__ import annotations

import os
import sqlite3
import urllib.parse
from typing import Final

from flow_core.errors import ForeignStore, SchemaTooNew, StoreCorrupt, StoreError, StoreFull, StoreUnavailable

__all__ = ["MIGRATIONS", "connect", "connect_to_read", "settle", "translated", "waited"]

APPLICATION_ID: Final = 0x464C4F57  # "FLOW"
MAGIC: Final = b"SQLite format 3\0"
#: Number n brings a file from schema n to n + 1. A released one is never changed.
MIGRATIONS: Final = (
    (
        "CREATE TABLE owner (epoch INTEGER PRIMARY KEY AUTOINCREMENT, executor TEXT NOT NULL, expires REAL NOT NULL,"
        " fenced INTEGER NOT NULL DEFAULT 0, clean INTEGER NOT NULL DEFAULT 0)",
        "CREATE TABLE receipt (epoch INTEGER, number INTEGER, seq INTEGER, PRIMARY KEY (epoch, number)) WITHOUT ROWID",
        "CREATE TABLE execution (key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, flow TEXT NOT NULL,"
        " revision INTEGER NOT NULL, status INTEGER NOT NULL, parent TEXT, started REAL NOT NULL, ended REAL,"
        " epoch INTEGER NOT NULL, recoveries INTEGER NOT NULL DEFAULT 0, progress INTEGER NOT NULL DEFAULT -1,"
        " request BLOB NOT NULL, options BLOB NOT NULL)",
        "CREATE INDEX unfinished ON execution (key) WHERE ended IS NULL",
        "CREATE INDEX finished ON execution (ended) WHERE ended IS NOT NULL",
        "CREATE TABLE outcome (seq INTEGER PRIMARY KEY, execution INTEGER NOT NULL, step TEXT NOT NULL,"
        " attempt INTEGER NOT NULL, status INTEGER NOT NULL, output BLOB, error BLOB, recovered INTEGER NOT NULL,"
        " json INTEGER NOT NULL, started REAL NOT NULL, ended REAL NOT NULL)",
        "CREATE UNIQUE INDEX one_outcome ON outcome (execution, step)",
        "CREATE TABLE event (seq INTEGER PRIMARY KEY, execution INTEGER NOT NULL, kind INTEGER NOT NULL, body BLOB)",
        "CREATE INDEX event_of ON event (execution)",
        "CREATE TABLE definition (flow TEXT, revision INTEGER, steps BLOB NOT NULL, owner TEXT NOT NULL,"
        " PRIMARY KEY (flow, revision))",
    ),
)


def waited(error: sqlite3.Error) -> bool:
    """Whether all that was wrong is that another process held the file: then nothing was written."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def translated(error: sqlite3.Error, path: str) -> StoreError:
    """The error of ours that tells what to do about one of SQLite's."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the upper bits are the extended code
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(f"no space for {path}", fix="free some; the store goes on by itself")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreCorrupt(f"{path} is damaged: {error}", fix="restore a backup")
    return StoreUnavailable(f"{path} can't be used now: {error}")


def inspect(path: str) -> None:
    """Refuse a file that is not ours by reading its first bytes only: SQLite itself might begin to recover it."""
    try:
        with open(path, "rb") as file:
            head = file.read(100)
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreUnavailable(f"{path} can't be read: {error.strerror}") from error
    if not head:
        return
    if len(head) < 100 or not head.startswith(MAGIC):
        raise ForeignStore(f"{path} is not a SQLite database", fix="name another file")
    if int.from_bytes(head[68:72], "big") != APPLICATION_ID:
        raise ForeignStore(f"{path} is a database of another program", fix="name another file")
    too_new(int.from_bytes(head[60:64], "big"), path)
    page = int.from_bytes(head[16:18], "big")
    expected = (65536 if page == 1 else page) * int.from_bytes(head[28:32], "big")
    # With a log beside it the rest of the file may still be in there.
    if size < expected and not os.path.exists(path + "-wal"):
        raise StoreCorrupt(f"{path} is cut off: {size} of {expected} bytes", fix="restore a backup")


def too_new(version: int, path: str) -> None:
    """Refuse a schema that this version does not know."""
    if version > len(MIGRATIONS):
        raise SchemaTooNew(f"{path} has schema {version}, this version knows {len(MIGRATIONS)}", fix="update flow-core")


def connect(path: str, busy: float = 5.0) -> sqlite3.Connection:
    """Open, create or migrate; every commit is on the disk when it returns (WAL, ``synchronous=FULL``)."""
    inspect(path)
    db = None
    try:
        db = sqlite3.connect(path, timeout=busy, isolation_level=None, check_same_thread=False)
        fresh = not db.execute("SELECT 1 FROM sqlite_schema").fetchone()
        if fresh:  # in the main file, before there is a log: `inspect` reads it there
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA checkpoint_fullfsync = ON")
        db.execute("PRAGMA fullfsync = ON")  # macOS: an fsync there does not reach the platter
        migrate(db, path)
    except sqlite3.Error as error:
        if db is not None:
            db.close()
        raise translated(error, path) from error
    except StoreError:
        if db is not None:
            db.close()
        raise
    return db


def settle(db: sqlite3.Connection, path: str) -> None:
    """Bring what stands in the log onto the disk. Closes the connection and raises when that can't be done.

    A commit whose sync failed is complete in the log, so the next connection takes it for committed, and a sync of the
    log alone may then succeed without writing: Linux reports an error once and forgets the pages. A checkpoint writes
    them to the file itself, and syncs that.
    """
    try:
        busy = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.Error as error:
        db.close()
        raise translated(error, path) from error
    if busy:
        db.close()
        raise StoreUnavailable(f"{path} can't be brought onto the disk now: another process uses it")


def connect_to_read(path: str, busy: float = 5.0) -> sqlite3.Connection:
    """Open a file that is there and has this version's schema, and never write to it."""
    inspect(path)
    if not os.path.isfile(path):
        raise StoreUnavailable(f"there is no file {path}", fix="name the file of a store")
    db = None
    try:
        uri = f"file:{urllib.parse.quote(os.path.abspath(path))}?mode=ro"
        db = sqlite3.connect(uri, uri=True, timeout=busy, isolation_level=None, check_same_thread=False)
        version = db.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error as error:
        if db is not None:
            db.close()
        raise translated(error, path) from error
    if version != len(MIGRATIONS):
        db.close()
        fix = "open it once with Flow(store=) or doctor, which migrate it"
        raise StoreError(f"{path} has schema {version}, this version reads {len(MIGRATIONS)}", fix=fix)
    return db


def migrate(db: sqlite3.Connection, path: str) -> None:
    """Bring the schema up to date in one transaction, which also keeps two processes from doing it at once."""
    if db.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        too_new(version, path)
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")

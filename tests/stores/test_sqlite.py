"""What is SQLite's own: whose file it is, crashes of the process, a disk that fails and heals."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from flow_core.errors import Conflict, ForeignStore, SchemaTooNew, StoreCorrupt, StoreUnavailable
from flow_core.stores.sqlite import SqliteStore
from tests.aio import run
from tests.stores.contract import done, start

CHILD = Path(__file__).with_name("child.py")
ROOT = Path(__file__).resolve().parents[2]


def opened(path):
    async def main():
        async with SqliteStore(str(path)) as store:
            return [*await store.check()]

    return run(main())


def other_program(path):
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE theirs (x)")
    db.close()


def newer(path):
    opened(path)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA user_version = 99")
    db.close()


def cut_off(path):
    opened(path)
    os.truncate(path, 8192)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (other_program, ForeignStore),
        (lambda path: path.write_bytes(b"text" * 100), ForeignStore),
        (newer, SchemaTooNew),
        (cut_off, StoreCorrupt),
        (lambda path: path.mkdir(), StoreUnavailable),
    ],
)
def test_a_bad_file_is_named_and_left_alone(tmp_path, make, error):
    path = tmp_path / "x.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(error, match=r"x\.db"):
        opened(path)
    assert os.listdir(tmp_path) == ["x.db"]
    assert before is None or path.read_bytes() == before


def test_one_refused_commit_leaves_the_others_alone(tmp_path):
    async def main():
        async with SqliteStore(str(tmp_path / "x.db")) as store:
            epoch = await store.begin("me", 10)
            await store.commit(epoch, [start()])
            commits = [store.commit(epoch, [done(step="s1" if n == 5 else f"s{n}")]) for n in range(10)]
            ends = await asyncio.gather(*commits, return_exceptions=True)
            assert [type(end) for end in ends] == [*[type(None)] * 5, Conflict, *[type(None)] * 4]
            assert len(await store.load("e")) == 10

    run(main())


def child(path, *before):
    return subprocess.Popen(
        [*before, sys.executable, str(CHILD), str(path)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def acknowledged_are_there(path, acknowledged):
    async def main():
        async with SqliteStore(str(path)) as store:
            assert [*await store.check()] == []
            there = {record.step for record in (await store.load("e"))[1:]}
            assert {f"s{n}" for n in range(acknowledged)} <= there
            assert len(there) - acknowledged in (0, 1)

    run(main())


@pytest.mark.parametrize("lines", [1, 2, 17, 60])
def test_killed_at_any_time_nothing_acknowledged_is_missing(tmp_path, lines):
    process = child(tmp_path / "x.db")
    seen = [process.stdout.readline() for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    rest = process.communicate()[0].splitlines(keepends=True)
    acknowledged_are_there(tmp_path / "x.db", len([line for line in [*seen, *rest] if line.endswith(b"\n")]))


needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="NOT RUN: no strace here; apt-get install strace")


@needs_strace
@pytest.mark.parametrize("nth", [3, 11, 14, 17, 25])
def test_killed_in_an_fsync_nothing_acknowledged_is_missing(tmp_path, nth):
    inject = ["-e", "trace=fdatasync,fsync", "-e", f"inject=fdatasync:signal=SIGKILL:when={nth}"]
    process = child(tmp_path / "x.db", "strace", "-f", "-o", os.devnull, *inject)
    out, _ = process.communicate()
    assert process.returncode != 0
    assert (out.count(b"\n") > 0) == (nth > 16)  # opening and the start take the first ones
    acknowledged_are_there(tmp_path / "x.db", out.count(b"\n"))


@needs_strace
def test_no_commit_is_acknowledged_while_no_sync_succeeds(tmp_path):
    """What stands in the log after a failed sync is not committed yet, though the next connection finds it there."""
    inject = ["-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EIO:when=20+"]
    process = child(tmp_path / "x.db", "strace", "-f", "-o", os.devnull, *inject)
    lines = [process.stdout.readline().strip() for _ in range(20)]
    process.kill()  # strace, which lets go of the child; that ends at its next line
    process.stdout.close()
    process.wait()
    assert set(lines[lines.index(b"StoreUnavailable") :]) == {b"StoreUnavailable"}


@needs_strace
@pytest.mark.parametrize(
    ("fault", "told"),
    [("fdatasync:error=EIO:when=20", b"StoreUnavailable"), ("pwrite64:error=ENOSPC:when=60..70", b"StoreFull")],
)
def test_a_disk_that_fails_is_told_and_the_store_heals(tmp_path, fault, told):
    process = child(
        tmp_path / "x.db", "strace", "-f", "-o", os.devnull, "-e", "trace=fdatasync,pwrite64", "-e", f"inject={fault}"
    )
    lines = [process.stdout.readline() for _ in range(40)]
    process.stdout.close()  # ends the child at its next line
    process.wait()
    assert told + b"\n" in lines
    assert lines[-1].strip().isdigit()
    acknowledged = len({line for line in lines if line.strip().isdigit()})

    async def main():
        async with SqliteStore(str(tmp_path / "x.db")) as store:
            assert [*await store.check()] == []
            there = {record.step for record in (await store.load("e"))[1:]}
            assert {f"s{n}" for n in range(acknowledged)} <= there

    run(main())

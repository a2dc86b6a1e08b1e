"""A SQLite store that is only read: nothing is created, migrated or written, and nobody is kept waiting."""

from __future__ import annotations

import os
import sqlite3

import pytest

from flow_core import Flow, Step
from flow_core.errors import ForeignStore, StoreError, StoreUnavailable
from flow_core.model.records import Epoch, ExecutionStarted
from flow_core.stores.sqlite import SqliteStore
from tests.aio import run


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "a name with ? and # and %.db"

    async def fill():
        async with Flow(store=f"sqlite:///{file}") as flow:
            await flow.create_step("tea", Step("boil", lambda: "water"))
            await flow.execute("tea", id="cup")

    run(fill())
    return file


def test_it_reads_what_is_there(path):
    async def read():
        async with SqliteStore(str(path), read_only=True) as store:
            page = await store.list()
            return [one.execution for one in page.items], len(await store.load("cup")), await store.check()

    assert run(read()) == (["cup"], len(run(load(path))), [])


async def load(path):
    async with SqliteStore(str(path)) as store:
        return await store.load("cup")


def test_it_writes_nothing(path):
    before = path.read_bytes()

    async def write():
        async with SqliteStore(str(path), read_only=True) as store:
            for work in (
                store.begin("x", 1.0),
                store.save_definition("tea", 9, b""),
                store.commit(Epoch(1, "x", 1.0), [ExecutionStarted("y", "tea", 1, b"")]),
            ):
                with pytest.raises(StoreError):
                    await work
            assert (await store.list()).items

    run(write())
    assert path.read_bytes() == before


def test_a_writer_is_not_kept_waiting_nor_keeps_it_waiting(path):
    async def both():
        writer = sqlite3.connect(path, isolation_level=None)
        try:
            writer.execute("BEGIN IMMEDIATE")  # as a commit that takes long
            async with SqliteStore(str(path), read_only=True) as store:
                assert (await store.list()).items
            writer.execute("UPDATE execution SET recoveries = 7")
            writer.execute("COMMIT")
        finally:
            writer.close()

    run(both())


def test_a_file_that_is_not_there_is_not_made(tmp_path):
    async def read(name):
        async with SqliteStore(str(tmp_path / name), read_only=True):
            pass

    for name in ("none.db", ""):
        with pytest.raises(StoreUnavailable, match=r"there is no file|can't be read"):
            run(read(name))
    assert os.listdir(tmp_path) == []
    (tmp_path / "text").write_text("no database" * 20)
    with pytest.raises(ForeignStore):
        run(read("text"))


def test_another_schema_is_left_alone(path):
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA user_version = 0")
    db.close()

    async def read():
        async with SqliteStore(str(path), read_only=True):
            pass

    with pytest.raises(StoreError, match="has schema 0, this version reads"):
        run(read())
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (0,)
    db.close()

"""Opening on PostgreSQL: wrong URLs, passwords and rights, schemas of others; passwords are shown nowhere."""

import asyncio
import subprocess
import sys
import traceback

import pytest

from flow_core.errors import ForeignStore, InvalidOption, SchemaTooNew, StoreUnavailable
from flow_core.stores.postgres import PostgresStore
from tests.aio import run
from tests.servers.postgres import PASSWORD, QUOTED, free_port
from tests.stores.contract import start

pytestmark = pytest.mark.server


def opened(store):
    async def main():
        async with store:
            return [*await store.check()]

    return run(main())


def shows_no_password(error, secret="s3cr3t"):
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    # The URLs stand in the sources of the tests, which tracebacks quote; nothing else may show them.
    return not any(secret in line for line in shown.splitlines() if "postgresql://" not in line)


@pytest.mark.parametrize(
    ("url", "error", "names"),
    [
        ("postgresql://locked:s3cr3t-wrong@127.0.0.1:{port}/postgres", InvalidOption, "'postgres' at 127.0.0.1:{port}"),
        ("postgresql://locked@127.0.0.1:{port}/postgres", InvalidOption, "'postgres' at 127.0.0.1:{port}"),
        ("postgres://nobody:s3cr3t@127.0.0.1:{port}/postgres", InvalidOption, "'postgres' at 127.0.0.1:{port}"),
        ("postgresql://locked:{quoted}@127.0.0.1:{port}/nowhere", InvalidOption, "'nowhere' at 127.0.0.1:{port}"),
        ("postgresql://locked:{quoted}@127.0.0.1:{port}/postgres", InvalidOption, "permission denied"),
        ("postgresql://locked:{quoted}@127.0.0.1:{port}/postgres?sslmode=s3cr3t", InvalidOption, "can't be used"),
        ("postgresql://me:s3cr3t@127.0.0.1:{free}/flow", StoreUnavailable, "'flow' at 127.0.0.1:{free}"),
        ("postgresql:///flow?host=/nowhere&password=s3cr3t", StoreUnavailable, "'flow' at /nowhere"),
        ("postgresql://me:s3cr3t@host.invalid/flow", StoreUnavailable, "'flow' at host.invalid"),
    ],
)
def test_a_place_that_can_not_be_opened_is_named_without_its_password(postgres, monkeypatch, url, error, names):
    monkeypatch.setenv("PGPASSFILE", "/nowhere")
    facts = {"port": postgres.port, "quoted": QUOTED, "free": free_port()}
    before = postgres.query("SELECT count(*) FROM pg_class")
    store = PostgresStore(url.format(**facts), schema="never")
    with pytest.raises(error) as caught:
        opened(store)
    assert names.format(**facts) in str(caught.value)
    assert shows_no_password(caught.value) and "s3cr3t" not in repr(store) + str(caught.value)
    assert postgres.query("SELECT count(*) FROM pg_class") == before


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///flow.db",
        "me:s3cr3t@host/flow",
        "mysql://me:s3cr3t@host/flow",
        "postgresql://me:s3cr3t/more@host/flow",
        "postgresql://me:s3cr3t@more@host/flow",
        "postgresql://me:s3cr3t#more@host/flow",
        "postgresql://me:s3cr3t?more@host/flow",
        "postgresql://me:s3cr3t",
        "postgresql://me:s3cr3t@host:port/flow",
        "postgresql://me@[s3cr3t/flow",
        "",
    ],
)
def test_an_url_that_can_not_be_meant_is_refused_and_not_shown(url):
    with pytest.raises(InvalidOption) as caught:
        PostgresStore(url)
    assert shows_no_password(caught.value) and "s3cr3t" not in str(caught.value)
    assert "postgresql://" in str(caught.value)


@pytest.mark.parametrize("schema", ["", "Flow", "a-b", 'x"; DROP', "pg_flow", "public", "x" * 64])
def test_a_schema_that_can_not_be_ours_is_refused(schema):
    with pytest.raises(InvalidOption, match="schema"):
        PostgresStore("postgresql:///flow", schema=schema)


def test_who_knows_the_password_and_may_create_is_let_in(postgres, schema):
    postgres.query(f"CREATE SCHEMA {schema} AUTHORIZATION locked")
    store = PostgresStore(postgres.locked_url(), schema=schema)
    assert opened(store) == []
    assert opened(store) == []  # the same object again
    assert PASSWORD not in repr(store)


def test_a_schema_of_somebody_else_is_left_alone(postgres, make_postgres, schema):
    postgres.query(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.migration (version integer)")
    with pytest.raises(ForeignStore, match=schema):
        opened(make_postgres())
    assert postgres.query(f"SELECT count(*) FROM pg_class WHERE relnamespace = '{schema}'::regnamespace") == "1"


def test_a_newer_schema_is_left_alone(postgres, make_postgres, schema):
    opened(make_postgres())
    postgres.query(f"INSERT INTO {schema}.migration VALUES (99)")
    with pytest.raises(SchemaTooNew, match="99"):
        opened(make_postgres())


@pytest.mark.parametrize("name", ["flow_core", "select"])
def test_many_may_open_at_once_in_any_schema(make_postgres, postgres, name):
    async def main():
        stores = [make_postgres(schema=name) for _ in range(5)]
        await asyncio.gather(*(store.open() for store in stores))
        epochs = await asyncio.gather(*(store.begin(f"o{n}", 10) for n, store in enumerate(stores)))
        for n, (store, epoch) in enumerate(zip(stores, epochs, strict=True)):
            await store.commit(epoch, [start(f"e{n}")])
        assert len((await stores[0].list()).items) == 5
        await asyncio.gather(*(store.close() for store in stores))

    run(main())
    assert postgres.query(f'SELECT count(*) FROM "{name}".migration') == "1"


def test_a_server_that_does_not_wait_for_its_disk_is_told_to(postgres, make_postgres):
    postgres.query("ALTER ROLE postgres SET synchronous_commit = off")

    async def main():
        async with make_postgres() as store:
            await store.begin("me", 10)
            return await store._connections["owners"].run("fetchval", "SHOW synchronous_commit")

    try:
        assert run(main()) == "on"
    finally:
        postgres.query("ALTER ROLE postgres RESET synchronous_commit")


def test_without_asyncpg_the_extra_is_named():
    script = "import sys; sys.modules['asyncpg'] = None\nimport flow_core.stores.postgres.store"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "ImportError: PostgresStore needs asyncpg: pip install 'flow-core[postgres]'" in ran.stderr

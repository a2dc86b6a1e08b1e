"""Two at once on PostgreSQL, made certain: one is held in the middle by a lock, the other comes meanwhile.

Does not live here: races under load (``test_postgres.py``).
"""

import asyncio
from contextlib import asynccontextmanager

import asyncpg
import pytest

from flow_core.errors import LeaseLost
from tests.aio import run
from tests.stores.contract import done, start

pytestmark = pytest.mark.server


@asynccontextmanager
async def transaction(postgres, *texts):
    """One that is open for as long as the block lasts, and can say how many wait for locks."""
    connection = await asyncpg.connect(postgres.url)
    try:
        async with connection.transaction():
            for text in texts:
                await connection.execute(text)
            yield connection
    finally:
        await connection.close()


async def wait_for_waiting(connection, count, *tasks):
    """Until ``count`` statements wait for a lock; or a task is done, which should have waited."""
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    while await connection.fetchval(query) < count and not any(task.done() for task in tasks):
        await asyncio.sleep(0)


def another_start(schema):
    """Starts the same execution, uncommitted: whoever starts it too waits for the end of this, in mid-commit."""
    return (
        f"INSERT INTO {schema}.execution (key, id, flow, revision, status, started, epoch, request, options)"
        f" VALUES (-1, 'held', 'f', 1, 7, 0, 0, '', ''); SELECT set_config('deadlock_timeout', '1min', true)"
    )


class Stop(Exception):
    """Rolls a transaction back."""


async def held_commit(postgres, schema, store, epoch, meanwhile):
    """A commit that is in the middle, its owner checked, while ``meanwhile(connection, commit)`` runs."""
    try:
        async with transaction(postgres, another_start(schema)) as connection:
            commit = asyncio.create_task(store.commit(epoch, [start("held"), done("held")]))
            await wait_for_waiting(connection, 1, commit)
            assert not commit.done()
            await meanwhile(connection, commit)
            raise Stop
    except Stop:
        await commit


def test_a_beginning_waits_for_the_commit_that_it_fences(make_postgres, postgres, schema):
    async def main():
        async with make_postgres() as one, make_postgres() as two:
            epoch = await one.begin("same", 10)
            beginning = None

            async def meanwhile(connection, commit):
                nonlocal beginning
                beginning = asyncio.create_task(two.begin("same", 10))
                await wait_for_waiting(connection, 2, beginning)
                assert not beginning.done()

            await held_commit(postgres, schema, one, epoch, meanwhile)
            later = await beginning
            assert [info.execution for info in await two.claim(later)] == ["held"]
            with pytest.raises(LeaseLost):
                await one.commit(epoch, [done("held", "b")])

    run(main())


def test_a_claim_lets_an_owner_live_who_is_writing(make_postgres, postgres, schema):
    async def main():
        async with make_postgres() as one, make_postgres() as two:
            epoch = await one.begin("late", -1.0)
            other = await two.begin("other", 60)

            async def meanwhile(connection, commit):
                assert [*await two.claim(other)] == []

            await held_commit(postgres, schema, one, epoch, meanwhile)
            await one.commit(epoch, [done("held", "b")])
            assert [info.execution for info in await two.claim(other)] == ["held"]
            with pytest.raises(LeaseLost):
                await one.renew(epoch)

    run(main())


def test_who_begins_at_once_under_one_name_waits(make_postgres, postgres, schema):
    async def main():
        async with make_postgres() as store:
            async with transaction(postgres, f"SELECT {schema}.begin('same', 10, NULL)") as connection:
                beginning = asyncio.create_task(store.begin("same", 10))
                await wait_for_waiting(connection, 1, beginning)
                assert not beginning.done()
            await beginning

    run(main())
    assert postgres.query(f"SELECT count(*) FROM {schema}.owner WHERE NOT fenced") == "1"


def test_who_starts_the_same_at_once_learns_who_was_first(make_postgres, postgres, schema):
    async def main():
        async with make_postgres() as store:
            epoch = await store.begin("me", 10)
            async with transaction(postgres, another_start(schema)) as connection:
                sent = [store.commit(epoch, [start(id_, request=b"")]) for id_ in ("a", "held", "b")]
                waiting = asyncio.gather(*sent, return_exceptions=True)
                await wait_for_waiting(connection, 1, waiting)
            ends = await waiting
            assert [ends[0], ends[2], getattr(ends[1], "reason", None)] == [None, None, "exists"]

    run(main())

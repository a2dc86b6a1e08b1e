"""PostgreSQL that fails: killed under load, replies lost, frozen, full, changed underneath; nothing is lost or doubled.

Does not live here: what happens while all is well (``test_postgres.py``).
"""

import asyncio
import signal

import asyncpg
import pytest

import flow_core
from flow_core.errors import InternalError, StoreCorrupt, StoreFull, StoreTimeout, StoreUnavailable
from flow_core.model.records import AttemptFailed
from flow_core.stores.postgres.connection import PostgresAddress, translated
from tests.aio import run
from tests.stores.contract import done, start

pytestmark = pytest.mark.server
TASKS = 20
STEPS = 60
PER_TASK = TASKS * STEPS


def commit_of(task, n):
    """Every other commit is one that no unique index keeps from being written twice."""
    failed = AttemptFailed(f"e{task}", f"s{n}", 1, float(n))
    return [failed, done(f"e{task}", f"s{n}")] if n % 2 else [failed]


class Load:
    """Many callers that send again, under the same id, whatever did not surely arrive."""

    def __init__(self, store) -> None:
        self.store = store
        self.acknowledged = 0
        self.failed = 0
        self.ready = asyncio.Event()  # cleared while the server is known to be away
        self.ready.set()
        self.progress = asyncio.Condition()

    async def send(self, epoch, records, commit_id):
        while True:
            try:
                await self.store.commit(epoch, records, commit_id=commit_id)
                break
            except StoreUnavailable:
                self.failed += 1
                await self.ready.wait()
        self.acknowledged += 1
        async with self.progress:
            self.progress.notify_all()

    async def caller(self, epoch, task):
        await self.send(epoch, [start(f"e{task}")], task * 1000 + 999)
        for n in range(STEPS):
            await self.send(epoch, commit_of(task, n), task * 1000 + n)

    async def reached(self, count):
        async with self.progress:
            await self.progress.wait_for(lambda: self.acknowledged >= count)

    async def all_is_there_once(self):
        for task in range(TASKS):
            records = [record for n in range(STEPS) for record in commit_of(task, n)]
            assert [*await self.store.load(f"e{task}")] == [start(f"e{task}"), *records]
        assert [*await self.store.check()] == []


@pytest.mark.parametrize("run", [run, flow_core.run], ids=["asyncio", "uvloop"])
def test_killed_under_load_and_started_again_nothing_is_lost_or_doubled(make_postgres, postgres, run):
    async def main():
        async with make_postgres() as store:
            load = Load(store)
            epoch = await store.begin("me", 1000)
            callers = [asyncio.create_task(load.caller(epoch, task)) for task in range(TASKS)]
            for share in (5, 2):
                await load.reached(PER_TASK // share)
                load.ready.clear()
                postgres.kill()
                with pytest.raises(StoreUnavailable, match="postgres"):
                    await store.load("e0")
                await asyncio.to_thread(postgres.start)
                load.ready.set()
            await asyncio.gather(*callers)
            assert load.failed >= 2
            await load.all_is_there_once()
            await store.renew(epoch)

    try:
        run(main())
    finally:
        if not postgres.alive():
            postgres.start()


def test_lost_replies_are_settled_by_the_commit_id(make_postgres, postgres, schema):
    async def main():
        async with make_postgres() as store:
            load = Load(store)
            epoch = await store.begin("me", 1000)
            other = await asyncpg.connect(postgres.url)
            callers = [asyncio.create_task(load.caller(epoch, task)) for task in range(TASKS)]
            for n in range(1, 31):
                await load.reached(n * PER_TASK // 32)
                await other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid <> pg_backend_pid() AND query LIKE $1",
                    f'SELECT "{schema}".write%',
                )
            await asyncio.gather(*callers)
            await other.close()
            assert load.failed
            await load.all_is_there_once()

    run(main())


def test_written_though_the_caller_heard_that_it_failed(make_postgres):
    """The worst moment, made certain: the reply to a commit is thrown away."""

    async def main():
        async with make_postgres() as store:
            epoch = await store.begin("me", 1000)
            line = store._connections["commits"]
            sound = line.run

            async def deaf(method, query, *values):
                answer = await sound(method, query, *values)
                if ".write(" in query:
                    raise ConnectionResetError("the reply is lost")
                return answer

            commits = [[start("e0")], commit_of(0, 0), commit_of(0, 1)]
            line.run = deaf
            ends = await asyncio.gather(
                *(store.commit(epoch, commit, commit_id=n) for n, commit in enumerate(commits)), return_exceptions=True
            )
            assert [type(each) for each in ends] == [StoreUnavailable] * 3
            line.run = sound
            for n, commit in enumerate(commits):
                await store.commit(epoch, commit, commit_id=n)
            assert [*await store.load("e0")] == [record for commit in commits for record in commit]

    run(main())


def test_a_frozen_server_is_a_timeout_and_passes(make_postgres, postgres):
    async def main():
        async with make_postgres(timeout=0.3) as store:
            epoch = await store.begin("me", 1000)
            await store.commit(epoch, [start()])
            postgres.signal(signal.SIGSTOP)
            try:
                for call in (store.commit(epoch, [done()], commit_id=1), store.renew(epoch), store.load("e")):
                    with pytest.raises(StoreTimeout, match="in time"):
                        await call
            finally:
                postgres.signal(signal.SIGCONT)
            while True:  # slow to wake up, perhaps
                try:
                    await store.commit(epoch, [done()], commit_id=1)
                    break
                except StoreUnavailable:
                    pass
            assert [*await store.load("e")] == [start(), done()]

    run(main())


def test_a_cancelled_question_leaves_the_line_usable(make_postgres):
    async def main():
        async with make_postgres() as store:
            epoch = await store.begin("me", 1000)
            await store.commit(epoch, [start()])
            for _ in range(5):
                question = asyncio.ensure_future(store.check())
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                question.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await question
                assert len(await store.load("e")) == 1

    run(main())


def test_when_all_tasks_are_cancelled_who_waits_is_told_and_the_store_can_be_closed(make_postgres):
    async def main():
        store = make_postgres()
        await store.open()
        epoch = await store.begin("me", 1000)

        async def caller():
            while True:
                await store.commit(epoch, [])

        callers = [asyncio.create_task(caller()) for _ in range(3)]
        await store.commit(epoch, [])
        waiting = asyncio.create_task(asyncio.wait([asyncio.shield(store.commit(epoch, [])) for _ in range(3)]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        writing = [task for task in asyncio.all_tasks() if task.get_name() == "flow-core-postgres"]
        for task in (*writing, *callers):  # as at the end of `asyncio.run`
            task.cancel()
        ends = await asyncio.gather(*callers, return_exceptions=True)
        assert {type(end) for end in ends} <= {asyncio.CancelledError, StoreUnavailable}
        for each in (await waiting)[0]:
            with pytest.raises(StoreUnavailable, match="closed"):
                each.result()
        await store.close()

    run(main())


@pytest.mark.parametrize("spoil", ["DROP SCHEMA {} CASCADE", "DROP TABLE {}.outcome", "DROP FUNCTION {}.claim"])
def test_a_schema_changed_underneath_is_damage(make_postgres, postgres, schema, spoil):
    async def main():
        async with make_postgres() as store:
            epoch = await store.begin("me", 1000)
            await store.commit(epoch, [start()])
            postgres.query(spoil.format(schema))
            with pytest.raises(StoreCorrupt, match="missing"):
                await (store.claim(epoch) if "claim" in spoil else store.commit(epoch, [done()]))

    run(main())


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (asyncpg.DiskFullError('could not extend file "base/1": No space left on device'), StoreFull),
        (asyncpg.IndexCorruptedError("bad page"), StoreCorrupt),
        (asyncpg.TooManyConnectionsError("sorry, too many clients already"), StoreUnavailable),
        (asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction"), StoreUnavailable),
        (asyncpg.QueryCanceledError("canceling statement due to statement timeout"), StoreTimeout),
        (asyncpg.PostgresSyntaxError("syntax error"), InternalError),
        (asyncpg.InterfaceError("connection is closed"), StoreUnavailable),
        (ConnectionResetError(104, "Connection reset by peer"), StoreUnavailable),
        (TimeoutError(), StoreTimeout),
    ],
)
def test_what_errors_mean(error, told):
    place = PostgresAddress("postgresql://me:hidden@db.example:5432/flow")
    made = translated(error, place)
    assert type(made) is told
    assert "'flow' at db.example:5432" in str(made) and "hidden" not in str(made)

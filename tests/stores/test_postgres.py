"""What is PostgreSQL's own: several processes on one server, commits at once, values it can't keep, hints.

Does not live here: servers that fail (``test_postgres_faults.py``), wrong URLs and schemas (``test_postgres_open.py``).
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from flow_core import Flow, Step
from flow_core.errors import Conflict, InvalidOption, LeaseLost, LimitExceeded, StoreUnavailable
from flow_core.model.records import AttemptFailed, ErrorRecord, StepEnded
from flow_core.model.revisions import Change
from flow_core.stores.postgres import writer as postgres_writer
from tests.aio import run
from tests.stores.contract import done, end, start

pytestmark = pytest.mark.server
CHILD = Path(__file__).with_name("child.py")
ROOT = Path(__file__).resolve().parents[2]


class Later:
    """The server's time and more, for a store that thinks the others dead."""

    ahead = 0.0

    def __call__(self):
        return time.time() + self.ahead


@pytest.fixture
def count(postgres, schema):
    return lambda text: int(postgres.query(f"SELECT count(*) FROM {text.format(schema)}"))


def test_two_stores_claim_a_thousand_at_once(make_postgres):
    async def main():
        async with (
            make_postgres() as one,
            make_postgres(clock=Later()) as two,
            make_postgres(clock=Later()) as three,
        ):
            dead = await one.begin("dead", 10)
            ids = [f"e{n:04}" for n in range(1000)]
            await one.commit(dead, [start(id_) for id_ in ids])
            two._clock.ahead = three._clock.ahead = 60

            taken = set()

            async def take(store, name):
                epoch = await store.begin(name, 1000)
                claimed = []
                while len(taken) < 1000:
                    found = await store.claim(epoch, 30)
                    taken.update(info.execution for info in found)
                    claimed += [info.execution for info in found]
                    await asyncio.gather(*(store.commit(epoch, [done(info.execution)]) for info in found))
                return claimed

            two_has, three_has = await asyncio.gather(take(two, "two"), take(three, "three"))
            assert sorted([*two_has, *three_has]) == ids
            with pytest.raises(LeaseLost):
                await one.commit(dead, [done("e0000", "b")])

    run(main())


def test_without_a_clock_the_server_says_who_is_late(make_postgres):
    async def main():
        async with make_postgres() as store:
            late, alive = await store.begin("late", -1.0), await store.begin("alive", 60.0)
            await store.commit(late, [start("a")])
            await store.commit(alive, [start("b"), start("c"), end("c", at=time.time() - 60)])
            other = await store.begin("other", 60.0)
            assert [info.execution for info in await store.claim(other)] == ["a"]
            assert await store.retain(timedelta(seconds=3600)) == 0
            assert await store.retain(timedelta(seconds=30)) == 1

    run(main())


def test_two_that_are_both_late_fence_each_other_without_waiting(make_postgres):
    async def main():
        async with make_postgres(clock=Later()) as one, make_postgres(clock=Later()) as two:
            for _ in range(10):
                first, second = await one.begin("one", 10), await two.begin("two", 10)
                one._clock.ahead += 60
                two._clock.ahead += 60
                ends = await asyncio.gather(one.claim(first), two.claim(second), return_exceptions=True)
                assert all(isinstance(each, (list, LeaseLost)) for each in ends)

    run(main())


def test_beginning_at_once_leaves_one_epoch(make_postgres, count):
    async def main():
        async with make_postgres() as one, make_postgres() as two:
            await asyncio.gather(*(store.begin("same", 10) for store in [one, two] * 5))

    run(main())
    assert count("{}.owner WHERE NOT fenced") == 1


def test_a_fence_under_load_lets_each_step_have_one_outcome(make_postgres):
    async def main():
        async with make_postgres() as one, make_postgres(clock=Later()) as two:
            for episode in range(15):
                old = await one.begin("old", 10)
                id_, written = f"e{episode}", {}
                await one.commit(old, [start(id_)])

                async def write(store, epoch, name, id_=id_, written=written):
                    for n in range(10_000):
                        steps = [f"{n}-{i}" for i in range(5)]
                        sent = (store.commit(epoch, [done(id_, step, name)]) for step in steps)
                        for step, error in zip(steps, await asyncio.gather(*sent, return_exceptions=True), strict=True):
                            if error is None:
                                assert written.setdefault(step, name) == name
                        if isinstance(error, LeaseLost) or [*written.values()].count(b"new") > 50:
                            return

                async def take_over(id_=id_, written=written):
                    while len(written) < 10:
                        await asyncio.sleep(0)
                    new = await two.begin("new", 1000)
                    two._clock.ahead += 60
                    while [info.execution for info in await two.claim(new)] != [id_]:
                        pass  # its owner was writing just then
                    await write(two, new, b"new")
                    await two.commit(new, [end(id_)])

                await asyncio.gather(write(one, old, b"old"), take_over())
                there = {
                    record.step: record.output for record in (await two.load(id_)) if isinstance(record, StepEnded)
                }
                assert there == written
                assert set(there.values()) == {b"old", b"new"}

    run(main())


def test_a_process_that_was_frozen_finds_its_lease_lost(postgres, schema, make_postgres):
    child = subprocess.Popen(
        [sys.executable, str(CHILD), postgres.url, schema],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    seen = [child.stdout.readline() for _ in range(30)]
    child.send_signal(signal.SIGSTOP)

    async def main():
        async with make_postgres(clock=Later()) as store:
            store._clock.ahead = 60
            epoch = await store.begin("other", 1000)
            assert [info.execution for info in await store.claim(epoch)] == ["e"]
            before = {record.step for record in (await store.load("e"))[1:]}
            await asyncio.gather(*(store.commit(epoch, [done(step=f"s{n}")]) for n in range(len(before), 2000)))
            child.send_signal(signal.SIGCONT)
            rest = child.communicate()[0].split()
            assert rest[-1] == b"LeaseLost"
            acknowledged = {b"s" + line.strip() for line in [*seen, *rest[:-1]]}
            assert acknowledged <= {step.encode() for step in before}
            assert len(before) - len(acknowledged) in {0, 1}
            assert len(await store.load("e")) == 2001

    run(main())
    assert child.returncode == 0


def test_many_executions_share_few_transactions(make_postgres, postgres, schema):
    async def nothing():
        pass

    async def main():
        async with make_postgres() as store, Flow(store=store) as flow:
            await flow.create_step("f", Step("a", nothing))
            await asyncio.gather(*(flow.execute("f", id=f"e{n}") for n in range(5000)))
            assert len((await store.list(limit=6000)).items) == 5000

    run(main())
    # Alone, each would take two: its start, and its outcome with its end. How many share one depends on the machine.
    assert int(postgres.query(f"SELECT last_value FROM {schema}.turn")) < 5000


def test_neither_receipts_nor_owners_pile_up(make_postgres, count):
    async def main():
        async with make_postgres() as store:
            epoch = await store.begin("me", 10)
            await store.commit(epoch, [start()])
            for block in range(30):
                ids = range(block * 1000, block * 1000 + 1000)
                await asyncio.gather(*(store.commit(epoch, [], commit_id=n) for n in ids))
            assert 8192 <= count("{}.receipt") < 2 * 8192 + 1024
            await store.commit(epoch, [end()])
            for _ in range(3):
                await store.begin("me", 10)

    run(main())
    assert count("{}.owner") == 1
    assert count("{}.receipt") == 0


def test_many_commits_sent_again_are_written_once(make_postgres):
    async def main():
        async with make_postgres() as store:
            epoch = await store.begin("me", 10)
            commits = [[start(f"e{n}"), done(f"e{n}")] for n in range(1000)]
            for some in (commits[:600], commits):
                await asyncio.gather(*(store.commit(epoch, each, commit_id=n) for n, each in enumerate(some)))
            assert len((await store.list(limit=2000)).items) == 1000
            for n in (0, 599, 600, 999):
                assert [*await store.load(f"e{n}")] == commits[n]

    run(main())


def test_a_fence_costs_the_others_nothing(make_postgres):
    async def main():
        async with make_postgres() as store:
            old, other = await store.begin("me", 10), await store.begin("other", 10)
            await store.commit(old, [start(f"o{n}") for n in range(500)])
            await store.commit(other, [start(f"e{n}") for n in range(500)])
            await store.begin("me", 10)
            sent = [store.commit((old, other)[n % 2], [done(f"{'oe'[n % 2]}{n // 2}")]) for n in range(1000)]
            ends = await asyncio.gather(*sent, return_exceptions=True)
            assert [type(each) for each in ends] == [LeaseLost, type(None)] * 500

    run(main())


def test_an_execution_removed_by_another_store_is_forgotten(make_postgres):
    async def main():
        async with make_postgres() as one, make_postgres() as two:
            epoch = await one.begin("me", 10)
            await one.commit(epoch, [start()])
            await two.commit(epoch, [end()])
            with pytest.raises(Conflict) as caught:
                await one.commit(epoch, [done()])
            assert caught.value.reason == "ended"
            await two.retain(0)
            with pytest.raises(Conflict) as caught:
                await one.commit(epoch, [done()])
            assert caught.value.reason == "unknown"
            await one.commit(epoch, [start(), done()])

    run(main())


@pytest.mark.parametrize(
    "records",
    [
        [done(step="\0")],
        [done(step="\ud800")],
        [done("\ud800")],
        [start("new", parent="\0")],
        [StepEnded("e", "a", 2**40, 3)],
        [StepEnded("e", "a", 1, 3, None, ErrorRecord("code", "\ud800", "E"))],
        [AttemptFailed("e", "a", 1, None, ErrorRecord("code", "\ud800", "E"))],
    ],
)
def test_a_value_that_can_not_be_kept_fails_alone(make_postgres, records):
    async def main():
        async with make_postgres() as store:
            epoch = await store.begin("me", 10)
            await store.commit(epoch, [start()])
            sent = [[done(step=f"s{n}")] for n in range(9)]
            sent.insert(4, records)
            ends = await asyncio.gather(*(store.commit(epoch, each) for each in sent), return_exceptions=True)
            bad = ends.pop(4)
            assert isinstance(bad, (InvalidOption, TypeError)), bad
            assert ends == [None] * 9
            assert len(await store.load("e")) == 10

    run(main())


def test_a_commit_beyond_reason_is_refused_by_name(make_postgres, monkeypatch):
    monkeypatch.setattr(postgres_writer, "COMMIT_BYTES", 1000)

    async def main():
        async with make_postgres() as store:
            epoch = await store.begin("me", 10)
            with pytest.raises(LimitExceeded, match="several"):
                await store.commit(epoch, [start(request=b"x" * 1001)])
            await store.commit(epoch, [start()])

    run(main())


def test_a_cancelled_caller_has_sent_its_commit_and_closing_finishes_it(make_postgres):
    async def main():
        async with make_postgres() as store:
            epoch = await store.begin("me", 10)
            sent = [asyncio.ensure_future(store.commit(epoch, [start(f"e{n}")])) for n in range(9)]
            await asyncio.sleep(0)
            sent[4].cancel()
        assert [each.cancelled() or each.result() for each in sent] == [None] * 4 + [True] + [None] * 4
        with pytest.raises(StoreUnavailable, match="closed"):
            await store.commit(epoch, [start("x")])
        with pytest.raises(StoreUnavailable, match="closed"):
            await store.load("e1")
        async with store:
            assert len((await store.list()).items) == 9

    run(main())


def test_others_are_heard_and_a_gap_is_told(make_postgres, postgres):
    async def main():
        heard = asyncio.Queue()

        async def until(wanted):
            while await heard.get() != wanted:
                pass

        async with make_postgres() as one, make_postgres() as two:
            two.watch(heard.put_nowait)
            await until(Change.WORK | Change.DEFINITIONS)  # it listens from now on
            await one.save_definition("f", 1, b"")
            await until(Change.DEFINITIONS)
            await one.save_definition("f", 1, b"")
            epoch = await one.begin("me", 10)
            await one.commit(epoch, [start()])
            await one.release(epoch)
            await until(Change.WORK)
            await one.begin("you", 10)
            await one.begin("you", 10)
            await until(Change.WORK)
            postgres.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
            await until(Change.WORK | Change.DEFINITIONS)
            assert heard.empty()
            epoch = await one.begin("me", 10)
            await one.release(epoch)
            assert [*await two.check()] == []
        assert heard.empty()  # nothing was unfinished: nothing to announce

    run(main())


def test_check_names_what_is_wrong(make_postgres, postgres, schema):
    async def main():
        async with make_postgres() as store:
            epoch = await store.begin("me", 10)
            await store.commit(epoch, [start("a"), done("a"), start("b"), done("b"), AttemptFailed("b", "b", 1, None)])
            assert [*await store.check()] == []
            postgres.query(f"DELETE FROM {schema}.owner; DELETE FROM {schema}.execution WHERE id = 'b'")
            postgres.query(f"SELECT setval('{schema}.execution_key', 1, false); DELETE FROM {schema}.migration")
            wrong = "\n".join(await store.check())
            assert "1 rows of outcome" in wrong and "1 rows of event" in wrong and "1 unfinished" in wrong

    run(main())

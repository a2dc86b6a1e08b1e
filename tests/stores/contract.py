"""What every store promises, as tests that any store can be put through.

A new store is one line in the ``make`` fixture's params of ``test_stores.py``: a callable ``(folder, clock) -> Store``
which gives the same data again when it is called twice.
"""

import asyncio
import json
from datetime import timedelta

import pytest

from flow_core.errors import Conflict, InvalidOption, LeaseLost, StoreUnavailable, UnknownExecution
from flow_core.model.records import (
    AttemptFailed,
    Compensated,
    Ending,
    ErrorRecord,
    ExecutionEnded,
    ExecutionStarted,
    Paused,
    Resumed,
    StepEnded,
    StepStarted,
)
from flow_core.model.status import Status
from flow_core.stores.memory import MemoryStore
from tests.aio import run

WRONG = ErrorRecord("step_failed", "no way \u2013 \0", "ValueError")


def start(id_="e", flow="f", request=b"in", **more):
    return ExecutionStarted(id_, flow, 1, request, **more)


def done(id_="e", step="a", output=b"out", **more):
    return StepEnded(id_, step, 1, int(Status.SUCCESS), output, **more)


def end(id_="e", status=Status.SUCCESS, at=0.0):
    return ExecutionEnded(id_, int(status), None, at)


class StoreContract:
    """The tests; ``play`` runs a scenario with an open store and its first epoch."""

    def test_a_store_may_be_opened_twice_and_one_close_ends_it(self, make):
        async def main():
            store = make()
            await asyncio.gather(store.open(), store.open())
            await store.begin("me", 10)
            await store.open()
            await store.begin("me", 10)
            await store.close()
            await store.close()
            if not isinstance(store, MemoryStore):
                with pytest.raises(StoreUnavailable, match="closed"):
                    await store.owners()
            async with store:
                assert [*await store.owners()] == ["me"]

        run(main())

    def test_every_kind_of_record_comes_back_in_order(self, play):
        records = [
            start(options=b'{"a":1}', parent="up", time_utc=3.5),
            StepStarted("e", "a", 1),
            AttemptFailed("e", "a", 1, 9.25, WRONG, 1.5, 2.25),
            done(step="a", output=bytes(range(256)), started_utc=1.5, time_utc=2.5),
            StepEnded("e", "b", 2, int(Status.FAILURE), None, WRONG),
            done(step="c", output=b"", recovered=True),
            AttemptFailed("e", "c", 7, None),
            Paused("e", "why", 8.0),
            Resumed("e", "", 9.0),
            Ending("e", int(Status.ABORTED), True, WRONG, 9.5),
            done(step="d", output=b'{"a":[1]}', json=True),
            Compensated("e", "a"),
            Compensated("e", "c", WRONG, 6.0),
            ExecutionEnded("e", int(Status.FAILURE), WRONG, 7.0),
        ]

        async def scenario(store, epoch):
            await store.commit(epoch, records[:4])
            await store.commit(epoch, records[4:])
            assert [*await store.load("e")] == records
            assert [*await store.load("other")] == []
            assert json.loads(await store.export("e"))["records"][4]["error"]["code"] == "step_failed"
            with pytest.raises(UnknownExecution):
                await store.export("other")

        play(scenario)

    @pytest.mark.parametrize("count", [1, 99, 100, 101, 1234])
    def test_commits_of_any_size(self, play, count):
        async def scenario(store, epoch):
            records = [start(), *(done(step=f"s{n}") for n in range(count))]
            await store.commit(epoch, records)
            assert [*await store.load("e")] == records

        play(scenario)

    @pytest.mark.parametrize(
        ("reason", "records"),
        [
            ("outcome", [done(output=b"else")]),
            ("outcome", [done(step="b"), done(step="b")]),
            ("request", [start(request=b"else")]),
            ("request", [start(flow="else")]),
            ("unknown", [done("nobody")]),
            ("exists", [start("over")]),
            ("ended", [done("over", "new")]),
            ("ended", [end(), done(step="new")]),
        ],
    )
    def test_a_conflict_is_told_and_nothing_is_written(self, play, reason, records):
        async def scenario(store, epoch):
            await store.commit(epoch, [start(), done(), start("over"), end("over")])
            for _ in range(2):  # what a refusal leaves in memory must not change the answer
                with pytest.raises(Conflict) as caught:
                    await store.commit(epoch, [start("new"), done(step="z"), *records])
                assert caught.value.reason == reason
                assert caught.value.execution == records[-1].execution
            assert [*await store.load("e")] == [start(), done()]
            assert [*await store.load("new")] == []
            await store.commit(epoch, [done(step="z")])

        play(scenario)

    def test_the_same_start_again_changes_nothing(self, play):
        async def scenario(store, epoch):
            await store.commit(epoch, [start()])
            await store.commit(epoch, [start(), done()])
            assert [*await store.load("e")] == [start(), done()]

        play(scenario)

    def test_a_commit_sent_again_is_written_once(self, play):
        async def scenario(store, epoch):
            for _ in range(2):
                await store.commit(epoch, [start(), done()], commit_id=7)
            assert len(await store.load("e")) == 2
            with pytest.raises(Conflict):
                await store.commit(epoch, [done()], commit_id=8)

        play(scenario)

    def test_commit_ids_are_remembered_long_enough(self, play):
        async def scenario(store, epoch):
            await store.commit(epoch, [start()])
            for number in range(1100):
                await store.commit(epoch, [done(step=f"s{number}")], commit_id=number)
            for number in range(1100 - 1024, 1100):
                await store.commit(epoch, [done(step=f"s{number}")], commit_id=number)

        play(scenario)

    def test_a_fenced_epoch_can_write_nothing(self, play):
        async def scenario(store, epoch):
            await store.commit(epoch, [start()])
            later = await store.begin("me", 10)
            assert later.number > epoch.number
            for call in (store.commit(epoch, [done()]), store.renew(epoch), store.claim(epoch), store.release(epoch)):
                with pytest.raises(LeaseLost):
                    await call
            with pytest.raises(LeaseLost):  # not claimed yet
                await store.commit(later, [done()])
            assert [found.execution for found in await store.claim(later)] == ["e"]
            await store.commit(later, [done()])

        play(scenario)

    def test_the_dead_are_taken_over_and_the_living_are_not(self, play, clock):
        async def scenario(store, epoch):
            await store.commit(epoch, [start("a"), start("b"), start("c"), end("c")])
            other = await store.begin("other", 1000)
            clock.now += 9
            assert [*await store.claim(other)] == []
            await store.renew(epoch)
            clock.now += 9
            assert [*await store.claim(other)] == []
            clock.now += 9
            first = await store.claim(other, 1)
            assert [found.execution for found in [*first, *await store.claim(other)]] == ["a", "b"]
            assert [*await store.claim(other)] == []
            with pytest.raises(LeaseLost):
                await store.commit(epoch, [done("a")])
            await store.commit(other, [done("a")])

        play(scenario)

    def test_recoveries_count_crashes_without_progress(self, play):
        async def scenario(store, epoch):
            await store.commit(epoch, [start()])
            counts = []
            for n in range(6):
                epoch = await store.begin("me", 10)
                counts.append((await store.claim(epoch))[0].recoveries)
                if n == 2:
                    await store.commit(epoch, [done()])
                if n == 4:
                    await store.release(epoch)
            assert counts == [1, 2, 3, 1, 2, 2]

        play(scenario)

    def test_a_resume_forgets_the_crashes_before_it(self, play):
        async def scenario(store, epoch):
            await store.commit(epoch, [start()])
            for expected in (1, 2, 1):
                epoch = await store.begin("me", 10)
                assert (await store.claim(epoch))[0].recoveries == expected
                if expected == 2:
                    await store.commit(epoch, [Paused("e"), Resumed("e")])

        play(scenario)

    def test_lists_and_pages(self, play):
        async def scenario(store, epoch):
            for n in range(7):
                await store.commit(epoch, [start(f"e{n}", flow="fg"[n % 2], time_utc=float(n))])
            await store.commit(epoch, [end("e0", at=9.0), Paused("e1"), Paused("e2"), Resumed("e2")])
            names, cursor = [], None
            while True:
                page = await store.list(limit=3, cursor=cursor)
                names += [found.execution for found in page.items]
                if (cursor := page.cursor) is None:
                    break
            assert names == [f"e{n}" for n in range(6, -1, -1)]

            async def ids(**filters):
                return [found.execution for found in (await store.list(**filters)).items]

            assert await ids(flow="g") == ["e5", "e3", "e1"]
            assert await ids(since=5.0) == ["e6", "e5"]
            assert await ids(status=Status.PAUSED) == ["e1"]
            assert await ids(status=Status.SUCCESS, flow="f") == ["e0"]
            assert [found.execution async for found in store.scan()] == names[:-1]
            with pytest.raises(InvalidOption):
                await store.list(cursor="1; DROP")

        play(scenario)

    @pytest.mark.parametrize(("keep", "left"), [(1, "ghe"), (timedelta(seconds=5), "ghe"), (0, "he"), (9, "abghe")])
    def test_retention(self, play, clock, keep, left):
        async def scenario(store, epoch):
            clock.now = 100.0
            ends = [start("a"), start("b"), start("g"), start("h"), start("e", parent="h")]
            await store.commit(epoch, [*ends, end("a", at=1.0), end("b", at=2.0), end("g", at=99.0), end("e", at=0.5)])
            removed = await store.retain(keep)
            kept = {found.execution for found in (await store.list()).items}
            assert kept == set(left)
            assert removed == 5 - len(left)
            assert [*await store.check()] == []

        play(scenario)

    def test_definitions(self, play):
        async def scenario(store, epoch):
            await store.save_definition("f", 2, b"two", "me")
            await store.save_definition("f", 1, b"one")
            await store.save_definition("f", 1, b"one")
            await store.save_definition("g", 1, b"")
            with pytest.raises(Conflict) as caught:
                await store.save_definition("f", 1, b"else")
            assert caught.value.reason == "revision"
            assert [found.steps for found in await store.definitions("f")] == [b"one", b"two"]
            assert len(await store.definitions()) == 3
            assert [found.steps for found in await store.definitions("f", after=1)] == [b"two"]
            assert [*await store.definitions("f", after=2)] == []

        play(scenario)

    def test_all_is_there_after_opening_again(self, play, again):
        async def scenario(store, epoch):
            await store.commit(epoch, [start(), done()], commit_id=1)
            await store.close()
            async with again(store) as same:
                assert [*await same.load("e")] == [start(), done()]
                await same.commit(epoch, [start(), done()], commit_id=1)
                assert [*await same.check()] == []

        play(scenario)

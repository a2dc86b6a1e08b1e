"""What every store promises to several owners and to many commits at once; goes with ``contract.py``.

Lives here: epochs, claims, receipts, commits at once, hints of changes. Does not live here: records, lists,
definitions.
"""

import asyncio

import pytest

from flow_core.errors import Conflict, LeaseLost
from flow_core.model.records import AttemptFailed, ExecutionStarted, Paused
from flow_core.model.revisions import Change
from flow_core.model.status import Status
from tests.stores.contract import done, end, start


def names(claimed):
    return [found.execution for found in claimed]


class OwnersContract:
    """The tests; ``play`` runs a scenario with an open store and its first epoch, a lease of 10 s of ``clock``."""

    def test_nobody_is_claimed_twice_and_nobody_is_left(self, play, clock):
        async def scenario(store, epoch):
            ids = [f"e{n:03}" for n in range(100)]
            await store.commit(epoch, [start(id_) for id_ in ids])
            clock.now += 20
            owners = [await store.begin(f"o{n}", 10) for n in range(7)]
            claimed = []
            while found := await asyncio.gather(*(store.claim(owner, 6) for owner in owners)):
                if not any(found):
                    break
                claimed += [(name, owner) for owner, some in zip(owners, found, strict=True) for name in names(some)]
            assert sorted(name for name, _ in claimed) == ids
            for name, owner in claimed:
                await store.commit(owner, [done(name)])

        play(scenario)

    def test_the_oldest_of_all_the_dead_come_first(self, play, clock):
        async def scenario(store, epoch):
            other = await store.begin("other", 10)
            for n in range(6):
                await store.commit((epoch, other)[n % 2], [start(f"e{n}")])
            clock.now += 20
            third = await store.begin("third", 10)
            assert names(await store.claim(third, 4)) == ["e0", "e1", "e2", "e3"]
            assert names(await store.claim(third, 4)) == ["e4", "e5"]

        play(scenario)

    def test_a_late_heartbeat_counts_when_nobody_was_faster(self, play, clock):
        async def scenario(store, epoch):
            await store.commit(epoch, [start()])
            other = await store.begin("other", 1000)
            clock.now += 20
            await store.renew(epoch)
            assert names(await store.claim(other)) == []
            await store.commit(epoch, [done()])

        play(scenario)

    def test_beginning_fences_nobody_else(self, play):
        async def scenario(store, epoch):
            await store.commit(epoch, [start()])
            other = await store.begin("other", 10)
            assert names(await store.claim(other)) == []
            await store.commit(epoch, [done()])
            with pytest.raises(LeaseLost):
                await store.commit(other, [done(step="b")])

        play(scenario)

    def test_the_owners_that_are_not_over(self, play):
        async def scenario(store, epoch):
            other = await store.begin("other", -5.0)
            assert [*await store.owners()] == ["me", "other"]
            later = await store.begin("me", 10)
            assert [*await store.owners()] == ["other", "me"]
            await store.release(other)
            assert [*await store.owners()] == ["me"]
            await store.release(later)
            assert [*await store.owners()] == []

        play(scenario)

    def test_what_was_released_is_free_at_once_and_was_no_crash(self, play):
        async def scenario(store, epoch):
            await store.commit(epoch, [start(), done(), start("p"), Paused("p", "why")])
            await store.release(epoch)
            other = await store.begin("other", 10)
            found = await store.claim(other)
            assert [(f.execution, f.status, f.recoveries, f.epoch) for f in found] == [
                ("e", Status.RUNNING, 0, other.number),
                ("p", Status.PAUSED, 0, other.number),
            ]

        play(scenario)

    def test_who_takes_over_goes_on_where_the_dead_stopped(self, play):
        async def scenario(store, epoch):
            records = [start(), AttemptFailed("e", "a", 1, 5.0), done()]
            await store.commit(epoch, records)
            later = await store.begin("me", 10)
            await store.claim(later)
            with pytest.raises(Conflict) as caught:
                await store.commit(later, [done(output=b"another")])
            assert (caught.value.reason, caught.value.step) == ("outcome", "a")
            more = [AttemptFailed("e", "b", 1, None), done(step="b"), end()]
            for record in more:
                await store.commit(later, [record])
            assert [*await store.load("e")] == [*records, *more]
            assert names(await store.claim(await store.begin("me", 10))) == []

        play(scenario)

    def test_a_start_of_another_owner_is_told(self, play):
        async def scenario(store, epoch):
            await store.commit(epoch, [start()])
            other = await store.begin("other", 10)
            with pytest.raises(Conflict) as caught:
                await store.commit(other, [start()])
            assert caught.value.reason == "exists"

        play(scenario)

    def test_one_refused_commit_leaves_the_others_alone(self, play):
        async def scenario(store, epoch):
            gone = await store.begin("gone", 10)
            await store.release(gone)
            await store.commit(epoch, [start(), start("over"), end("over")])
            commits = [
                [done(step="s1" if n in {5, 9} else f"s{n}"), AttemptFailed("e", f"s{n}", 1, 1.0)] for n in range(40)
            ]
            commits[11] = [done(step="x"), done("nobody")]
            commits[20] = [done("over")]
            epochs = [gone if n in {3, 30} else epoch for n in range(40)]
            sent = [store.commit(epochs[n], commits[n], commit_id=n) for n in range(40)]
            ends = await asyncio.gather(*sent, return_exceptions=True)
            bad = {n: type(error) for n, error in enumerate(ends) if error}
            assert bad == {3: LeaseLost, 5: Conflict, 9: Conflict, 11: Conflict, 20: Conflict, 30: LeaseLost}
            assert [ends[n].reason for n in (5, 9, 11, 20)] == ["outcome", "outcome", "unknown", "ended"]
            assert ends[5] is not ends[9]
            good = [record for n, records in enumerate(commits) if n not in bad for record in records]
            assert [*await store.load("e")] == [start(), *good]

        play(scenario)

    def test_commits_that_follow_one_another_need_not_wait(self, play):
        async def scenario(store, epoch):
            records = [start(), done(step="a"), Paused("e"), done(step="b"), end()]
            await asyncio.gather(*(store.commit(epoch, [record]) for record in records))
            assert [*await store.load("e")] == records
            with pytest.raises(Conflict):
                await store.commit(epoch, [done(step="c")])

        play(scenario)

    def test_sent_twice_at_once_is_written_once(self, play):
        async def scenario(store, epoch):
            await store.commit(epoch, [start()])
            failed = [AttemptFailed("e", "a", 1, 1.0)]
            await asyncio.gather(*(store.commit(epoch, failed, commit_id=n % 3) for n in range(9)))
            assert [*await store.load("e")] == [start(), *failed * 3]

        play(scenario)

    def test_a_commit_id_is_of_its_epoch_and_a_refusal_uses_none_up(self, play):
        async def scenario(store, epoch):
            other = await store.begin("other", 10)
            await store.commit(epoch, [start("a")], commit_id=1)
            await store.commit(other, [start("b")], commit_id=1)
            with pytest.raises(Conflict):
                await store.commit(epoch, [start("c"), done("nobody")], commit_id=2)
            await store.commit(epoch, [start("c")], commit_id=2)
            assert names((await store.list()).items) == ["c", "b", "a"]
            await store.release(other)
            with pytest.raises(LeaseLost):
                await store.commit(other, [start("b")], commit_id=1)

        play(scenario)

    def test_an_empty_commit_is_a_heartbeat_of_the_right_to_write(self, play):
        async def scenario(store, epoch):
            await store.commit(epoch, [])
            await store.commit(epoch, [], commit_id=1)
            await store.release(epoch)
            with pytest.raises(LeaseLost):
                await store.commit(epoch, [])

        play(scenario)

    def test_the_largest_and_the_longest_come_back(self, play):
        async def scenario(store, epoch):
            long = "x" * 255
            at = 1763971200.1234567
            records = [
                ExecutionStarted(long, long, 2**40, b"r" * 2**21, b"{}", long, at),
                done(long, long, bytes(range(256)) * 2**13, started_utc=at, time_utc=at + 1e-6),
            ]
            await store.commit(epoch, records)
            assert [*await store.load(long)] == records

        play(scenario)

    def test_many_are_removed_and_their_ids_are_free(self, play):
        async def scenario(store, epoch):
            await store.commit(epoch, [record for n in range(1234) for record in (start(f"e{n}"), end(f"e{n}"))])
            assert await store.retain(0) == 1234
            assert await store.retain(0) == 0
            await store.commit(epoch, [start("e7", request=b"else"), done("e7")])
            assert len(await store.load("e7")) == 2
            assert names((await store.list()).items) == ["e7"]

        play(scenario)

    def test_hints_of_changes(self, play):
        async def scenario(store, epoch):
            heard, called = [], asyncio.Event()

            def callback(change):
                heard.append(change)
                called.set()

            async def until(wanted):
                while not any(wanted in change for change in heard):
                    called.clear()
                    await called.wait()
                heard.clear()

            stop = store.watch(callback)
            await store.save_definition("f", 1, b"")
            await until(Change.DEFINITIONS)
            await store.commit(epoch, [start()])
            await store.release(epoch)
            await until(Change.WORK)
            stop()
            await store.save_definition("f", 2, b"")
            assert heard == []

        play(scenario)

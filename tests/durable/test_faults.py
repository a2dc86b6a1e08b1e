"""A store that fails at any commit, in any way: the end is right, nothing happens twice, nothing hangs.

Lives here: faults of commits, trouble, the loss of the epoch. Does not live here: crashes of the process
(`test_restart.py`), two executors (`test_owners.py`).
"""

import asyncio

import pytest

from flow_core import Status, Step
from flow_core.errors import Conflict, ExecutorStopped, LeaseLost, StoreUnavailable
from flow_core.model.records import StepEnded
from tests.durable.kit import Calls, chain, flow_on, memory, outcomes, play, until
from tests.durable.order import check_order, order
from tests.runtime.kit import turns
from tests.stores.faulty import FAULTS, Faulty

#: Commits that the order makes at most, its pause among them.
COMMITS = 24
LOST = ("lease_lost", "conflict")  # the executor begins anew


async def play_order(store, calls, **options):
    """The order, with a pause in the middle, on a store that fails; returns the flow when the order is over."""
    flow = flow_on(store)
    flow.predicate("never", lambda value: False)
    await flow.create_steps("order", order(calls, **options))
    execution = await flow.execute("order", 1, id="x", async_=True)
    await until(lambda: calls["pick0"] or execution.over)
    try:
        await flow.executor.pause("order", "x")
        await flow.executor.resume("order", "x")
    except Exception:  # it was lost meanwhile: nothing was promised
        assert execution.over
        await asyncio.sleep(20)  # and is taken up again
        if await flow.executor.status("order", "x") is Status.PAUSED:
            await flow.executor.resume("order", "x")
    await flow.executor.wait("order", "x")
    return flow


@pytest.mark.parametrize("ship_fails", [False, True], ids=["good", "rollback"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_any_commit(fault, ship_fails):
    told = 0
    for n in range(COMMITS):

        async def main(n=n):
            nonlocal told
            calls, inner = Calls(), memory()
            store = Faulty(inner, [None] * n + [fault])
            try:
                flow = await play_order(store, calls, ship_fails=ship_fails)
            except (LeaseLost, Conflict):  # it never began
                assert (n, calls, await inner.load("x")) == (0, {}, [])
                return
            told += len(store.told)
            await check_order(inner, "x", calls, again=fault in LOST, ship_fails=ship_fails)
            nothing_stays(flow)
            await flow.stop()

        play(main())
    assert told > 10, "faults of commits that are never made test nothing"


def nothing_stays(flow):
    """Nothing of an execution that is over stays in an executor."""
    executor = flow.executor
    statistics = executor.statistics()
    assert (statistics.executions_live, statistics.waiting, statistics.steps_running) == (0, 0, 0)
    assert executor._runner._timers == {} and executor._runner._handles == {}
    journal = executor._session.journal
    assert not journal._next.records and not journal._next.callbacks and journal._sent is None
    assert journal.trouble is None


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_at_every_other_commit(fault):
    async def main():
        calls, inner = Calls(), memory()
        rest = [] if fault in LOST else [None, fault] * 60
        flow = await play_order(Faulty(inner, [None, None, *[fault, None, None] * 3, *rest]), calls)
        await check_order(inner, "x", calls, again=4 if fault in LOST else 0)
        await flow.stop()

    play(main())


def test_many_executions_through_a_store_that_always_fails_once():
    async def main():
        calls, inner = Calls(), memory()
        kinds = [None, "timeout", "written", "unavailable", "full"]
        async with flow_on(Faulty(inner, kinds * 500)) as flow:
            await flow.create_steps("f", chain(calls, *"abcdef"))
            found = await asyncio.gather(*(flow.execute("f", i) for i in range(50)))
            assert {one.status for one in found} == {Status.SUCCESS}
            assert set(calls.values()) == {50}
            for one in found:
                assert len(await outcomes(inner, one.id)) == 6

    play(main())


class Sick(Faulty):
    """A store that fails as long as the test says."""

    def __init__(self, store):
        super().__init__(store, iter(lambda: self.fault, 1))
        self.fault = None
        self.claims = 0

    async def claim(self, epoch, limit=100):
        self.claims += 1
        return await self.store.claim(epoch, limit)


@pytest.mark.parametrize("fault", ["timeout", "written", "unavailable", "full"])
def test_an_executor_in_trouble_says_so_and_takes_nothing_on(fault):
    async def main():
        calls, store = Calls(), Sick(memory())
        async with flow_on(store) as flow:
            await flow.create_steps("f", chain(calls, "a", "b"))
            store.fault = fault
            starting = asyncio.create_task(flow.execute("f", 1, id="x"))
            await asyncio.sleep(1)
            assert isinstance(flow.executor._session.journal.trouble, StoreUnavailable)
            found = await flow.executor.explain("f", "x")
            assert "store" in {reason.kind for reason in found.reasons} and f"injected: {fault}" in str(found)
            claims = store.claims
            await asyncio.sleep(100)  # some heartbeats
            assert (store.claims, dict(calls)) == (claims, {})
            store.fault = None
            assert (await starting).response == "b"
            assert dict(calls) == {"a": 1, "b": 1}
            assert "store" not in {r.kind for r in (await flow.executor.explain("f", "x")).reasons}
            await asyncio.sleep(20)
            assert store.claims > claims

    play(main())


@pytest.mark.parametrize("fault", ["timeout", "full"])
def test_stop_returns_though_the_store_is_in_trouble(fault):
    async def main():
        calls, store, gate = Calls(), Sick(memory()), asyncio.Event()
        flow = flow_on(store)
        await flow.create_steps("f", [*chain(calls, "a", "b"), Step("c", calls.body("c", gate=gate))])
        execution = await flow.execute("f", 1, id="x", async_=True)
        await until(lambda: calls["c"])
        store.fault = fault
        gate.set()
        starting = asyncio.create_task(flow.execute("f", 1, id="y"))
        await asyncio.sleep(1)
        before = asyncio.get_running_loop().time()
        await flow.stop()
        assert asyncio.get_running_loop().time() - before < 10
        assert execution.over
        with pytest.raises(ExecutorStopped):
            await starting
        store.fault = None
        flow = flow_on(store)
        await flow.create_steps("f", [*chain(calls, "a", "b"), Step("c", calls.body("c", gate=gate))])
        assert await flow.executor.wait("f", "x") is Status.SUCCESS
        await flow.stop()

    play(main())


def test_an_executor_that_lost_its_epoch_goes_on_with_its_executions():
    async def main():
        calls, inner, gate = Calls(), memory(), asyncio.Event()
        store = Faulty(inner, [])
        async with flow_on(store) as flow:
            steps = [
                *chain(calls, "a"),
                Step("b", calls.body("b", gate=gate), after="a"),
                Step("c", calls.body("c"), after="b"),
            ]
            await flow.create_steps("f", steps)
            named = await flow.execute("f", 1, id="x", async_=True)
            other = await flow.execute("f", 1, async_=True)
            await until(lambda: calls["b"] == 2)
            store.faults = iter(["lease_lost"])
            gate.set()
            for execution in (named, other):
                with pytest.raises(LeaseLost):
                    await execution
                assert execution.status is Status.STOPPED
            assert await flow.executor.wait("f", "x") is Status.SUCCESS
            assert await flow.executor.wait("f", other.id) is Status.SUCCESS
            assert await flow.executor.status("f", "x") is Status.SUCCESS
            assert dict(calls) == {"a": 2, "b": 4, "c": 2}
            assert flow.executor.statistics().lost == 2
            assert (await flow.execute("f", 1)).status is Status.SUCCESS  # and takes new ones

    play(main())


def test_a_heartbeat_finds_out_that_the_epoch_is_over():
    async def main():
        calls, store, gate = Calls(), memory(), asyncio.Event()
        async with flow_on(store) as flow:
            await flow.create_steps("f", [Step("a", calls.body("a", gate=gate)), Step("b", calls.body("b"), after="a")])
            execution = await flow.execute("f", 1, id="x", async_=True)
            await until(lambda: calls["a"])
            await store.begin("one", 15.0)  # somebody of the same name
            await asyncio.sleep(20)
            assert execution.status is Status.STOPPED
            assert calls["a"] == 2, "it did not take its execution up again"
            gate.set()
            assert await flow.executor.wait("f", "x") is Status.SUCCESS

    play(main())


def test_an_outcome_of_somebody_else_ends_the_execution_here_and_no_other():
    """The store has it, so it is the one: whoever comes later goes on from there."""

    async def main():
        calls, store, gate = Calls(), memory(), asyncio.Event()
        async with flow_on(store) as flow:
            await flow.create_steps("f", [Step("a", calls.body("a", gate=gate))])
            one = await flow.execute("f", 1, id="x", async_=True)
            other = await flow.execute("f", 1, id="y", async_=True)
            epoch = flow.executor._session._lease.epoch
            await store.commit(epoch, [StepEnded("x", "a", 1, Status.SUCCESS, b'"else"', None, False, True)])
            gate.set()
            assert await other == "a"
            assert await one.wait() is Status.STOPPED
            assert (await outcomes(store, "x"))["a"].output == b'"else"'
            assert (await flow.execute("f", 1, id="x")).response == "else"
            assert calls["a"] == 2, "it was executed from the beginning"

    play(main())


def test_a_store_that_breaks_in_an_unforeseen_way_hangs_nobody():
    async def main():
        calls, store = Calls(), memory()
        async with flow_on(store) as flow:
            await flow.create_steps("f", chain(calls, "a", "b"))
            commit, broken = store.commit, [True]

            async def break_once(epoch, records, *, commit_id=None):
                if broken and any(isinstance(record, StepEnded) for record in records):
                    broken.clear()
                    raise ZeroDivisionError
                await commit(epoch, records, commit_id=commit_id)

            store.commit = break_once
            execution = await flow.execute("f", 1, id="x", async_=True)
            await execution.wait()
            assert "ZeroDivisionError" in str(execution.error)
            assert await flow.executor.wait("f", "x") is Status.SUCCESS
            await turns()

    play(main())


def test_what_a_store_can_never_keep_is_paused_in_the_end():
    async def main():
        calls, store = Calls(), memory()
        async with flow_on(store) as flow:
            await flow.create_steps("f", chain(calls, "a"))
            commit, broken = store.commit, []

            async def refuse(epoch, records, *, commit_id=None):
                if any(isinstance(record, StepEnded) for record in records):
                    broken.append(commit_id)
                    raise ZeroDivisionError
                await commit(epoch, records, commit_id=commit_id)

            store.commit = refuse
            await flow.execute("f", 1, id="x", async_=True)
            while await flow.executor.status("f", "x") is not Status.PAUSED:
                await asyncio.sleep(1)
            assert len(broken) == flow.executor.options.max_recoveries

    play(main())

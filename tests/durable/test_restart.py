"""What a restart finds: steps that are done, pauses, timers, options, errors, callables that come later."""

import asyncio

import pytest

from flow_core import Retry, Status, Step, StepContext
from flow_core.core.stepper import Stepper
from flow_core.errors import (
    ExecutionAborted,
    ExecutionTimeout,
    IllegalMove,
    Permanent,
    RecordedError,
    StepFailed,
    StepTimeout,
)
from tests.durable.kit import FIXED, Calls, again, chain, crash, flow_on, memory, outcomes, play, started, statuses
from tests.runtime.kit import turns, wait_for


@pytest.mark.parametrize("how", ["crash", "stop"])
def test_completed_steps_are_not_run_again(how):
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        steps = [
            *chain(calls, "a", "b"),
            Step("c", calls.body("c", gate=gate), after="b"),
            Step("d", calls.body("d"), after="c"),
        ]
        flow, execution = await started(store, steps)
        await wait_for(lambda: calls["c"])
        if how == "crash":
            crash(flow)
        else:
            await flow.stop()
            assert execution.status is Status.STOPPED
            assert [one.status for one in (await store.list()).items] == [Status.RUNNING]
        gate.set()
        flow = await again(store, steps)
        assert await flow.executor.wait("f", "x") is Status.SUCCESS
        assert dict(calls) == {"a": 1, "b": 1, "c": 2, "d": 1}
        assert await statuses(store, "x") == dict.fromkeys([*"abcd", ""], "SUCCESS")
        assert (await flow.execute("f", 1, id="x")).response == "d"
        await flow.stop()

    play(main())


def test_the_next_flow_takes_over_at_once_what_a_stopped_one_left():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        steps = [Step("a", calls.body("a", gate=gate))]
        flow, _ = await started(store, steps)
        await flow.stop()
        gate.set()
        other = flow_on(store, "another")
        await other.create_steps("f", steps)
        before = asyncio.get_running_loop().time()
        assert await other.executor.wait("f", "x") is Status.SUCCESS
        assert asyncio.get_running_loop().time() == before
        assert other.executor.statistics().recovered == 1
        await other.stop()

    play(main())


def test_a_retry_waits_for_its_time_across_a_crash():
    async def main():
        store, calls = memory(), Calls()
        steps = [Step("a", calls.body("a", fail=1), retry=FIXED)]
        flow, _ = await started(store, steps)
        await asyncio.sleep(4)
        crash(flow)
        flow = await again(store, steps)
        assert dict(calls) == {"a": 1}
        before = asyncio.get_running_loop().time()
        assert await flow.executor.wait("f", "x") is Status.SUCCESS
        assert asyncio.get_running_loop().time() - before == pytest.approx(6, abs=0.01)
        await flow.stop()

    play(main())


def test_a_timeout_of_the_execution_counts_from_its_start():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        steps = [Step("a", calls.body("a", gate=gate))]
        flow, _ = await started(store, steps, timeout=100)
        await asyncio.sleep(30)
        crash(flow)
        await asyncio.sleep(30)
        flow = await again(store, steps)
        before = asyncio.get_running_loop().time()
        with pytest.raises(ExecutionTimeout):
            await flow.execute("f", 1, id="x")
        assert asyncio.get_running_loop().time() - before == pytest.approx(40, abs=0.01)
        await flow.stop()

    play(main())


@pytest.mark.parametrize("away", [30, 500])
def test_the_total_timeout_of_a_first_attempt_goes_on(away):
    async def main():
        store, gate, began = memory(), asyncio.Event(), asyncio.get_running_loop().time()
        steps = [Step("a", Calls().body("a", gate=gate), retry=5, total_timeout=100)]
        flow, _ = await started(store, steps)
        await asyncio.sleep(10)
        crash(flow)
        await asyncio.sleep(away)
        flow = await again(store, steps)
        assert await flow.executor.wait("f", "x") is Status.FAILURE
        error = flow.executor._registry.known("x").errors["a"]
        assert type(error) is StepTimeout and "total_timeout=100" in str(error)
        over = asyncio.get_running_loop().time() - began
        assert over == pytest.approx(max(100, 10 + away), abs=2)
        await flow.stop()

    play(main())


def test_a_pause_survives_and_a_resume_ends_it():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        steps = [Step("a", calls.body("a", gate=gate)), Step("b", calls.body("b"), after="a")]
        flow, execution = await started(store, steps)
        await execution.pause()
        gate.set()
        await wait_for(lambda: execution.step_status_of("a") is Status.SUCCESS)
        crash(flow)
        flow = await again(store, steps)
        assert await flow.executor.status("f", "x") is Status.PAUSED
        assert [one.execution for one in (await flow.executor.list(status=Status.PAUSED)).items] == ["x"]
        await asyncio.sleep(100)
        assert dict(calls) == {"a": 1}
        await flow.executor.resume("f", "x")
        crash(flow)
        flow = await again(store, steps)
        assert await flow.executor.wait("f", "x") is Status.SUCCESS
        await flow.stop()

    play(main())


def test_a_rollback_goes_on_and_undoes_nothing_twice():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        never, done = asyncio.Event(), asyncio.Event()
        done.set()
        gates = {"a": done, "b": gate, "c": done}
        steps = [
            Step(name, calls.body(name), after=after, compensation=calls.body(f"undo {name}", gate=gates[name]))
            for name, after in (("a", ()), ("b", "a"), ("c", "b"))
        ]
        steps.append(Step("d", calls.body("d", gate=never), after="c"))
        flow, execution = await started(store, steps)
        await wait_for(lambda: calls["d"])
        aborting = asyncio.create_task(execution.abort(rollback=True))
        await wait_for(lambda: calls["undo b"])
        crash(flow)
        await asyncio.gather(aborting, return_exceptions=True)
        gate.set()
        flow = await again(store, steps)
        assert await flow.executor.wait("f", "x") is Status.ABORTED
        assert {n: calls[f"undo {n}"] for n in "abc"} == {"a": 1, "b": 2, "c": 1}
        with pytest.raises(ExecutionAborted):
            await flow.execute("f", 1, id="x")
        await flow.stop()

    play(main())


def test_an_at_most_once_step_is_not_called_again():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        steps = [Step("a", calls.body("a", gate=gate), delivery="at_most_once", retry=5)]
        flow, _ = await started(store, steps)
        await wait_for(lambda: calls["a"])
        crash(flow)
        flow = await again(store, steps)
        with pytest.raises(StepFailed, match="whether it took effect is not known"):
            await flow.execute("f", 1, id="x")
        assert dict(calls) == {"a": 1}
        assert (await outcomes(store, "x"))["a"].error.code == "interrupted"
        await flow.stop()

    play(main())


def test_the_options_hold_after_a_restart():
    async def main():
        store, gate, seen = memory(), asyncio.Event(), {}

        async def first(ctx: StepContext, value):
            await gate.wait()
            return {"n": value["n"]}

        async def second(ctx: StepContext, value):
            seen.update(ctx.options)
            raise OSError("no")

        undone = []

        async def undo(value):
            undone.append(value)

        steps = [
            Step("zero", first), Step("a", first, after="zero", compensation=undo), Step("b", second, after="a"),
        ]  # fmt: skip
        flow, execution = await started(
            store, steps, {"n": 1}, step="a", inputs={"zero": {"n": 2}}, context={"who": "me"}, priority=3,
            retries=Retry(2, initial=1, jitter="none", retry_on=OSError), rollback=False, concurrency=1, output="a",
        )  # fmt: skip
        before = execution.options
        crash(flow)
        gate.set()
        flow = await again(store, steps)
        await flow.executor.wait("f", "x")
        found = flow.executor.find("f", "x")
        for name in ("step", "inputs", "context", "priority", "retries", "rollback", "concurrency", "output"):
            assert getattr(found.options, name) == getattr(before, name), name
        assert (Stepper(found).attempt(found.plan.index("b")), seen, undone) == (3, {"who": "me"}, [])
        assert (found.response, Stepper(found).limit) == ({"n": 1}, 1)
        await flow.stop()

    play(main())


class Odd(Exception):
    code = print  # some libraries have methods of this name

    def __str__(self):
        return "odd \udcff"


class Mute(Exception):
    def __str__(self):
        raise TypeError("no words")


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (OSError("disk"), RecordedError, "OSError: disk"),
        (Permanent("never"), Permanent, "never"),
        (IllegalMove("no"), IllegalMove, "no"),
        (Odd(), RecordedError, "odd ?"),
        (Mute(), RecordedError, "Mute: its text can't be made"),
        (ValueError("x" * 100_000), RecordedError, "ValueError: xxx"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("kept", ["memory", "sqlite"])
def test_errors_come_back_as_what_they_were(tmp_path, error, kind, text, kept):
    async def main():
        store = memory() if kept == "memory" else f"sqlite:///{tmp_path}/flow.db"

        async def work(value):
            raise error

        async with flow_on(store) as flow:
            await flow.create_step("f", Step("a", work))
            with pytest.raises(StepFailed):
                await flow.execute("f", 1, id="x")
        async with flow_on(store) as flow:
            await flow.create_step("f", Step("a", work))
            with pytest.raises(StepFailed) as caught:
                await flow.execute("f", 1, id="x")
            assert caught.value.execution.errors["a"].__class__ is kind
            assert text in str(caught.value.execution.errors["a"])
            assert (await flow.executor.list()).items[0].status is Status.FAILURE

    play(main(), threads=kept == "sqlite") if kept == "memory" else asyncio.run(main())


def test_what_is_not_bound_yet_waits_and_says_so():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        steps = [Step("a", calls.body("a", gate=gate)), Step("b", calls.body("b"), after="a", when="sunny")]
        flow = flow_on(store)
        flow.predicate("sunny", lambda value: True)
        await flow.create_steps("f", steps)
        await flow.execute("f", 1, id="x", async_=True)
        crash(flow)
        gate.set()
        flow = flow_on(store)
        await flow.open()
        assert flow.executor.statistics().waiting == 1
        said = str(await flow.executor.explain("f", "x"))
        assert "the callable 'body.a' of step 'a'" in said and "the predicate 'sunny' of step 'b'" in said
        with pytest.raises(IllegalMove, match="can't go on yet"):
            await flow.executor.pause("f", "x")
        waiting = asyncio.create_task(flow.executor.wait("f", "x"))
        await flow.create_steps("f", steps)
        await turns()
        assert "sunny" in str(await flow.executor.explain("f", "x"))
        assert not waiting.done()
        flow.predicate("sunny", lambda value: True)
        assert await waiting is Status.SUCCESS
        assert flow.executor.statistics().waiting == 0
        await flow.stop()

    play(main())


def test_what_will_never_be_bound_can_be_aborted():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        flow, _ = await started(store, [Step("a", calls.body("a", gate=gate))])
        crash(flow)
        flow = flow_on(store)
        await flow.open()
        waiting = asyncio.create_task(flow.executor.wait("f", "x"))
        with pytest.raises(IllegalMove, match="can't go on yet"):
            await flow.executor.abort("f", "x", rollback=True)
        await flow.executor.abort("f", "x")
        assert await waiting is Status.ABORTED
        assert "the callable 'body.a'" in str(await flow.executor.explain("f", "x"))
        assert flow.executor.statistics().waiting == 0
        await flow.create_step("f", Step("a", calls.body("a", gate=gate)))
        await asyncio.sleep(10)
        assert calls["a"] == 1
        await flow.stop()

    play(main())


def test_what_killed_its_process_too_often_is_paused_fallback_or_not():
    async def main():
        store, calls, gate = memory(), Calls(), asyncio.Event()
        fatal = calls.body("instead", gate=gate)
        steps = [Step("a", calls.body("a", fail=99), fallback=fatal), Step("b", calls.body("b"), after="a")]
        flow, _ = await started(store, steps)
        for _ in range(3):
            await wait_for(lambda: calls["instead"])
            crash(flow)
            flow = await again(store, steps, max_recoveries=4)
        calls.clear()
        crash(flow)
        flow = await again(store, steps, max_recoveries=4)
        await asyncio.sleep(100)
        assert not calls, "it was started once more"
        assert await flow.executor.status("f", "x") is Status.PAUSED
        assert "its process ended 4 times" in str(await flow.executor.explain("f", "x"))
        crash(flow)
        flow = await again(store, steps, max_recoveries=4)
        assert await flow.executor.status("f", "x") is Status.PAUSED
        gate.set()
        await flow.executor.resume("f", "x")
        assert await flow.executor.wait("f", "x") is Status.SUCCESS
        await flow.stop()

    play(main())

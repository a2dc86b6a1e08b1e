"""Scheduler: starting, ending, every form of step, threads.

Lives here: the scheduler with the smallest handler. Does not live here: limits and deadlines
(``test_scheduler_limits.py``), memory (``test_scheduler_memory.py``), what steps see (``test_asyncio_world.py``), turns
and budgets (``test_turns.py``).
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from types import SimpleNamespace
from typing import Any

import pytest

from flow_core.core.plan import Flag, Kind
from flow_core.core.stepper import Stepper
from flow_core.core.task import Activity
from flow_core.errors import InternalError, QueueFull
from flow_core.model.status import Status
from tests.aio import run as on_loop
from tests.aio import run_virtual
from tests.core.kit import World, echo, fan, line, plan_of, timed, turns

# --- starting and ending ----------------------------------------------------------------------------------------------


def test_plain_steps_are_over_when_start_returns() -> None:
    async def main() -> None:
        world = World()
        run = world.scheduler.start(line(echo, echo), "x")
        assert run.over and Stepper(run).output(1) == "x" and Stepper(run).status_number == Status.SUCCESS
        assert world.scheduler.waiter(run) is None and world.heard == [("ended",)]
        assert world.scheduler.live == world.scheduler.running == 0 and len(world.table) == 1
        Stepper(run).check()

    on_loop(main())


def test_prepared_is_not_started_and_launch_starts_it() -> None:
    async def main() -> None:
        world = World()
        run = world.scheduler.prepare(line(echo), "x", depth=3, limit=7)
        await turns()
        assert (
            Stepper(run).status_number == Status.PENDING
            and (Stepper(run).depth, Stepper(run).limit) == (3, 7)
            and world.scheduler.live == 1
        )
        world.scheduler.launch(run)
        assert run.over and Stepper(run).output(0) == "x"

    on_loop(main())


def test_lookup_finds_known_runs_only() -> None:
    async def main() -> None:
        world = World()
        run = world.scheduler.start(line(echo), None)
        high, low = Stepper(run).id_words
        slot, generation = (low >> 32) & 0xFFFFFF, (high & 0xFFF) | ((low >> 56 & 0x3F) << 12)
        assert world.scheduler.lookup(slot, generation) is run and world.scheduler.runs_known() == [run]
        assert world.scheduler.lookup(slot, generation + 1) is None
        assert world.scheduler.lookup(10**6, generation) is None
        del run
        assert world.scheduler.lookup(slot, generation) is None and world.scheduler.runs_known() == []

    on_loop(main())


def test_a_full_table_refuses_and_recovers() -> None:
    async def main() -> None:
        world, gate = World(slots=4), asyncio.Event()

        async def step(_: Any) -> None:
            await gate.wait()

        runs = [world.scheduler.start(line(step), None) for _ in range(4)]
        with pytest.raises(QueueFull, match="holds 4 executions"):
            world.scheduler.start(line(step), None)
        assert world.scheduler.live == 4
        gate.set()
        for run in runs:
            await world.finished(run)
        del run, runs
        assert (await world.run(line(echo), 1)).output(0) == 1

    on_loop(main())


def test_ending_twice_is_refused() -> None:
    async def main() -> None:
        world = World()
        run = world.scheduler.start(line(echo), None)
        with pytest.raises(InternalError, match="can't go from"):
            world.scheduler.finish(run, Status.FAILURE)
        assert world.scheduler.live == 0

    on_loop(main())


def test_finished_runs_are_kept_up_to_keep() -> None:
    async def main() -> None:
        world = World()
        world.scheduler.runs.keep = 3
        dead = [weakref.ref(world.scheduler.start(line(echo), i)) for i in range(10)]
        assert [ref() is not None for ref in dead] == [False] * 7 + [True] * 3
        assert [run.request for run in world.scheduler.kept] == [7, 8, 9]

    on_loop(main())


def test_pause_abort_and_going_on() -> None:
    async def main() -> None:
        world, gate = World(), asyncio.Event()

        async def step(value: Any) -> Any:
            await gate.wait()
            return value

        run = world.scheduler.start(line(step, echo), 1)
        Stepper(run).ask(1)
        gate.set()
        await turns()
        assert run.counts == (2, 0, 1, 0, 0) and Stepper(run).ready_steps == [1] and not Stepper(run).busy
        Stepper(run).ask(0)
        world.scheduler.go_on(run)
        assert (await world.finished(run)).output(1) == 1

    on_loop(main())


# --- forms of steps ---------------------------------------------------------------------------------------------------


def test_arities_conditions_policies_and_operations() -> None:
    async def none() -> str:
        return "none"

    async def two(ctx: Any, value: Any) -> tuple[Any, Any]:
        return ctx, value

    async def wire(_: Any, data: bytes) -> bytes:
        return data + b"!"

    async def text(_: Any, data: bytes) -> str:
        return "not bytes"

    async def main() -> None:
        world = World(context_type=lambda run, index, activity: (index, activity), encode=lambda value: b"%d" % value)
        no, yes = SimpleNamespace(condition=lambda _: False), SimpleNamespace(condition=lambda value: value == 5)
        operation = {"kind": Kind.KIND_OPERATION, "arity": 2}
        plan = plan_of(
            {"none": none, "two": two, "wire": wire, "text": text, "no": echo, "yes": echo, "told": echo},
            None,
            {
                "none": {},
                "two": {},
                "wire": operation,
                "text": operation,
                "no": {"flags": Flag.FLAG_WHEN, "policy": no},
                "yes": {"flags": Flag.FLAG_WHEN, "policy": yes},
                "told": {"flags": Flag.FLAG_POLICY, "policy": object()},
            },
        )
        run = await world.run(plan, 5)
        assert [Stepper(run).output(v) for v in range(7)] == ["none", ((1, 0), 5), b"5!", None, None, 5, 5]
        assert [Status(Stepper(run).step_status(v)).name for v in (3, 4)] == ["FAILURE", "SKIPPED"]
        assert "returned str, not bytes" in str(world.failed[0][1])
        assert world.heard[:2] == [("started", 6), ("succeeded", 6)]

    on_loop(main())


def test_a_call_or_condition_that_raises_fails_the_step() -> None:
    def broken(_: Any) -> Any:
        raise KeyError("call")

    async def main() -> None:
        world = World()
        condition = SimpleNamespace(condition=broken)
        plan = plan_of(
            {"a": broken, "b": echo, "c": echo},
            None,
            {
                "a": {"kind": Kind.KIND_COROUTINE},
                "b": {"flags": Flag.FLAG_WHEN, "policy": condition},
                "c": {"call": None, "kind": Kind.KIND_UNBOUND},
            },
        )
        run = await world.run(plan)
        assert run.counts == (3, 0, 0, 3, 0) and world.scheduler.running == 0
        assert [type(error).__name__ for _, error in world.failed[:2]] == ["KeyError", "KeyError"]

    on_loop(main())


def test_activities_run_beside_the_steps() -> None:
    async def undo(value: Any) -> str:
        await asyncio.sleep(0)
        return f"undone {value}"

    async def main() -> None:
        world = World()
        policy = SimpleNamespace(call_of=lambda activity: (Kind.KIND_COROUTINE, 1, undo))
        run = world.scheduler.prepare(line(echo, policy=policy), None)
        world.scheduler.start_activity(run, 0, Activity.ACTIVITY_COMPENSATION, 3)
        assert Stepper(run).busy and world.scheduler.running == 1
        await turns()
        assert ("activity", 0, Activity.ACTIVITY_COMPENSATION, True, "undone 3") in world.heard
        assert not Stepper(run).busy and world.scheduler.running == 0

    on_loop(main())


# --- threads ----------------------------------------------------------------------------------------------------------


def test_thread_steps_and_their_errors() -> None:
    def work(value: Any) -> Any:
        return value, threading.current_thread() is threading.main_thread()

    def broken(_: Any) -> Any:
        raise KeyError("thread")

    async def main() -> None:
        world = World()
        run = await world.run(plan_of({"work": work, "broken": broken}), 4)
        assert Stepper(run).output(0) == (4, False) and run.counts == (2, 0, 1, 1, 0)
        assert [(v, repr(error)) for v, error in world.failed] == [(1, "KeyError('thread')")]
        for thread in world.threads:
            thread.join()

    on_loop(main())


def test_a_thread_past_its_deadline_is_left_at_once() -> None:
    async def main() -> None:
        world = World()
        world.hold_threads = True
        run = await world.run(line(lambda value: value, **timed(5)), "x")
        assert world.loop.time() == 5.0 and type(world.failed[0][1]) is TimeoutError and world.scheduler.running == 0
        ((task, function, arguments),) = world.submitted
        assert task.detached
        world.perform(task, function, arguments)
        await turns()
        assert world.scheduler.counters.value("late_outcomes") == 1 and not Stepper(run).has_output(0)

    run_virtual(main())


def test_detach_goes_on_without_a_task_once() -> None:
    async def main() -> None:
        world = World()
        world.hold_threads = True
        run = world.scheduler.start(fan(2, lambda value: value), 1)
        tasks = world.scheduler.cancel_tasks(run)
        assert [task.get_coro() for task in tasks] == [None, None] and world.scheduler.running == 2
        assert world.scheduler.detach(tasks[0]) and not world.scheduler.detach(tasks[0])
        assert world.scheduler.running == 1 and Stepper(run).busy
        for submitted in world.submitted:
            world.perform(*submitted)
        await turns()
        assert world.scheduler.running == 0 and not Stepper(run).busy
        assert run.counts[2] == 1 and world.scheduler.counters.value("late_outcomes") == 1

    on_loop(main())


def test_outcomes_posted_from_four_threads_at_once() -> None:
    count = 4000

    async def main() -> None:
        world = World()
        world.hold_threads = True
        run = world.scheduler.start(fan(count, lambda value: value), "x")
        while len(world.submitted) < count:
            await asyncio.sleep(0)

        def hammer(part: int) -> None:
            for submitted in world.submitted[part::4]:
                world.perform(*submitted)

        threads = [threading.Thread(target=hammer, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        await world.finished(run)
        for thread in threads:
            thread.join()
        assert run.counts == (count, 0, count, 0, 0) and world.scheduler.counters.value("steps_ended") == count

    on_loop(main())

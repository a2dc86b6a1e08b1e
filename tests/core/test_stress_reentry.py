"""Scheduler and Run: exceptions, callbacks and requests in the middle of a change.

Lives here: one test for each way in which state could drift or memory be used wrongly. Does not live here: storms of
random requests (``test_stress.py``), what the garbage collector finds (``test_stress_garbage.py``).
"""

from __future__ import annotations

import asyncio
import weakref
from types import SimpleNamespace
from typing import Any

import pytest

from flow_core.core.plan import Flag, Kind
from flow_core.core.run import Intent, Run
from flow_core.core.stepper import Stepper
from flow_core.core.task import Activity, StepTask
from flow_core.model.status import Status
from tests.aio import run as on_loop
from tests.aio import run_virtual
from tests.core.kit import Held, World, echo, fan, line, timed, turns


async def pause(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


def settled(world: World) -> None:
    """Nothing is left of what was done."""
    scheduler = world.scheduler
    assert (scheduler.running, scheduler.live, len(scheduler.turns.queue), len(scheduler.slots.blocked)) == (0, 0, 0, 0)
    assert len(scheduler.turns.timers) == 0


class Broken(World):
    """A handler that raises where it is told to."""

    at = ""
    error: BaseException = OSError("handler")

    def _raise(self, name: str) -> None:
        if self.at == name:
            raise self.error

    def step_failed(self, run: Run, index: int, error: BaseException) -> None:
        self._raise("step_failed")
        super().step_failed(run, index, error)

    def step_started(self, run: Run, index: int) -> None:
        self._raise("step_started")

    def step_succeeded(self, run: Run, index: int) -> None:
        self._raise("step_succeeded")

    def changed(self, run: Run) -> None:
        self._raise("changed")

    def settled(self, run: Run) -> None:
        self._raise("settled")
        super().settled(run)

    def timeout_error(self, run: Run, index: int, cause: BaseException | None) -> BaseException:
        self._raise("timeout_error")
        return TimeoutError(index)

    def ended(self, run: Run) -> None:
        self._raise("ended")


@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("at", ["step_failed", "step_started", "step_succeeded", "changed", "settled", "ended"])
@pytest.mark.parametrize("error", [OSError("handler"), MemoryError(), KeyboardInterrupt()], ids=type)
def test_a_handler_that_raises_ends_the_execution(at: str, error: BaseException, fails: bool, suspends: bool) -> None:
    async def step(value: Any) -> Any:
        if suspends:
            await asyncio.sleep(0)
        if fails:
            raise ValueError
        return value

    told: list[dict[str, Any]] = []
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    world = Broken(loop)
    world.at, world.error = at, error
    world.scheduler.runs.keep = 10
    plan = line(step, echo, flags=Flag.FLAG_POLICY, policy=SimpleNamespace())
    loop.call_soon(lambda: setattr(Stepper(world.scheduler.start(plan, 1)), "watched", True))
    for _ in range(5):
        try:
            loop.run_until_complete(turns(5))
        except KeyboardInterrupt:
            pass
    (found,) = world.scheduler.runs_known()
    assert found.over and Stepper(found).finished and not Stepper(found).busy
    Stepper(found).check()
    settled(world)
    world.at = ""
    assert loop.run_until_complete(world.run(line(echo), 7)).output(0) == 7
    loop.close()


def test_a_raising_timeout_error_frees_the_slot_once() -> None:
    async def main() -> None:
        world = Broken()
        world.at, world.hold_threads = "timeout_error", True
        run = await world.run(line(lambda value: value, **timed(0.0)), 1)
        assert [type(error) for _, error in world.failed] == [OSError] and run.over
        settled(world)

    on_loop(main())


def test_a_step_after_a_compensation_is_an_attempt_again() -> None:
    async def main() -> None:
        world = World()
        policy = SimpleNamespace(call_of=lambda activity: (Kind.KIND_COROUTINE, 1, echo))
        run = await world.run(line(pause, policy=policy), 1)
        held = world.scheduler.start(line(pause, policy=policy), 2)
        world.scheduler.start_activity(held, 0, Activity.ACTIVITY_COMPENSATION, 5)
        await world.finished(held)
        world.heard.clear()
        run = await world.run(line(pause), 3)
        assert Stepper(run).output(0) == 3 and not [each for each in world.heard if each[0] == "activity"]
        settled(world)

    on_loop(main())


def test_a_thread_that_ends_twice_frees_one_slot() -> None:
    async def main() -> None:
        world = World()
        world.hold_threads = True
        for posts in (2, 3):
            run = world.scheduler.start(line(lambda value: value), 1)
            task = world.submitted.pop()[0]
            for _ in range(posts):
                world.scheduler.post_outcome(task, True, (1, 2))
            await world.finished(run)
            world.scheduler.post_outcome(task, False, OSError())
            await turns()
            assert Stepper(run).output(0) == (1, 2)
            settled(world)
        assert world.scheduler.counters.snapshot()["late_outcomes"] == 2 + 3

    on_loop(main())


def test_a_pool_that_took_the_task_and_raised_frees_one_slot() -> None:
    class Confused(World):
        def submit(self, *task: Any) -> None:
            self.submitted.append(task)
            raise KeyboardInterrupt

    async def main() -> None:
        world = Confused()
        with pytest.raises(KeyboardInterrupt):
            world.scheduler.start(line(lambda value: value), 1)
        world.scheduler.post_outcome(world.submitted[0][0], True, 1)
        await turns()
        settled(world)

    on_loop(main())


def test_a_task_called_by_hand_does_nothing_during_its_first_step() -> None:
    async def step(value: Any) -> Any:
        asyncio.current_task()()  # type: ignore[misc, operator]
        await asyncio.sleep(0)
        return value

    async def main() -> None:
        world = World()
        assert (await world.run(line(step), 4)).output(0) == 4 and not world.failed
        settled(world)

    on_loop(main())
    StepTask.__new__(StepTask)()


def test_a_bad_callback_on_the_current_task_does_not_stop_the_step() -> None:
    async def step(value: Any) -> Any:
        asyncio.current_task().add_done_callback(42)  # type: ignore[arg-type, union-attr]
        await asyncio.sleep(0)
        return value

    async def main() -> None:
        asyncio.get_running_loop().set_debug(True)
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        world = World()
        assert (await world.run(line(step), 4)).output(0) == 4
        settled(world)

    on_loop(main())


def test_a_future_that_can_not_be_cancelled_is_left() -> None:
    class Stubborn(asyncio.Future):  # type: ignore[type-arg]
        def cancel(self, msg: Any = None) -> bool:
            raise OSError("no")

    async def step(value: Any) -> Any:
        await Stubborn()

    async def main() -> None:
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
        world = World()
        run = world.scheduler.start(fan(3, step), 4)
        tasks = world.scheduler.cancel_tasks(run)
        assert len(tasks) == len(told) == 3 and all(world.scheduler.detach(task) for task in tasks)
        Stepper(run).abandon_all(Status.ABORTED)
        world.scheduler.finish(run, Status.ABORTED)
        settled(world)

    run_virtual(main())


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_a_future_that_raises_when_it_is_waited_for(error: type[BaseException]) -> None:
    class Broke(asyncio.Future):  # type: ignore[type-arg]
        def add_done_callback(self, *_: Any, **__: Any) -> None:
            raise error

    closed = []

    async def step(value: Any) -> Any:
        try:
            await Broke()
        finally:
            closed.append(value)

    async def later(value: Any) -> Any:
        await asyncio.sleep(0)
        await step(value)

    for function in (step, later):
        world = World(asyncio.new_event_loop())
        world.loop.call_soon(world.scheduler.start, line(function), 1)
        try:
            world.loop.run_until_complete(turns(10))
        except (KeyboardInterrupt, SystemExit):
            world.loop.run_until_complete(turns(10))
        assert [type(each) for _, each in world.failed] == [error] and closed.pop() == 1 and not closed
        settled(world)
        world.loop.close()


def test_finishing_drops_what_is_under_way() -> None:
    async def main() -> None:
        world = World()
        run = world.scheduler.start(fan(3, pause, **timed(60.0)), 1)
        assert Stepper(run).busy and len(world.scheduler.turns.timers) == 3
        world.scheduler.finish(run, Status.ABORTED)
        assert world.scheduler.running == 0 and len(world.scheduler.turns.timers) == 0
        await turns()
        settled(world)
        assert not Stepper(run).busy and world.scheduler.counters.snapshot()["late_outcomes"] == 3

    run_virtual(main())


def test_a_step_that_aborts_its_execution_is_cancelled_when_it_waits() -> None:
    seen = []

    async def main() -> None:
        world = World()

        async def step(run: Any) -> Any:
            (found,) = world.scheduler.runs_known()
            Stepper(found).ask(Intent.INTENT_ABORT)
            Stepper(found).abandon_all(Status.ABORTED)
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                seen.append(1)
                raise

        run = world.scheduler.start(line(step), 1)
        await turns()
        assert seen == [1] and not Stepper(run).busy
        world.scheduler.cancel_tasks(run)
        if not run.over:
            world.scheduler.finish(run, Status.ABORTED)
        settled(world)

    on_loop(main())


def test_the_last_act_of_an_execution_may_look_for_it() -> None:
    async def main() -> None:
        world = World()
        looked: list[Any] = []

        def died(_: Any) -> None:
            looked.append((world.scheduler.runs_known(), [world.scheduler.lookup(0, each) for each in range(4)]))

        run = await world.run(line(echo), 1)
        watcher = weakref.ref(run, died)
        del run
        assert looked == [([], [None] * 4)] and watcher() is None

    on_loop(main())


def test_the_end_of_a_coroutine_object_may_start_an_execution() -> None:
    async def main() -> None:
        world, started, watchers = World(), [], []

        async def plain(value: Any) -> Any:
            return value

        def died(_: Any) -> None:
            started.append(world.scheduler.start(line(echo), 9))

        def watched(value: Any) -> Any:
            coroutine = plain(value)
            watchers.append(weakref.ref(coroutine, died))
            return coroutine

        plan = line(watched, watched, kind=Kind.KIND_COROUTINE)
        assert (await world.run(plan, 1)).output(1) == 1
        await turns()
        assert [each.output(0) for each in started] == [9, 9]
        settled(world)

    on_loop(main())


def test_a_wall_clock_that_raises_takes_no_row() -> None:
    async def main() -> None:
        def wall() -> float:
            raise OSError

        world = World(wall=wall)
        with pytest.raises(OSError, match=r"^$"):
            world.scheduler.start(line(echo), 1)
        assert len(world.table) == 0 and world.scheduler.runs_known() == []
        settled(world)

    on_loop(main())


def test_rows_that_others_took_are_nobodys_run() -> None:
    async def main() -> None:
        world = World()
        run = await world.run(line(echo), 1)
        row, words = world.table.acquire(), world.scheduler.lookup(0, 1)
        assert words is run and world.scheduler.lookup(row, 1) is None and world.scheduler.runs_known() == [run]
        del run, words
        again = world.table.acquire()
        assert again == 0 and world.scheduler.lookup(0, 2) is None and world.scheduler.runs_known() == []

    on_loop(main())


def test_a_loop_that_takes_no_timer_fails_the_step() -> None:
    async def main() -> None:
        world = World()
        world.loop.call_at = lambda *_, **__: (_ for _ in ()).throw(MemoryError)  # type: ignore[method-assign]
        for function in (pause, lambda value: value):
            world.failed.clear()
            await world.run(line(function, **timed(5.0)), 1)
            assert [type(error) for _, error in world.failed] == [MemoryError] and not world.submitted
            settled(world)

    on_loop(main())


def test_the_loop_is_closed_while_threads_work() -> None:
    loop = asyncio.new_event_loop()
    world = World(loop)
    world.hold_threads = True
    loop.call_soon(lambda: world.scheduler.start(fan(3, lambda value: value), 1))
    loop.run_until_complete(turns())
    loop.close()
    for task, _, _ in world.submitted:
        with pytest.raises(RuntimeError, match="closed"):
            world.scheduler.post_outcome(task, True, 1)
    assert isinstance(world.scheduler.runs_known()[0], Held)

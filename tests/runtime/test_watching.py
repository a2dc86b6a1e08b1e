"""What can be seen from outside: events, history, statistics, the table, logs; loops and threads other than its own."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import numpy as np
import pytest

import flow_core
from flow_core import Execution, Executor, Flow, Retry, Status, Step
from flow_core.core.stepper import Stepper
from flow_core.errors import InvalidOption, StepFailed
from flow_core.rpc.memory import MemoryRpcClient
from tests.aio import run, run_virtual
from tests.runtime.kit import Gate, chain, echo, turns

Moves = list[tuple[str | None, Status]]


async def boom(value: Any) -> Any:
    raise OSError("boom")


async def moves_of(handle: Execution) -> Moves:
    return [(move.step, move.status) async for move in handle]


# --- events and history -------------------------------------------------------------------------------------------


def test_several_watchers_early_and_late_see_the_same() -> None:
    async def main() -> None:
        async with Flow() as flow:
            gate = Gate()
            await asyncio.sleep(1)
            await flow.create_steps("f", chain(gate, echo, echo))
            handle = await flow.execute("f", 1, async_=True)
            early = [asyncio.ensure_future(moves_of(handle)) for _ in range(3)]
            await turns()
            gate.open()
            await handle
            late = await moves_of(handle)
            for watcher in early:
                assert sorted(await watcher, key=str) == sorted(late, key=str)
            assert late[0] == (None, Status.RUNNING) and late[-1] == (None, Status.SUCCESS)
            assert [s for s, status in late if status is Status.SUCCESS] == ["s0", "s1", "s2", None]

    run_virtual(main())


def test_history_is_in_order_even_when_all_happened_in_one_moment() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await asyncio.sleep(1)
            # Registered against their order, so that neither index nor name gives it away.
            steps = [Step(f"s{i}", echo, after=f"s{i - 1}" if i else ()) for i in reversed(range(10))]
            await flow.create_steps("f", steps)
            history = (await flow.execute("f", 1)).history()
            wanted: Moves = [(None, Status.RUNNING)]
            for i in range(10):
                wanted += [(f"s{i}", Status.RUNNING), (f"s{i}", Status.SUCCESS)]
            assert [(m.step, m.status) for m in history] == [*wanted, (None, Status.SUCCESS)]
            assert history == sorted(history, key=lambda move: move.time)

    run_virtual(main())


def test_history_tells_skipped_failed_and_aborted_steps() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await asyncio.sleep(1)
            steps = [Step("a", boom, retry=Retry(1, initial=2, jitter="none")), Step("b", echo, after="a")]
            await flow.create_steps("f", steps)
            handle = await flow.execute("f", 1, async_=True)
            await handle.wait()
            ends = [(m.step, m.status, m.attempt) for m in handle.history() if m.status is not Status.RUNNING]
            failed = [("a", Status.FAILURE, 1), ("a", Status.FAILURE, 2)]
            assert ends == [*failed, ("b", Status.SKIPPED, 1), (None, Status.FAILURE, 1)]
            times = {(m.step, m.status): m.time for m in handle.history()}
            took = times["a", Status.FAILURE] - times[None, Status.RUNNING]
            assert took.total_seconds() == pytest.approx(2)

    run_virtual(main())


def test_a_watcher_that_leaves_is_forgotten() -> None:
    async def main() -> None:
        async with Flow() as flow:
            gate = Gate()
            await flow.create_steps("f", chain(gate))
            handle = await flow.execute("f", 1, async_=True)
            watcher = asyncio.ensure_future(moves_of(handle))
            await turns()
            assert Stepper(handle).events and len(Stepper(handle).events) == 1
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
            assert Stepper(handle).events == set()
            gate.open()
            await handle

    run_virtual(main())


# --- statistics and the table -------------------------------------------------------------------------------------


def test_statistics_add_up() -> None:
    async def main() -> None:
        executor = Executor()
        assert executor.statistics().executions_started == 0  # before its first use
        async with Flow(executor=executor) as flow:
            gate = Gate()
            await flow.create_steps(
                "f", [*chain(echo, gate), Step("bad", boom, retry=Retry(2, initial=0), allow_fail=True)]
            )
            handle = await flow.execute("f", 1, async_=True)
            await asyncio.sleep(1)
            now = executor.statistics()
            assert (now.executions_started, now.executions_ended, now.executions_live) == (1, 0, 1)
            assert (now.steps_running, now.steps_suspended, now.attempts_retried) == (1, 1, 2)
            gate.open()
            await handle
            after = executor.statistics()
            assert (after.executions_ended, after.executions_live, after.steps_running) == (1, 0, 0)
            assert after.steps_ended == 2 + 3  # attempts
            assert now.executions_ended == 0  # a record, not a view
            with pytest.raises(AttributeError):
                now.turns = 5  # type: ignore[misc]

    run_virtual(main())


def test_the_table_is_a_read_only_view_that_moves_with_the_executions() -> None:
    async def main() -> None:
        async with Flow() as flow:
            gate = Gate()
            await flow.create_steps("f", chain(gate, echo))
            handle = await flow.execute("f", 1, async_=True)
            table = flow.executor.table()
            assert isinstance(table, np.ndarray) and table.dtype.names and "status" in table.dtype.names
            assert not table.flags.writeable and not table.flags.owndata  # a window onto the core's own memory
            with pytest.raises(ValueError, match="read-only"):
                table["status"][0] = 3
            with pytest.raises(ValueError, match="WRITEABLE"):
                table.flags.writeable = True
            assert table["status"][handle.slot_number if hasattr(handle, "slot_number") else 0] == Status.RUNNING
            gate.open()
            await handle
            assert table["status"][0] == Status.SUCCESS  # the same array: nothing was copied
            assert table["succeeded"][0] == 2

    run_virtual(main())


def test_statuses_table_and_statistics_are_read_from_other_threads() -> None:
    async def main() -> None:
        async with Flow() as flow:
            gate = Gate()
            await flow.create_steps("f", chain(gate, echo))
            handle = await flow.execute("f", 1, async_=True)
            seen: list[Any] = []

            def look() -> None:
                statistics = flow.executor.statistics()
                seen.extend([handle.status, handle.id, statistics.executions_live, flow.executor.table()["status"][0]])

            thread = threading.Thread(target=look)
            thread.start()
            await asyncio.to_thread(thread.join)
            assert seen == [Status.RUNNING, handle.id, 1, Status.RUNNING]
            gate.open()
            await handle

    flow_core.run(main())


# --- loops --------------------------------------------------------------------------------------------------------


def test_a_second_loop_at_the_same_time_is_refused() -> None:
    async def main() -> None:
        async with Flow() as flow:
            await flow.create_step("f", Step("a", echo))
            await flow.execute("f", 1)

            def elsewhere() -> None:
                with pytest.raises(InvalidOption, match="another event loop"):
                    run(flow.call("f", 2))

            await asyncio.to_thread(elsewhere)
            assert await flow.call("f", 3) == 3

    flow_core.run(main())


@pytest.mark.parametrize("runner", [flow_core.run, run])
def test_two_runs_in_a_row_with_one_flow(runner: Any) -> None:
    flow = Flow()
    ids: list[str] = []

    async def main(value: int) -> int:
        if not await flow.flows():
            await flow.create_steps("f", [Step("a", echo), Step("b", lambda v: v + 1, after="a")])
        execution = await flow.execute("f", value)
        ids.append(execution.id)
        answer: int = execution.response
        return answer

    assert [runner(main(i)) for i in range(3)] == [1, 2, 3]
    assert len(set(ids)) == 3


def test_flow_core_run_is_uvloop_and_gives_the_result() -> None:
    async def main() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert flow_core.run(main()).startswith("uvloop")
    with pytest.raises(ZeroDivisionError):
        flow_core.run(_divide())


async def _divide() -> float:
    return 1 / 0


# --- logs ---------------------------------------------------------------------------------------------------------


def test_log_records_carry_ids_and_never_payloads(caplog: pytest.LogCaptureFixture) -> None:
    secret = "s3cr3t-payload"

    async def leak(value: Any) -> None:
        raise OSError(f"failed with {value}")

    async def main() -> None:
        def handler(error: BaseException, ctx: Any) -> None:
            raise RuntimeError("the handler is broken")

        rpc = MemoryRpcClient()
        rpc.serve("s", "e", lambda data, headers: data)
        async with Flow(rpc=rpc, executor=Executor(error_handler=handler)) as flow:
            call = flow_core.ClientCallOperation("s", "e")
            await flow.create_steps("f", [Step("call", call), Step("a", leak, after="call", retry=Retry(1, initial=0))])
            with pytest.raises(StepFailed):
                await flow.execute("f", secret, id="run-1")

    with caplog.at_level(logging.DEBUG, logger="flow_core"):
        flow_core.run(main())
    records = [record for record in caplog.records if record.name.startswith("flow_core")]
    assert records
    for record in records:
        assert secret not in record.getMessage() and secret not in str(record.__dict__.get("execution"))
        assert secret not in str({k: v for k, v in vars(record).items() if k not in {"exc_info", "exc_text"}})
    first = vars(records[0])
    assert (first["flow"], first["execution"], first["step"], first["attempt"]) == ("f", "run-1", "a", 1)


def test_the_library_is_silent_by_default() -> None:
    handlers = logging.getLogger("flow_core").handlers
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)


# --- the error handler --------------------------------------------------------------------------------------------


def test_the_error_handler_sees_everything_that_escapes_with_its_context() -> None:
    seen: list[tuple[str, int, int, type[BaseException]]] = []

    def handler(error: BaseException, ctx: Any) -> None:
        seen.append((ctx.step, ctx.activity, ctx.attempt, type(error)))

    async def base(value: Any) -> None:
        raise GeneratorExit

    async def main() -> None:
        async with Flow(executor=Executor(error_handler=handler)) as flow:
            first = Step("ok", echo, compensation=boom)
            second = Step("a", boom, after="ok", retry=Retry(1, initial=0), fallback=boom, allow_fail=True)
            await flow.create_steps("f", [first, second, Step("b", base, after="a")])
            handle = await flow.execute("f", 1, async_=True)
            assert await handle.wait() is Status.FAILURE
            assert set(handle.errors) == {"a", "b", "ok.compensation"}

    run_virtual(main())
    a, b = ("a", 0, 1, OSError), ("a", 0, 2, OSError)
    assert seen == [a, b, ("a", 1, 2, OSError), ("b", 0, 1, GeneratorExit), ("ok", 2, 1, OSError)]


def test_the_error_handler_hears_of_errors_during_a_pause_and_of_failed_compensations_after_an_abort() -> None:
    seen: list[str] = []

    async def main() -> None:
        async with Flow(executor=Executor(error_handler=lambda error, ctx: seen.append(ctx.step))) as flow:
            gate = Gate()

            async def late_boom(value: Any) -> None:
                await gate.event.wait()
                raise OSError

            await flow.create_step("paused", Step("p", late_boom))
            handle = await flow.execute("paused", 1, async_=True)
            await handle.pause()
            gate.open()
            await turns()
            assert seen == ["p"]
            await flow.create_steps("aborted", [Step("c", echo, compensation=boom), Step("w", Gate(), after="c")])
            other = await flow.execute("aborted", 1, async_=True)
            await other.abort(rollback=True)
            assert seen == ["p", "c"]  # and not the cancellation of w, which nobody needs to hear of
            await handle.abort()

    run_virtual(main())


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_system_exit_in_a_step_ends_the_execution_and_reaches_the_caller(error: type[BaseException]) -> None:
    seen: list[BaseException] = []
    handles: list[Execution] = []

    async def leave(value: Any) -> None:
        raise error

    async def main() -> None:
        flow = Flow(executor=Executor(error_handler=lambda e, ctx: seen.append(e)))
        await flow.create_step("f", Step("a", leave))
        try:
            await flow.execute("f", id="x")
        finally:
            handles.append(flow.executor.find("f", "x"))

    with pytest.raises(error):
        run(main())
    assert [type(e) for e in seen] == [error]
    assert [handle.status for handle in handles] == [Status.FAILURE]

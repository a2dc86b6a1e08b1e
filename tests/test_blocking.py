"""`flow_core.blocking`: every method of `Flow`, from threads that have no event loop."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import os
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import flow_core
from flow_core import Status, Step, blocking
from flow_core.errors import ExecutionAborted, ExecutorStopped, IllegalMove, StepFailed, UnknownFlow
from flow_core.rpc.memory import MemoryRpcClient
from tests import blocking_stub

WAIT = 30.0  # seconds until a test that hangs fails; never waited for

user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")


@pytest.fixture
def flow() -> Iterator[Any]:
    with blocking.Flow() as flow:
        yield flow


async def double(value: int) -> int:
    await asyncio.sleep(0)
    return value * 2


def loop_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "flow-core-loop"]


PAIRS = [
    (blocking.Flow, flow_core.Flow),
    (blocking.Executor, flow_core.Executor),
    (blocking.Execution, flow_core.Execution),
]
METHODS = [
    (wrapper, original, name)
    for wrapper, original in PAIRS
    for name, member in vars(original).items()
    if not name.startswith("_") and inspect.isfunction(member) and name != "stop"
]


@pytest.mark.parametrize(("wrapper", "original", "name"), METHODS)
def test_every_public_method_has_its_signature_and_docstring_and_is_no_coroutine(
    wrapper: type, original: type, name: str
) -> None:
    method = getattr(wrapper, name)
    assert not inspect.iscoroutinefunction(method)
    assert inspect.signature(method) == inspect.signature(getattr(original, name))
    assert method.__doc__ == getattr(original, name).__doc__
    assert method.__module__ == "flow_core.blocking"


def test_the_types_are_those_of_the_methods() -> None:
    wanted = blocking_stub.Stub().text()
    written = blocking_stub.PATH.read_text(encoding="utf-8")
    assert written == wanted, "blocking.pyi is not what flow-core is: python -m tests.blocking_stub"


def test_dir_and_docs_show_what_there_is(flow: Any) -> None:
    assert {"execute", "call", "create_step", "options", "rpc", "close"} <= set(dir(flow))
    assert blocking.Execution.status.__doc__ == flow_core.Execution.status.__doc__
    assert "blocking" in repr(flow)
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = flow.no_such_thing
    with pytest.raises(AttributeError, match="_hidden"):
        _ = flow._hidden


def test_the_thread_is_made_by_the_first_call_and_ends_with_the_flow() -> None:
    before = loop_threads()
    flow = blocking.Flow()
    assert loop_threads() == before
    flow.create_step("f", Step("a", double))
    (thread,) = set(loop_threads()) - set(before)
    assert thread.daemon
    flow.close()
    assert not thread.is_alive()


def test_register_execute_and_read(flow: Any) -> None:
    assert flow.create_steps("f", [Step("a", double), Step("b", lambda value: value + 1, after="a")]) == 1
    execution = flow.execute("f", 20)
    assert isinstance(execution, blocking.Execution)
    assert (execution.status, execution.response, execution.outcome()) == (Status.SUCCESS, 41, 41)
    assert execution.result("a") == b"40"
    assert execution.wait() is Status.SUCCESS
    assert execution.over and execution.counts[0] == 2  # what the core tells is read through
    assert flow.flows() == ["f"] and [step.id for step in flow.lookup("f")] == ["a", "b"]
    assert [found.execution for found in flow.executor.list("f").items] == [execution.id]
    assert flow.executor.find("f", execution.id) == execution
    assert hash(flow.executor.find("f", execution.id)) == hash(execution)
    assert flow.executor.status("f", execution.id) is Status.SUCCESS
    assert "fill:" in flow.to_mermaid("f", execution)
    assert flow.executor.statistics().executions_ended == 1


def test_clients_and_options_are_passed_through() -> None:
    rpc = MemoryRpcClient()
    with blocking.Flow(rpc=rpc, context={"a": 1}) as flow:
        assert flow.rpc is rpc
        assert flow.options.context == {"a": 1}
        flow.init(context={"a": 2})
        assert flow.options.context == {"a": 2}


def test_changes_are_iterated_without_a_loop(flow: Any) -> None:
    flow.create_step("f", Step("a", double))
    changes = flow.changes()
    threading.Timer(0.05, flow.create_step, ("f", Step("b", double))).start()
    assert next(changes).revision == 2
    changes.close()


def test_iteration_gives_the_moves_until_the_end(flow: Any) -> None:
    go = threading.Event()
    flow.create_steps("f", [Step("a", lambda: go.wait(WAIT)), Step("b", double, after="a", input=flow_core.REQUEST)])
    handle = flow.execute("f", 1, async_=True)
    moves = []
    for move in handle:
        moves.append((move.step, move.status))
        go.set()
    assert moves[0] in {(None, Status.RUNNING), ("a", Status.RUNNING)}
    assert ("b", Status.SUCCESS) in moves and moves[-1] == (None, Status.SUCCESS)
    assert [(m.step, m.status) for m in handle] == [(m.step, m.status) for m in handle.history()]  # a late subscriber


def test_an_iteration_may_be_left_early(flow: Any) -> None:
    go = threading.Event()
    flow.create_step("f", Step("a", lambda: go.wait(WAIT)))
    handle = flow.execute("f", async_=True)
    for _ in handle:
        break
    go.set()
    assert handle.wait() is Status.SUCCESS


def test_pause_resume_abort(flow: Any) -> None:
    go = threading.Event()
    flow.create_steps("f", [Step("a", lambda: go.wait(WAIT)), Step("b", double, after="a", input=flow_core.REQUEST)])
    handle = flow.execute("f", 1, async_=True)
    handle.pause()
    assert handle.status is Status.PAUSED
    go.set()
    handle.resume()
    assert handle.wait() is Status.SUCCESS
    with pytest.raises(IllegalMove):
        handle.pause()
    go.clear()
    other = flow.execute("f", 1, async_=True)
    other.abort()
    go.set()
    assert other.status is Status.ABORTED
    with pytest.raises(ExecutionAborted):
        other.outcome()


def test_errors_keep_their_type_traceback_and_handle(flow: Any) -> None:
    async def explode(value: object) -> None:
        raise OSError("no disk")

    flow.create_step("f", Step("a", explode))
    with pytest.raises(StepFailed) as caught:
        flow.execute("f")
    assert isinstance(caught.value.execution, blocking.Execution)
    assert caught.value.execution.status is Status.FAILURE
    cause = caught.value.__cause__
    assert type(cause) is OSError
    assert "explode" in [frame.name for frame in traceback.extract_tb(cause.__traceback__)]
    with pytest.raises(UnknownFlow, match="did you mean 'f'"):
        flow.execute("ff")


def test_a_call_inside_the_loop_is_refused_instead_of_waiting_for_itself(flow: Any) -> None:
    async def inner(value: object) -> Any:
        return flow.call("g")

    flow.create_step("g", Step("a", double))
    flow.create_step("f", Step("a", inner))
    with pytest.raises(StepFailed) as caught:
        flow.execute("f", 1)
    assert isinstance(caught.value.__cause__, IllegalMove)
    assert "ctx.execute" in str(caught.value.__cause__)


def test_a_step_in_a_worker_thread_may_call_the_flow(flow: Any) -> None:
    flow.create_step("g", Step("a", double))
    flow.create_step("f", Step("a", lambda value: flow.call("g", value) + 1))
    assert flow.call("f", 5) == 11


def test_eight_threads_as_in_a_web_server(flow: Any) -> None:
    async def who(value: int) -> tuple[str, int]:
        await asyncio.sleep(0)
        return user.get(), value

    flow.create_steps("f", [Step("who", who), Step("sync", lambda pair: (*pair, user.get()), after="who")])
    start = threading.Barrier(8)

    def serve(number: int) -> list[Any]:
        user.set(f"user-{number}")
        start.wait(WAIT)
        flow.create_step(f"flow-{number}", Step("a", double))
        return [flow.call("f", i) for i in range(25)] + [flow.call(f"flow-{number}", number)]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(serve, range(8), timeout=WAIT))
    for number, answer in enumerate(answers):
        name = f"user-{number}"
        assert answer == [(name, i, name) for i in range(25)] + [2 * number]
    assert flow.executor.statistics().executions_ended == 8 * 26


def test_keyboard_interrupt_while_waiting_cancels(flow: Any) -> None:
    cancelled = threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    async def forever(value: object) -> None:
        signal.pthread_kill(main, signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    flow.create_step("f", Step("a", forever))
    with pytest.raises(KeyboardInterrupt):
        flow.execute("f", id="run")
    assert cancelled.wait(WAIT)
    assert flow.executor.wait("f", "run") is Status.ABORTED


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_step_that_raises_a_base_exception_does_not_end_the_thread(flow: Any, error: type[BaseException]) -> None:
    async def leave(value: object) -> None:
        await asyncio.sleep(0)
        raise error

    flow.create_step("f", Step("a", leave))
    handle = flow.execute("f", async_=True)
    assert handle.wait() is Status.FAILURE
    flow.create_step("g", Step("a", double))
    assert flow.call("g", 2) == 4


def test_after_the_end_handles_can_be_read_and_nothing_starts() -> None:
    flow: Any = blocking.Flow()
    flow.create_step("f", Step("a", double))
    execution = flow.execute("f", 4)
    flow.stop()
    flow.stop()
    flow.close()
    assert execution.response == 8 and execution.result("a") == b"8" and execution.wait() is Status.SUCCESS
    assert [move.status for move in execution][-1] is Status.SUCCESS
    assert flow.executor.status("f", execution.id) is Status.SUCCESS
    with pytest.raises(ExecutorStopped):
        flow.execute("f", 4)


def test_stop_drains_first() -> None:
    go = threading.Event()
    flow: Any = blocking.Flow()
    flow.create_step("f", Step("a", lambda: go.wait(WAIT)))
    handle = flow.execute("f", async_=True)
    threading.Timer(0, go.set).start()
    flow.stop(drain=WAIT)
    assert handle.status is Status.SUCCESS


def test_stop_without_drain_ends_those_who_wait_in_other_threads() -> None:
    started = threading.Event()

    async def forever(value: object) -> None:
        started.set()
        await asyncio.Event().wait()

    flow: Any = blocking.Flow()
    flow.create_step("f", Step("a", forever))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(flow.execute, "f")
        assert started.wait(WAIT)
        flow.stop(drain=0)
        with pytest.raises(flow_core.errors.ExecutionStopped):
            waiting.result(WAIT)


def test_a_thread_that_waits_for_something_else_hears_of_the_end() -> None:
    flow: Any = blocking.Flow()
    flow.create_step("f", Step("a", double, after="never"))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(flow.execute, "f", unresolved="wait")
        while not flow._target._catalog._waiters:  # until it is on the loop and waits there
            flow.flows()
        flow.stop(drain=0)
        with pytest.raises(ExecutorStopped):
            waiting.result(WAIT)


def test_a_forgotten_flow_ends_its_thread() -> None:
    before = loop_threads()
    flow: Any = blocking.Flow()
    flow.create_step("f", Step("a", double))
    flow.call("f", 1)
    (thread,) = set(loop_threads()) - set(before)
    del flow
    gc.collect()
    thread.join(WAIT)
    assert not thread.is_alive()


def test_the_context_manager_stops_on_errors_too() -> None:
    flow: Any = blocking.Flow()
    with pytest.raises(LookupError), flow:  # noqa: PT012
        flow.create_step("f", Step("a", double))
        raise LookupError
    with pytest.raises(ExecutorStopped):
        flow.execute("f", 1)


def in_child(check: Callable[[], bool]) -> bool:
    """Whether ``check`` holds in a forked child."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: forking with threads is what is tested
        child = os.fork()
    if not child:
        ok = False
        try:
            ok = check()
        finally:
            os._exit(0 if ok else 1)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
def test_after_a_fork_the_error_says_so(flow: Any) -> None:
    flow.create_step("f", Step("a", double))

    def refused() -> bool:
        try:
            flow.call("f", 1)
        except IllegalMove as error:
            return "fork" in str(error)
        return False

    assert in_child(refused)
    assert flow.call("f", 1) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
def test_a_flow_that_was_not_used_before_the_fork_works_after_it() -> None:
    fresh: Any = blocking.Flow()

    def works() -> bool:
        fresh.create_step("f", Step("a", double))
        return bool(fresh.call("f", 1) == 2)

    assert in_child(works)
    fresh.close()

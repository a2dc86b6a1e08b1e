"""What spans say of an execution: names, times, attributes, attempts, errors, and whose child each is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from flow_core import ClientCallOperation, Fallback, Flow, FlowExecuteOperation, Retry, Step, run
from flow_core.core.stepper import Stepper
from flow_core.errors import ExecutionAborted, StepFailed
from flow_core.rpc import MemoryRpcClient
from flow_core.telemetry import trace
from tests.aio import run_virtual
from tests.telemetry.kit import Spans, key

SECOND = 1_000_000_000


def flaky(fails: int, error: type[Exception] = OSError) -> Any:
    calls = 0

    async def work(value: Any) -> str:
        nonlocal calls
        calls += 1
        await asyncio.sleep(2)
        if calls <= fails:
            raise error(f"call {calls}")
        return "done"

    return work


def sleeper(seconds: float) -> Any:
    async def work(value: Any) -> Any:
        await asyncio.sleep(seconds)
        return value

    return work


def spans_of(*steps: Step, **options: Any) -> Spans:
    """The spans of one execution of ``steps`` as flow ``f``, which may fail; in virtual time."""
    spans = Spans()

    async def main() -> None:
        async with Flow() as flow:
            stop = trace(flow, spans.provider)
            await flow.create_steps("f", steps)
            spans.execution = await flow.execute("f", async_=True, **options)  # type: ignore[attr-defined]
            await spans.execution.wait()  # type: ignore[attr-defined]
            stop()

    run_virtual(main())
    return spans


def events(span: Any) -> list[tuple[str, Any, float]]:
    """(name, attempt, seconds after the span's start) of each event."""
    return [(e.name, e.attributes.get("flow.attempt"), (e.timestamp - span.start_time) / SECOND) for e in span.events]


def test_one_span_for_an_execution_and_one_for_each_step_with_exact_times():
    spans = spans_of(
        Step("a", sleeper(3)), Step("b", sleeper(5), after="a"), Step("c", lambda value: value, after="a"), id="e1"
    )
    assert spans.names == ["f", "f/a", "f/b", "f/c"]
    assert all(spans.inside(f"f/{name}", "f") for name in "abc")
    whole = spans["f"]
    assert whole.parent is None
    times = {s.name: tuple((t - whole.start_time) / SECOND for t in (s.start_time, s.end_time)) for s in spans.all}
    assert times["f"] == (0, pytest.approx(8, abs=1e-6))
    assert times["f/a"] == pytest.approx((0, 3), abs=1e-6) and times["f/b"] == pytest.approx((3, 8), abs=1e-6)
    assert whole.attributes == {
        "flow.name": "f", "flow.execution": "e1", "flow.revision": 1, "flow.status": "SUCCESS"
    }  # fmt: skip
    assert spans["f/a"].attributes == {
        **whole.attributes, "flow.step": "a", "flow.attempt": 1, "flow.operation": "local_operation(sleeper.work)",
    }  # fmt: skip
    assert {s.status.status_code for s in spans.all} == {StatusCode.UNSET}
    assert {s.instrumentation_scope.name for s in spans.all} == {"flow_core"}


def test_the_times_of_spans_are_those_of_the_history():
    spans = Spans()

    async def busy(value: Any) -> Any:
        for _ in range(20_000):  # takes a while without the loop
            pass
        return value

    async def main() -> None:
        async with Flow() as flow:
            stop = trace(flow, spans.provider)
            steps = [Step("a", busy), Step("b", busy, after="a")]
            execution = await flow.execute(steps)
            stop()
            ahead = round(Stepper(execution).scheduler.ahead * SECOND)
            moves = {(m.step, m.status.name): ahead + round(m.time * SECOND) for m in execution.history()}
            name = execution.flow
            for step in "ab":
                span = spans[f"{name}/{step}"]
                assert span.end_time > span.start_time  # and not one reading of the clock for both
                # The wall clock is read anew each time, and a float of it has no more digits.
                assert abs(span.start_time - moves[step, "RUNNING"]) < SECOND / 1000
                assert abs(span.end_time - moves[step, "SUCCESS"]) < SECOND / 1000
            assert spans[f"{name}/a"].end_time <= spans[f"{name}/b"].start_time

    run(main())


def test_attempts_are_events_and_the_span_begins_with_the_first():
    retry = Retry(3, initial=10, factor=1, jitter="none")
    spans = spans_of(Step("a", flaky(2), retry=retry))
    span = spans["f/a"]
    assert events(span) == [
        ("attempt", 1, 0), ("exception", 1, pytest.approx(2)),
        ("attempt", 2, pytest.approx(12)), ("exception", 2, pytest.approx(14)),
        ("attempt", 3, pytest.approx(24)),
    ]  # fmt: skip
    assert (span.end_time - span.start_time) / SECOND == pytest.approx(26)
    assert span.attributes["flow.attempt"] == 3 and span.status.status_code is StatusCode.UNSET
    told = span.events[1].attributes
    assert (told["exception.type"], told["exception.message"]) == ("OSError", "call 1")
    assert 'raise error(f"call {calls}")' in told["exception.stacktrace"]


def test_a_failure_is_an_error_of_the_step_and_of_the_execution():
    spans = spans_of(Step("a", flaky(9)), Step("b", sleeper(1), after="a"))
    assert spans.names == ["f", "f/a"]  # b never started
    step, whole = spans["f/a"], spans["f"]
    assert step.status.status_code is whole.status.status_code is StatusCode.ERROR
    assert step.status.description == "FAILURE: OSError: call 1"
    assert whole.status.description.startswith("FAILURE: StepFailed: ")
    assert [name for name, _, _ in events(step)] == ["attempt", "exception"]
    assert [e.attributes["exception.type"] for e in whole.events] == [StepFailed.__module__ + ".StepFailed"]
    assert (step.attributes["flow.status"], whole.attributes["flow.status"]) == ("FAILURE", "FAILURE")


def test_what_is_allowed_to_fail_fails_alone():
    spans = spans_of(Step("a", flaky(9), allow_fail=True))
    assert spans["f/a"].status.status_code is StatusCode.ERROR
    assert spans["f"].status.status_code is StatusCode.UNSET


def test_fallbacks_and_compensations_are_events_of_the_execution():
    async def instead(value: Any) -> str:
        await asyncio.sleep(4)
        return "instead"

    async def undo(value: Any) -> None:
        raise ValueError("can't")

    spans = spans_of(
        Step("a", flaky(9), fallback=Fallback(instead)),
        Step("b", sleeper(1), after="a", compensation=undo),
        Step("c", flaky(9), after="b"),
    )
    recovered = spans["f/a"]
    assert recovered.attributes["flow.recovered"] is True
    assert (recovered.end_time - recovered.start_time) / SECOND == pytest.approx(6)
    assert spans["f/a"].status.status_code is StatusCode.UNSET
    found = [(e.name, e.attributes.get("flow.step"), e.attributes.get("exception.type")) for e in spans["f"].events]
    assert found[:2] == [("fallback", "a", None), ("exception", "b", "ValueError")]


def test_an_aborted_execution_and_what_it_cancelled_are_errors():
    spans = Spans()

    async def main() -> None:
        async with Flow() as flow:
            stop = trace(flow, spans.provider)
            await flow.create_steps("f", [Step("a", sleeper(100)), Step("b", sleeper(1), after="a")])
            execution = await flow.execute("f", async_=True)
            await asyncio.sleep(7)
            await execution.abort(reason="enough")
            stop()
            with pytest.raises(ExecutionAborted):
                await execution

    run_virtual(main())
    assert spans.names == ["f", "f/a"]
    assert spans["f"].status.description.startswith("ABORTED: ExecutionAborted: ")
    assert spans["f/a"].status.description == "ABORTED"
    assert (spans["f/a"].end_time - spans["f/a"].start_time) / SECOND == pytest.approx(7)


def test_child_executions_are_children_of_their_step():
    spans = Spans()

    async def main() -> None:
        async with Flow() as flow:
            stop = trace(flow, spans.provider)
            await flow.create_step("leaf", Step("z", sleeper(1)))
            await flow.create_step("branch", Step("y", FlowExecuteOperation("leaf")))
            await flow.create_step("tree", Step("x", FlowExecuteOperation("branch")))
            root = await flow.execute("tree")
            stop()
            assert spans["branch"].attributes["flow.parent"] == root.id

    run_virtual(main())
    for child, parent in [("tree/x", "tree"), ("branch", "tree/x"), ("branch/y", "branch"), ("leaf", "branch/y"),
                          ("leaf/z", "leaf")]:  # fmt: skip
        assert spans.inside(child, parent), (child, parent)
    assert len({key(span) for span in spans.all}) == 6


def test_the_kind_of_a_step_is_that_of_its_operation():
    spans = Spans()

    async def main() -> None:
        rpc = MemoryRpcClient()
        rpc.serve("s", "e", lambda data, headers: b"")
        async with Flow(rpc=rpc) as flow:
            stop = trace(flow, spans.provider)
            await flow.create_steps("f", [Step("call", ClientCallOperation("s", "e")), Step("own", sleeper(0))])
            await flow.execute("f")
            stop()

    run_virtual(main())
    assert spans["f/call"].kind is SpanKind.CLIENT and spans["f/own"].kind is SpanKind.INTERNAL
    assert spans["f/call"].attributes["flow.operation"] == "client_call_operation(s.e)"


@pytest.mark.parametrize("runner", [run_virtual, run], ids=["virtual", "uvloop"])
def test_what_a_step_does_is_inside_its_span(runner):
    spans = Spans()

    def plain(name: str) -> Any:
        async def work(value: Any) -> Any:
            with spans.tracer.start_as_current_span(f"in {name}"):
                await asyncio.sleep(0)
            return value

        return work

    async def instant(value: Any) -> Any:
        spans.tracer.start_span("in instant").end()
        return value

    def thread(value: Any) -> Any:
        spans.tracer.start_span("in thread").end()
        return value

    async def tasks(value: Any) -> Any:
        await asyncio.sleep(0)
        await asyncio.gather(plain("task")(value), asyncio.create_task(plain("other task")(value)))

    async def main() -> None:
        async with Flow() as flow:
            stop = trace(flow, spans.provider)
            bodies = {"one": plain("one"), "two": plain("two"), "instant": instant, "thread": thread, "tasks": tasks}
            await flow.create_steps("f", [Step(name, body) for name, body in bodies.items()])
            await flow.execute("f")
            stop()
            assert not get_current_span().get_span_context().is_valid  # nothing of it stays behind

    runner(main(), **({"threads": True} if runner is run_virtual else {}))
    for inner, step in [("one", "one"), ("two", "two"), ("instant", "instant"), ("thread", "thread"),
                        ("task", "tasks"), ("other task", "tasks")]:  # fmt: skip
        assert spans.inside(f"in {inner}", f"f/{step}"), inner


def test_a_step_writes_to_its_span():
    async def work(value: Any) -> Any:
        span = get_current_span()
        assert span.is_recording()
        span.set_attribute("customer", 7)
        span.set_attributes({"flow.step": "not mine to say", "size": 3})
        span.add_event("looked", {"at": "shelf"})
        span.record_exception(KeyError("handled"))
        span.set_status(StatusCode.OK)
        span.update_name("reserve 3 books")
        with pytest.raises(ZeroDivisionError), span:
            raise ZeroDivisionError
        span.end()
        return value

    span = spans_of(Step("a", work))["reserve 3 books"]
    assert {"customer": 7, "size": 3, "flow.step": "a"}.items() <= span.attributes.items()
    assert [e.name for e in span.events] == ["looked", "exception"]
    assert span.events[1].attributes["exception.type"] == "KeyError"
    assert span.status.status_code is StatusCode.OK


def test_what_a_step_writes_while_it_fails_does_not_hide_that():
    async def work(value: Any) -> Any:
        get_current_span().set_status(StatusCode.OK)
        raise OSError("no")

    assert spans_of(Step("a", work))["f/a"].status.status_code is StatusCode.ERROR

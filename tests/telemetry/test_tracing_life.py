"""Tracing on and off: what it costs when it is off, what it holds, and what can't do it harm."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
from typing import Any

import pytest
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import NoOpTracerProvider, StatusCode

import flow_core.telemetry.otel as otel_module
from flow_core import ClientCallOperation, Execution, Executor, Flow, Step
from flow_core.core.stepper import Stepper
from flow_core.errors import InvalidOption
from flow_core.rpc import MemoryRpcClient
from flow_core.telemetry import trace
from tests.aio import run_virtual
from tests.telemetry.kit import Spans


async def echo(value: Any) -> Any:
    return value


def test_off_means_that_nothing_of_it_is_there(pytestconfig):
    script = """
import sys
from flow_core import Flow, Step, run
from flow_core.core.stepper import Stepper

async def main():
    async with Flow() as flow:
        await flow.create_step("f", Step("a", lambda value: value))
        execution = await flow.execute("f")
        assert Stepper(execution).trace is None and Stepper(execution).scheduler.tracer is None

run(main())
print(*[name for name in sys.modules if name.split(".")[0] in ("opentelemetry", "prometheus_client")])
print(*[name for name in sys.modules if name.startswith("flow_core.telemetry")])
"""
    ran = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=pytestconfig.rootpath,
    )
    assert ran.stdout.split() == []


@pytest.mark.parametrize(
    ("missing", "name", "extra"),
    [("opentelemetry", "trace", "otel"), ("opentelemetry.sdk", "trace", "otel"),
     ("prometheus_client", "ExecutorCollector", "prometheus"), ("prometheus_client", "serve_metrics", "prometheus")],
)  # fmt: skip
def test_a_missing_library_is_named_with_its_extra(monkeypatch, missing, name, extra):
    for module in [*sys.modules]:
        if module.startswith(("flow_core.telemetry", missing)):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    from flow_core import telemetry

    with pytest.raises(ImportError, match=rf"pip install 'flow-core\[{extra}\]'"):
        getattr(telemetry, name)


def test_the_room_has_no_other_names():
    from flow_core import telemetry

    assert [telemetry.trace, telemetry.ExecutorCollector, telemetry.serve_metrics]
    with pytest.raises(AttributeError, match="nothing"):
        _ = telemetry.nothing


def test_it_begins_and_ends_between_executions():
    spans = Spans()

    async def main() -> None:
        async with Flow() as flow:
            gate = asyncio.Event()

            async def wait(value: Any) -> Any:
                await gate.wait()

            await flow.create_step("early", Step("a", wait))
            await flow.create_step("late", Step("a", wait))
            await flow.create_step("f", Step("a", echo))
            early = await flow.execute("early", async_=True)
            stop = trace(flow, spans.provider)
            with pytest.raises(InvalidOption, match="traced already"):
                trace(flow.executor, spans.provider)
            late = await flow.execute("late", async_=True)
            await flow.execute("f")
            stop()
            assert spans.names == ["f", "f/a"]  # those of what has ended are made by now
            stop()
            gate.set()
            await asyncio.gather(early, late)
            assert Stepper(early).trace is None and flow.executor.scheduler.tracer is None
            assert Stepper(await flow.execute("f")).trace is None
            await asyncio.sleep(1)
            assert spans.names == ["f", "f/a"]
            trace(flow, spans.provider)()  # and again

    run_virtual(main())


def test_it_can_begin_before_the_first_execution_and_ends_with_the_executor():
    spans = Spans()

    async def main() -> None:
        flow = Flow()
        stop = trace(flow, spans.provider)
        async with flow:
            await flow.create_step("f", Step("a", echo))
            await flow.execute("f")
        assert spans.names == ["f", "f/a"]
        stop()
        trace(Executor(), spans.provider)()

    run_virtual(main())


def test_executions_that_the_executor_stops_are_told():
    spans = Spans()

    async def main() -> None:
        async with Flow(executor=Executor(drain=0)) as flow:
            trace(flow, spans.provider)
            await flow.create_step("f", Step("a", lambda: None), author=None)
            await flow.create_step("g", Step("b", asyncio.Event().wait))
            await flow.execute("g", async_=True)

    run_virtual(main())
    assert spans.names == ["g", "g/b"]
    assert spans["g"].attributes["flow.status"] == "STOPPED" and spans["g"].status.status_code is StatusCode.ERROR


def test_a_provider_of_the_sdk_is_needed_unless_it_is_disabled(monkeypatch):
    with pytest.raises(InvalidOption, match="no tracer provider of the SDK"):
        trace(Flow(), object.__new__(type("Other", (), {"get_tracer": lambda *_: None})))  # type: ignore[arg-type]
    for provider in (NoOpTracerProvider(),):
        flow = Flow()
        trace(flow, provider)()  # type: ignore[arg-type]
        assert flow.executor._tracer is None
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    flow = Flow()
    trace(flow, Spans().provider)()
    assert flow.executor._tracer is None


def test_the_tracers_of_others_keep_their_ids_and_sampler():
    spans = Spans()
    theirs = spans.provider.get_tracer("flow_core", otel_module.__version__)
    trace(Flow(), spans.provider)
    assert theirs.sampler is spans.provider.sampler and theirs.id_generator is spans.provider.id_generator
    assert spans.provider.get_tracer("flow_core", otel_module.__version__) is theirs or theirs.sampler is not None


def test_thousands_of_executions_leave_nothing_behind():
    class Counting(SpanProcessor):
        ended = 0

        def on_end(self, span: Any) -> None:
            self.ended += 1

    def alive(flow: Flow) -> int:
        """Executions of this flow: other tests may have left some that a cycle or an error holds."""
        scheduler = flow.executor.scheduler
        return sum(isinstance(one, Execution) and Stepper(one).scheduler is scheduler for one in gc.get_objects())

    async def main() -> None:
        spans, counting = Spans(), Counting()
        spans.provider = type(spans.provider)()
        spans.provider.add_span_processor(counting)
        async with Flow(executor=Executor(keep=10)) as flow:
            stop = trace(flow, spans.provider)
            await flow.create_steps("f", [Step("a", echo), Step("b", echo, after="a")])
            most = 0
            for _ in range(8):
                for _ in range(1_000):  # without a turn of the loop in between
                    await flow.execute("f", b"x" * 100)
                gc.collect()
                most = max(most, alive(flow))
            assert most <= otel_module.MOST_PENDING + 100
            stop()
            gc.disable()  # nothing of it needs the garbage collector
            try:
                assert alive(flow) <= 12
            finally:
                gc.enable()
        assert counting.ended == 8_000 * 3

    run_virtual(main())


def test_a_huge_execution_does_not_keep_the_loop(monkeypatch):
    spans, clock = Spans(), iter(range(10**9))
    monkeypatch.setattr(otel_module, "perf_counter", lambda: next(clock) * 1e-5)  # 100 looks at the clock a budget

    async def main() -> None:
        async with Flow() as flow:
            stop = trace(flow, spans.provider)
            await flow.create_steps("f", [Step(f"s{i}", echo) for i in range(1_000)])
            await flow.execute("f")
            made = []
            while len(spans.all) < 1_001:
                before = len(spans.all)
                await asyncio.sleep(0)
                made.append(len(spans.all) - before)
            assert max(made) <= 101
            stop()

    run_virtual(main())


def test_a_broken_processor_or_sampler_harms_no_execution(caplog):
    class Broken(SpanProcessor):
        def on_end(self, span: Any) -> None:
            raise ValueError("broken")

    class Unsure(Sampler):
        def should_sample(self, *_: Any, **__: Any) -> Any:
            raise ValueError("unsure")

        def get_description(self) -> str:
            return "unsure"

    async def main(spans: Spans) -> None:
        rpc = MemoryRpcClient()
        rpc.serve("s", "e", lambda data, headers: headers["traceparent"][-2:].encode())
        async with Flow(rpc=rpc) as flow:
            stop = trace(flow, spans.provider)
            await flow.create_step("f", Step("a", ClientCallOperation("s", "e")))
            flags.append((await flow.execute("f", b"x")).response)
            stop()

    flags: list[bytes] = []
    broken = Spans()
    broken.provider.add_span_processor(Broken())
    with caplog.at_level(logging.ERROR, "flow_core"):
        run_virtual(main(broken))
        run_virtual(main(Spans(Unsure())))
    assert [record.message for record in caplog.records] == [
        "the spans of an execution could not be made", "the sampler failed: an execution is not traced"
    ]  # fmt: skip
    assert flags == [b"01", b"00"]

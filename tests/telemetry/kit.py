"""What the tests of telemetry share: spans kept in memory, and the sudden end of a flow.

Lives here: that. Does not live here: loops (``tests/aio.py``).
"""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler

from flow_core import Flow

__all__ = ["Spans", "crash", "hex_of"]


class Spans:
    """A provider of the SDK whose spans stay here; ``spans["name"]`` is the only one of that name."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("tests")

    @property
    def all(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    @property
    def names(self) -> list[str]:
        return sorted(span.name for span in self.all)

    def __getitem__(self, name: str) -> ReadableSpan:
        [found] = [span for span in self.all if span.name == name]
        return found

    def inside(self, child: str, parent: str) -> bool:
        """Whether one span is the other's child, in one trace."""
        one, other = self[child], self[parent]
        return one.parent is not None and (one.parent.trace_id, one.parent.span_id) == key(other)


def key(span: ReadableSpan) -> tuple[int, int]:
    """(trace id, span id)"""
    return span.context.trace_id, span.context.span_id


def hex_of(span: ReadableSpan) -> str:
    """``trace id-span id`` as in a traceparent."""
    return f"{span.context.trace_id:032x}-{span.context.span_id:016x}"


def crash(flow: Flow) -> None:
    """The process of ``flow`` is killed: nothing of it goes on, nothing more of it is written."""
    executor: Any = flow.executor
    session, dead = executor._session, RuntimeError("dead")
    session._close()
    for task in [*session.recovery.tasks, session._lease._heart]:
        if task is not None:
            task.cancel()
    session.journal.close(dead)
    for run in executor._scheduler.runs_known():
        if not run.over:
            executor._runner.drop(run, dead)
    executor._scheduler.close()
    executor._guard.cancel()

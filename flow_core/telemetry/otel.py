"""`trace`: spans for OpenTelemetry, one for each execution and one for each of its steps.

Spans are made when an execution has ended, from the times that the engine keeps anyway. So nothing is made for
executions that are not sampled, and a crash loses no span: the process that continues a durable execution makes them
all. The identity of a step's span, which is needed earlier, is derived (``spans.py``).

They are made by a tracer of the SDK, a copy of the provider's whose ids and sampler are set: span processors, limits
and the resource are the provider's own.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections import deque
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from flow_core.core.stepper import Stepper
from flow_core.telemetry.making import ExecutionSpans
from flow_core.telemetry.spans import Trace, TraceIdentity, identity, parent_context

try:
    from opentelemetry.sdk.trace import Tracer, TracerProvider
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
    from opentelemetry.trace import NoOpTracer, Span, SpanContext, SpanKind, get_current_span, get_tracer_provider
except ImportError as missing:
    raise ImportError("tracing needs the SDK of OpenTelemetry: pip install 'flow-core[otel]'") from missing

from flow_core import Execution, Executor, Flow, Status, __version__
from flow_core.errors import InvalidOption

if TYPE_CHECKING:
    from opentelemetry.context import Context

__all__ = ["FlowTracer", "trace"]

log = logging.getLogger("flow_core")

#: Seconds spent on spans before other tasks of the loop get their turn.
BUDGET: Final = 0.001
#: Maximum number of executions whose spans are still to be made. Beyond it, spans are made at once.
MOST_PENDING: Final = 1_000


def trace(flow: Flow | Executor, tracer_provider: TracerProvider | None = None) -> Callable[[], None]:
    """Make spans of the executions that start from now on.

    Args:
        flow: whose executions; a `Flow` or an `Executor`.
        tracer_provider: of the SDK; the one set with ``opentelemetry.trace.set_tracer_provider`` when None.

    Returns:
        a function that stops tracing: it makes the spans of executions that have ended, but none of those still
        running. It is called when the executor stops, too. With OTEL_SDK_DISABLED=true nothing is traced.

    Raises:
        InvalidOption: there is no provider of the SDK, or the executor is traced already.
        ImportError: the SDK is not installed.
    """
    executor: Executor = flow.executor if isinstance(flow, Flow) else flow
    provider: Any = tracer_provider or get_tracer_provider()
    tracer = provider.get_tracer("flow_core", __version__)
    if isinstance(tracer, NoOpTracer):
        return lambda: None
    if not isinstance(tracer, Tracer):
        raise InvalidOption(
            f"{type(provider).__name__} is no tracer provider of the SDK of OpenTelemetry",
            fix="opentelemetry.trace.set_tracer_provider(TracerProvider()) first, or trace(flow, tracer_provider=...)",
        )
    mine = FlowTracer(tracer)
    executor.trace(mine)
    forget = executor.at_stop(mine.close)

    def stop() -> None:
        forget()
        if not mine.closed:
            executor.trace(None)
        mine.close()

    return stop


class _Given(IdGenerator, Sampler):  # type: ignore[misc]
    """Gives the next span the ids and the sampling decision that were set for it."""

    def __init__(self) -> None:
        self.trace_id = self.span_id = 0
        self.facts: TraceIdentity | None = None

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id

    def should_sample(
        self, parent: Any, trace_id: int, name: str, kind: Any = None, attributes: Any = None, *_: Any
    ) -> SamplingResult:
        assert self.facts is not None
        return SamplingResult(self.facts.sampled.decision, attributes, self.facts.sampled.trace_state)

    def get_description(self) -> str:
        return "flow_core: as decided when the execution started"


class FlowTracer:
    """Makes the spans of one executor's executions.

    Args:
        tracer: of the SDK.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._sampler: Sampler = tracer.sampler
        self._given = _Given()
        self._tracer = copy.copy(tracer)  # the provider hands out one and the same to everybody
        self._tracer.id_generator = self._tracer.sampler = self._given
        self._pending: deque[Execution] = deque()
        self._making: Iterator[None] | None = None
        self._scheduled = self._working = False
        self.closed = False

    def begin(self, run: Execution) -> Trace:
        """An execution starts, in the context of its caller."""
        return Trace(self, run, get_current_span().get_span_context())

    def sample(self, parent: SpanContext | None, trace_id: int, run: Execution) -> SamplingResult:
        """Ask the provider's sampler once per execution. If the sampler raises, the execution is dropped."""
        try:
            result: SamplingResult = self._sampler.should_sample(
                parent_context(parent), trace_id, run.flow, SpanKind.INTERNAL, identity(run), ()
            )
            return result
        except Exception:
            log.exception("the sampler failed: an execution is not traced", extra={"execution": run.id})
            return SamplingResult(Decision.DROP)

    def start(  # noqa: PLR0917 - all that a span begins with
        self, facts: TraceIdentity, own: SpanContext, parent: Context, name: str, kind: SpanKind,
        attributes: dict[str, Any], began: int,
    ) -> Span:  # fmt: skip
        """Start a span with the identity ``own``, at ``began``, UTC nanoseconds."""
        given = self._given
        given.trace_id, given.span_id, given.facts = own.trace_id, own.span_id, facts
        return self._tracer.start_span(name, parent, kind, attributes, start_time=began)

    def ended(self, run: Execution) -> None:
        """An execution has ended: make its spans in a later turn of the loop."""
        if self.closed:
            Stepper(run).trace.close()
            return
        self._pending.append(run)
        if len(self._pending) > MOST_PENDING and not self._working:
            self._work(None)
        if not self._scheduled:
            self._schedule()

    def close(self) -> None:
        """Make the spans of executions that have ended, and none after that."""
        if not self.closed:
            self.closed = True
            while self._pending or self._making is not None:
                self._work(None)

    def _schedule(self) -> None:
        try:
            asyncio.get_running_loop().call_soon(self._turn)
            self._scheduled = True
        except RuntimeError:
            pass  # the loop is no more: `close` makes what is left

    def _turn(self) -> None:
        self._scheduled = False
        until = perf_counter() + BUDGET
        while (self._pending or self._making is not None) and perf_counter() < until:
            self._work(until)
        if self._pending or self._making is not None:
            self._schedule()

    def _work(self, until: float | None) -> None:
        """Continue with the spans of one execution, until the end when ``until`` is None."""
        self._working = True
        try:
            if self._making is None:
                self._making = self._spans(self._pending.popleft())
            for _ in self._making:
                if until is not None and perf_counter() >= until:
                    return
        except Exception:  # a span processor's
            log.exception("the spans of an execution could not be made")
        finally:
            self._working = False
        self._making = None

    def _spans(self, run: Execution) -> Iterator[None]:
        noted: Trace = Stepper(run).trace
        facts, notes, activities = noted.facts(), noted.notes, noted.activities
        noted.close()
        elsewhere = Stepper(run).durable and run.status is Status.STOPPED  # whoever goes on with it makes the spans
        if facts is not None and facts.sampled.decision.is_recording() and not elsewhere:
            yield from ExecutionSpans(self.start, run, facts, notes).make(activities)

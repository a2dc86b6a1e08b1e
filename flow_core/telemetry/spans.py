"""`Trace`: what is noted about one running execution for its spans, and the ids of these spans.

A span's id has to be known before the span is made, because calls and messages carry it. So ids are derived from the
id of the execution, which a recovered execution still has, and from the id of the step. They stay the
same when an execution continues in another process.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple, Protocol

try:
    from opentelemetry.context import Context, attach
    from opentelemetry.sdk.trace.sampling import SamplingResult
    from opentelemetry.trace import (
        NonRecordingSpan,
        Span,
        SpanContext,
        Status,
        StatusCode,
        TraceFlags,
        get_current_span,
        set_span_in_context,
    )
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as missing:
    raise ImportError("tracing needs the SDK of OpenTelemetry: pip install 'flow-core[otel]'") from missing

from flow_core import Execution
from flow_core.core.stepper import Stepper
from flow_core.core.task import Activity
from flow_core.model.records import AttemptFailed, Compensated, ErrorRecord, Record
from flow_core.model.trace_context import TRACEPARENT, TRACESTATE

__all__ = [
    "Event",
    "SpanMaker",
    "StepNotes",
    "StepSpan",
    "Trace",
    "TraceIdentity",
    "TracedAttempt",
    "identity",
    "parent_context",
]  # fmt: skip

log = logging.getLogger("flow_core")

#: Maximum number of events that a step adds to its span; the latest are kept. The default limit of the SDK.
MOST_EVENTS: Final = 128
#: Trace flag of W3C level 2: the trace id is random. Passed on from a parent.
RANDOM: Final = 0x02


class Event(NamedTuple):
    """An event of a span, in UTC nanoseconds; an exception when there is an ``error``."""

    time_ns: int
    name: str
    attributes: Mapping[str, Any]
    error: BaseException | ErrorRecord | None = None


class TracedAttempt(NamedTuple):
    """A failed attempt; times are loop seconds."""

    attempt: int
    began: float
    ended: float
    error: BaseException | ErrorRecord


class StepNotes:
    """Notes about a step that its execution does not keep itself."""

    __slots__ = ("attempts", "attributes", "events", "name", "status")

    def __init__(self) -> None:
        self.attempts: list[TracedAttempt] = []
        self.events: deque[Event] = deque(maxlen=MOST_EVENTS)
        self.attributes: dict[str, Any] = {}
        self.name: str | None = None
        self.status: Status | None = None


class TraceIdentity(NamedTuple):
    """The identity shared by all spans of one execution: derived at its first step, the same in every process."""

    parent: SpanContext | None
    span: SpanContext
    sampled: SamplingResult
    key: str

    def of_step(self, step: str) -> SpanContext:
        """The identity of a step's span."""
        own = int.from_bytes(sha256(f"{self.key}/{step}".encode()).digest()[:8], "big") or 1
        return SpanContext(self.span.trace_id, own, False, self.span.trace_flags, self.span.trace_state)


class SpanMaker(Protocol):
    """The part of the tracer that a `Trace` uses."""

    def sample(self, parent: SpanContext | None, trace_id: int, run: Execution) -> SamplingResult:
        """Decide whether the spans of an execution are recorded."""

    def ended(self, run: Execution) -> None:
        """An execution has ended: its spans can be made."""


class Trace:
    """One execution as its tracer sees it; the core calls `enter` and `ended`, the runtime the other methods.

    Args:
        tracer: makes the spans in the end.
        run: the execution, let go of at its end.
        current: identity of the span that was current when it was started.
    """

    __slots__ = ("_current", "_facts", "_run", "_tracer", "activities", "notes")

    def __init__(self, tracer: SpanMaker, run: Execution, current: SpanContext) -> None:
        self._tracer = tracer
        self._run: Execution | None = run
        self._current = current
        self._facts: TraceIdentity | None = None
        #: Index of a step -> notes about it.
        self.notes: dict[int, StepNotes] = {}
        #: (time, step, kind, error) of fallbacks and compensations; loop seconds.
        self.activities: list[tuple[float, int, str, BaseException | ErrorRecord | None]] = []

    # --- from the core and the runtime -------------------------------------------------------------------------------

    def enter(self, step: int, activity: int) -> None:
        """A step begins: make its span the current one, also in tasks and threads that the step starts."""
        if self._run is None:
            return
        try:
            attach(set_span_in_context(StepSpan(self, step, self._run.plan.items[step].id)))
        except Exception:
            log.exception("the span of a step could not be made the current one")

    def failed(self, step: int, error: BaseException) -> None:
        """Note a failed attempt."""
        run = self._run
        if run is not None:
            began, now = Stepper(run).times(step)[0], Stepper(run).scheduler.time
            self._attempt(step, TracedAttempt(Stepper(run).attempt(step), now if began is None else began, now, error))

    def activity_ended(self, step: int, activity: int, error: BaseException | None) -> None:
        """Note the end of a fallback or a compensation."""
        if self._run is not None:
            kind = "fallback" if activity == Activity.ACTIVITY_FALLBACK else "compensation"
            self.activities.append((Stepper(self._run).scheduler.time, step, kind, error))

    def recall(self, records: Sequence[Record], ahead: float) -> None:
        """Note failures from before the execution came to this process."""
        run = self._run
        if run is None:
            return
        for record in records:
            if isinstance(record, AttemptFailed):
                began, ended = record.started_utc - ahead, record.time_utc - ahead
                error = record.error or ErrorRecord("error", "", "Exception")
                self._attempt(run.plan.index(record.step), TracedAttempt(record.attempt, began, ended, error))
            elif isinstance(record, Compensated):
                index = run.plan.index(record.step)
                self.activities.append((record.time_utc - ahead, index, "compensation", record.error))

    def _attempt(self, step: int, attempt: TracedAttempt) -> None:
        self.of_step(step).attempts.append(attempt)

    def ended(self) -> None:
        """The execution has ended: its spans can be made."""
        run = self._run
        if run is not None:
            self._tracer.ended(run)

    # --- identity ----------------------------------------------------------------------------------------------------

    def of_step(self, step: int) -> StepNotes:
        """The notes of a step, made when they are first needed."""
        found = self.notes.get(step)
        if found is None:
            found = self.notes[step] = StepNotes()
        return found

    def facts(self) -> TraceIdentity | None:
        """See `TraceIdentity`; None when the execution has ended and its spans are made."""
        if self._facts is None and self._run is not None:
            self._facts = self._derive(self._run)
        return self._facts

    def _derive(self, run: Execution) -> TraceIdentity:
        # In memory an id that a caller chose may come again with another execution; the generated one never does.
        stepper = Stepper(run)
        key = run.id if stepper.durable else "{:016x}{:016x}".format(*stepper.id_words)
        digest = sha256(key.encode()).digest()
        parent = self._parent(run)
        if parent is None:
            trace_id, flags = int.from_bytes(digest[:16], "big") or 1, 0
        else:
            trace_id, flags = parent.trace_id, parent.trace_flags & RANDOM
        sampled = self._tracer.sample(parent, trace_id, run)
        flags |= int(sampled.decision.is_sampled())
        own = int.from_bytes(digest[16:24], "big") or 1
        return TraceIdentity(
            parent, SpanContext(trace_id, own, False, TraceFlags(flags), sampled.trace_state), sampled, key
        )

    def _parent(self, run: Execution) -> SpanContext | None:
        # The context of a durable execution has the span that was current at its start, wherever it goes on.
        if self._current.is_valid and not Stepper(run).durable:
            return self._current
        given = run.options.context if run.options is not None else {}
        carrier = {name: given[name] for name in (TRACEPARENT, TRACESTATE) if isinstance(given.get(name), str)}
        if not carrier:
            return None
        remote = get_current_span(TraceContextTextMapPropagator().extract(carrier, Context())).get_span_context()
        return remote if remote.is_valid else None

    def close(self) -> None:
        """Drop all notes: the spans are made, or not wanted."""
        if self._run is not None:
            self.facts()  # what still runs inside of a step, a task that it left behind say, stays in the trace
        self._run = None
        self.notes, self.activities = {}, []

    @property
    def recording(self) -> bool:
        """Whether notes still get into a span."""
        facts = self.facts()
        return self._run is not None and facts is not None and facts.sampled.decision.is_recording()


class StepSpan(Span):  # type: ignore[misc]
    """The current span inside a step: libraries and your own code use it as parent, and write attributes to it.

    It is a stand-in: the real span is made when the execution has ended, with everything noted here. It ends with the
    step, so `end` does nothing.
    """

    __slots__ = ("_context", "_id", "_step", "_trace")

    def __init__(self, trace: Trace, step: int, id: str) -> None:
        self._trace = trace
        self._step = step
        self._id = id
        self._context: SpanContext | None = None

    def get_span_context(self) -> SpanContext:
        """The identity of the step's span."""
        if self._context is None:
            facts = self._trace.facts()
            assert facts is not None
            self._context = facts.of_step(self._id)
        return self._context

    def is_recording(self) -> bool:
        """Whether attributes and events are still kept."""
        return self._trace.recording

    def set_attribute(self, key: str, value: Any) -> None:
        """Set an attribute of the step's span."""
        self.set_attributes({key: value})

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set attributes of the step's span."""
        if self.is_recording():
            self._trace.of_step(self._step).attributes.update(attributes)

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        """Add an event to the step's span."""
        if self.is_recording():
            event = Event(timestamp or time.time_ns(), name, dict(attributes or {}))
            self._trace.of_step(self._step).events.append(event)

    def record_exception(
        self, exception: BaseException, attributes: Any = None, timestamp: int | None = None, escaped: bool = False
    ) -> None:
        """Add an exception that the step handled itself; those that escape the step are recorded anyway."""
        if self.is_recording():
            event = Event(timestamp or time.time_ns(), "exception", dict(attributes or {}), exception)
            self._trace.of_step(self._step).events.append(event)

    def update_name(self, name: str) -> None:
        """Rename the step's span."""
        if self.is_recording():
            self._trace.of_step(self._step).name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status of the step's span; that of a failed step is always an error."""
        if self.is_recording():
            given = status if isinstance(status, Status) else Status(status, description)
            self._trace.of_step(self._step).status = given

    def end(self, end_time: int | None = None) -> None:
        """Do nothing: the span ends with the step."""

    def __exit__(self, *_: object) -> None:
        """Do nothing, as `end`."""


def parent_context(span: SpanContext | None) -> Context:
    """A context whose current span is ``span``; an empty one for None."""
    return Context() if span is None else set_span_in_context(NonRecordingSpan(span), Context())


def identity(run: Execution) -> dict[str, Any]:
    """The attributes that all spans of an execution have."""
    return {"flow.name": run.flow, "flow.execution": run.id, "flow.revision": run.revision}

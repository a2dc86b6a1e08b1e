"""`ExecutionSpans`: makes the spans of a finished execution."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

try:
    from opentelemetry.trace import Span, SpanKind, StatusCode
except ImportError as missing:
    raise ImportError("tracing needs the SDK of OpenTelemetry: pip install 'flow-core[otel]'") from missing

from flow_core import Execution, Status
from flow_core.core.stepper import Stepper
from flow_core.model.records import ErrorRecord
from flow_core.telemetry.spans import Event, StepNotes, TracedAttempt, TraceIdentity, identity, parent_context

__all__ = ["ExecutionSpans"]

#: Kind of a step's span, by the type of its operation.
KINDS: Final = {"client_call_operation": SpanKind.CLIENT, "client_publish_operation": SpanKind.PRODUCER}
SUCCESS: Final = int(Status.SUCCESS)
NO_NOTES: Final = StepNotes()


class ExecutionSpans:
    """Makes the spans of one execution that has ended.

    Args:
        start: `FlowTracer.start`.
        run: the execution.
        facts: identity of its span.
        notes: by index of the step.
    """

    def __init__(
        self, start: Callable[..., Span], run: Execution, facts: TraceIdentity, notes: Mapping[int, StepNotes]
    ) -> None:
        stepper = Stepper(run)
        self._start, self._run, self._facts, self._notes = start, run, facts, notes
        self._ahead = round(stepper.scheduler.ahead * 1e9)
        self._began, self._ended = map(self._utc, stepper.span)
        self._identity = identity(run)
        self._errors, self._recovered = run.errors, frozenset(run.recovered)
        self._inside = parent_context(facts.span)

    def _utc(self, at: float) -> int:
        """UTC nanoseconds of a loop time. Added as integers: a float is too imprecise for times since 1970."""
        return int(self._ahead + round(at * 1e9))

    def make(self, activities: list[tuple[float, int, str, Any]]) -> Iterator[None]:
        """Make the spans, one per iteration; that of the execution ends last."""
        run, facts = self._run, self._facts
        attributes = {**(facts.sampled.attributes or {}), **self._identity, "flow.status": run.status.name}
        if run.parent is not None:
            attributes["flow.parent"] = run.parent.id
        kind, parent = SpanKind.INTERNAL, parent_context(facts.parent)
        whole = self._start(facts, facts.span, parent, run.flow, kind, attributes, self._began)
        for index in range(len(run.plan)):
            self._step(index, self._notes.get(index, NO_NOTES))
            yield
        for at, index, what, error in activities:
            self._add(whole, Event(self._utc(at), what, {"flow.step": run.plan.items[index].id}, error))
        if run.status is not Status.SUCCESS:
            if run.error is not None:
                self._add(whole, Event(self._ended, "exception", {}, run.error))
            whole.set_status(StatusCode.ERROR, _reason(run.status, run.error))
        whole.end(self._ended)

    def _step(self, index: int, notes: StepNotes) -> None:
        """Make the span of one step, unless it never started."""
        run = self._run
        last, ended = Stepper(run).times(index)
        attempts = sorted(notes.attempts, key=_number) if notes.attempts else ()
        began = attempts[0].began if attempts else last
        if began is None or ended is None:
            return
        step, status, number = run.plan.items[index], Stepper(run).step_status(index), Stepper(run).attempt(index)
        attributes = {
            **notes.attributes, **self._identity, "flow.step": step.id, "flow.attempt": number,
            "flow.operation": str(step.operation), "flow.status": Status(status).name,
        }  # fmt: skip
        if step.id in self._recovered:
            attributes["flow.recovered"] = True
        span = self._start(
            self._facts, self._facts.of_step(step.id), self._inside, notes.name or f"{run.flow}/{step.id}",
            KINDS.get(step.operation.type, SpanKind.INTERNAL), attributes, max(self._began, self._utc(began)),
        )  # fmt: skip
        for attempt in attempts:
            self._attempt(span, attempt)
        if attempts and number > attempts[-1].attempt and last is not None:
            self._add(span, Event(self._utc(last), "attempt", {"flow.attempt": number}))
        for event in notes.events:
            self._add(span, event)
        if status != SUCCESS:
            span.set_status(StatusCode.ERROR, _reason(Status(status), self._errors.get(step.id)))
        elif notes.status is not None:
            span.set_status(notes.status)
        span.end(self._utc(ended))

    def _attempt(self, span: Span, attempt: TracedAttempt) -> None:
        number = {"flow.attempt": attempt.attempt}
        self._add(span, Event(self._utc(attempt.began), "attempt", number))
        self._add(span, Event(self._utc(attempt.ended), "exception", number, attempt.error))

    def _add(self, span: Span, event: Event) -> None:
        """Add an event; one with an error becomes an exception event."""
        if event.error is None:
            span.add_event(event.name, event.attributes, event.time_ns)
        else:
            span.add_event("exception", {**_told(event.error), **event.attributes}, event.time_ns)


def _told(error: BaseException | ErrorRecord) -> dict[str, str]:
    """Attributes of an error by OpenTelemetry's conventions. Older SDKs' `Span.record_exception` finds no stack here.

    https://opentelemetry.io/docs/specs/semconv/exceptions/exceptions-spans/
    """
    if isinstance(error, ErrorRecord):
        return {"exception.type": error.type, "exception.message": error.message}
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    stack = "".join(traceback.format_exception(error))
    return {"exception.type": name, "exception.message": str(error), "exception.stacktrace": stack}


def _number(attempt: TracedAttempt) -> tuple[int, float]:
    return attempt.attempt, attempt.began


def _reason(status: Status, error: BaseException | None) -> str:
    if error is None:
        return status.name
    return f"{status.name}: {type(error).__name__}: {getattr(error, 'message', None) or error}"

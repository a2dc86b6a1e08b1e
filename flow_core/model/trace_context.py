"""W3C trace context: which ``traceparent`` an outgoing call or message carries.

OpenTelemetry is not imported here: as long as nothing else in the process has imported it, there is no span, and
finding that out costs one look-up.

Format: https://www.w3.org/TR/trace-context/ (version 00; later versions are passed on as they are).
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Mapping
from typing import Any, Final

from flow_core.errors import Permanent
from flow_core.model.options import ExecuteOptions

__all__ = [
    "OPENTELEMETRY",
    "TRACEPARENT",
    "TRACESTATE",
    "current_trace",
    "outgoing_headers",
    "trace_context",
    "with_current_trace",
]

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
#: The module without which nobody in this process has a span.
OPENTELEMETRY: Final = "opentelemetry.trace"

_PARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]+)?"
).fullmatch
_STATE: Final = re.compile(r"[ -~]{0,512}").fullmatch


def outgoing_headers(ctx: Any) -> dict[str, str]:
    """What an attempt sends along: ``ctx.headers()``, and the trace context where there is one.

    That is the current span of OpenTelemetry, which is the step's own when executions are traced; else the
    ``traceparent`` (and ``tracestate``) that the caller gave with ``execute(context={"traceparent": ...})``.

    Raises:
        Permanent: the caller's is malformed.
    """
    headers: dict[str, str] = ctx.headers()
    if OPENTELEMETRY in sys.modules:
        current = current_trace()
        if current is not None:
            headers.update(current)
            return headers
    given = ctx.options
    if given and TRACEPARENT in given:
        headers[TRACEPARENT] = _checked(given[TRACEPARENT], TRACEPARENT, _PARENT)
        if given.get(TRACESTATE):
            headers[TRACESTATE] = _checked(given[TRACESTATE], TRACESTATE, _STATE)
    return headers


def trace_context(context: Mapping[str, Any]) -> dict[str, Any]:
    """What of an execution's context its child executions get: the trace that the caller gave."""
    return {key: context[key] for key in (TRACEPARENT, TRACESTATE) if key in context} if context else {}


def with_current_trace(options: ExecuteOptions) -> ExecuteOptions:
    """Options to be stored: with the current span of OpenTelemetry, if any, as ``traceparent`` of their context.

    So an execution that goes on in another process stays a part of its trace.
    """
    if OPENTELEMETRY not in sys.modules:
        return options
    current = current_trace()
    if current is None:
        return options
    rest = {key: value for key, value in options.context.items() if key not in (TRACEPARENT, TRACESTATE)}
    return dataclasses.replace(options, context=rest | current)


def current_trace() -> dict[str, str] | None:
    """The headers of the current span of OpenTelemetry; None when there is none."""
    otel = sys.modules.get(OPENTELEMETRY)
    if otel is None:
        return None
    span = otel.get_current_span().get_span_context()
    if not span.is_valid:
        return None
    headers = {TRACEPARENT: f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}"}
    state = span.trace_state.to_header()
    if state:
        headers[TRACESTATE] = state
    return headers


def _checked(value: Any, what: str, pattern: Any) -> str:
    if not isinstance(value, str) or not pattern(value):
        raise Permanent(
            f"the {what} in the context of the execution is none: {value!r:.80}",
            fix="pass the header of the incoming request on unchanged, or leave it out",
        )
    return value

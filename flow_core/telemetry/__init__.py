"""Telemetry: metrics for Prometheus and spans for OpenTelemetry.

    from flow_core.telemetry import ExecutorCollector, trace

    ExecutorCollector(flow)     # extra `prometheus`
    stop = trace(flow)          # extra `otel`

Neither is imported before it is asked for, and a flow without them does nothing on their behalf.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flow_core.telemetry.otel import trace
    from flow_core.telemetry.prometheus import ExecutorCollector, serve_metrics

__all__ = ["ExecutorCollector", "serve_metrics", "trace"]


def __getattr__(name: str) -> Any:
    if name == "trace":
        from flow_core.telemetry.otel import trace

        return trace
    if name in ("ExecutorCollector", "serve_metrics"):
        from flow_core.telemetry import prometheus

        return getattr(prometheus, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

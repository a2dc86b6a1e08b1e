"""`ExecutorCollector`: exports what executors and their clients have counted to Prometheus.

The core counts anyway; the collector reads the counters when Prometheus asks, on the thread that serves the request.
It adds no work to an execution or a step.

Names: https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

try:
    import prometheus_client
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import CollectorRegistry
except ImportError as missing:
    raise ImportError("metrics need prometheus-client: pip install 'flow-core[prometheus]'") from missing

from flow_core import Executor, Flow
from flow_core.errors import InvalidOption

__all__ = ["METRICS", "ExecutorCollector", "Row", "serve_metrics"]


class Row(NamedTuple):
    """One metric: the source and field of its value in ``statistics()``, and how it is shown."""

    source: str
    field: str
    kind: type[Metric]
    name: str
    help: str


def _rows(source: str, kind: type[Metric], prefix: str, fields: Mapping[str, str | tuple[str, str]]) -> Iterator[Row]:
    for field, shown in fields.items():
        name, text = (field, shown) if isinstance(shown, str) else shown
        yield Row(source, field, kind, f"flow_core_{prefix}{name}", text)


_COUNTED: Final[dict[str, str | tuple[str, str]]] = {
    "executions_started": "Executions that were started, recovered ones included.",
    "executions_ended": "Executions that ended, however they did.",
    "steps_ended": "Attempts of steps, fallbacks and compensations that ended.",
    "steps_suspended": "Attempts that waited for something at least once.",
    "attempts_retried": "Failed attempts that are followed by another one.",
    "late_outcomes": "Outcomes that came when nobody wanted them any more, and were dropped.",
    "turns": ("loop_turns", "Turns of the event loop in which the executor worked."),
    "commits": "Commits of the store.",
    "records": "Records in the commits of the store.",
    "recovered": ("executions_recovered", "Executions taken over from owners that are gone."),
    "lost": ("executions_lost", "Executions that others took over, taking this executor for dead."),
}
_GAUGES: Final[dict[str, str | tuple[str, str]]] = {
    "executions_live": "Executions that have not ended.",
    "steps_running": "Steps that run, and hold one of the executor's slots.",
    "waiting": ("executions_waiting", "Recovered executions that wait for callables to be registered here."),
}
_RPC: Final[dict[str, str | tuple[str, str]]] = {
    "calls": "Calls that were made.", "replies": "Calls that were answered.", "failures": "Calls that failed.",
    "timeouts": "Calls whose time was up.",
}  # fmt: skip
_PUBSUB: Final[dict[str, str | tuple[str, str]]] = {
    "published": "Messages that the broker took.", "delivered": "Messages that were handed to handlers.",
    "replies": "Replies that were taken by a request.",
    "late_replies": "Replies that came after their request gave up.",
    "duplicate_replies": "Replies that came after the first.", "unroutable": "Messages that nobody was there for.",
    "handler_errors": "Errors raised by handlers.",
    "lost": "Messages sent without confirmation that the broker did not get.",
}  # fmt: skip

#: All metrics. Counters get the suffix ``_total`` when they are shown.
METRICS: Final = (
    *_rows("executor", CounterMetricFamily, "", _COUNTED), *_rows("executor", GaugeMetricFamily, "", _GAUGES),
    *_rows("rpc", CounterMetricFamily, "rpc_", _RPC), *_rows("pubsub", CounterMetricFamily, "pubsub_", _PUBSUB),
)  # fmt: skip


class _Source(NamedTuple):
    executor: Executor
    labels: dict[str, str]
    forget: Callable[[], None]

    def statistics(self) -> dict[str, Any]:
        """Source of a `Row` -> its statistics, if there is such a source."""
        found: dict[str, Any] = {"executor": self.executor.statistics()}
        for name in ("rpc", "pubsub"):
            client = getattr(self.executor.flow, name, None)
            if client is not None:
                found[name] = client.statistics()
        return found


class ExecutorCollector:
    """The metrics of one or more executors in a registry, each with its own labels.

    When an executor stops, its metrics disappear; with the last executor the collector leaves the registry.

    Args:
        flow: a `Flow` or an `Executor`; more of them with `add`.
        registry: where; the library's default registry when None.
        labels: label -> value of all its metrics; ``{"executor": name}`` when None, with the option ``name=`` of the
            executor, or ``"default"``.

    Raises:
        InvalidOption: the registry has a collector already (`add` to that one), or a label is none.
        ImportError: prometheus-client is not installed.
    """

    def __init__(
        self, flow: Flow | Executor, *, registry: CollectorRegistry | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.registry = prometheus_client.REGISTRY if registry is None else registry
        self._sources: tuple[_Source, ...] = ()
        self._registered = False
        self.add(flow, labels=labels)

    def add(self, flow: Flow | Executor, *, labels: Mapping[str, str] | None = None) -> None:
        """Show another executor's metrics, too. Its labels need the same names and other values. Errors as above."""
        executor = _executor_of(flow)
        given = _check_labels({"executor": executor.options.name or "default"} if labels is None else labels)
        for other in self._sources:
            if other.executor is executor:
                raise InvalidOption("this executor is shown already")
            if sorted(other.labels) != sorted(given):
                raise InvalidOption(
                    f"the labels are {sorted(given)}, those of the executors before it {sorted(other.labels)}",
                    fix="give all of them the same labels",
                )
            if other.labels == given:
                raise InvalidOption(
                    f"another executor has the labels {given} already",
                    fix='name it: ExecutorOptions(name=...), or labels={"executor": ...}',
                )
        if not self._registered:
            self._register()
        forget = executor.at_stop(lambda: self.remove(executor))
        self._sources = (*self._sources, _Source(executor, given, forget))

    def remove(self, flow: Flow | Executor) -> None:
        """Remove the metrics of an executor, if they are shown."""
        executor = _executor_of(flow)
        for source in self._sources:
            if source.executor is executor:
                source.forget()
        self._sources = tuple(source for source in self._sources if source.executor is not executor)
        if not self._sources:
            self.close()

    def close(self) -> None:
        """Remove all metrics, and leave the registry. Closing twice is fine."""
        sources, self._sources = self._sources, ()
        for source in sources:
            source.forget()
        if self._registered:
            self._registered = False
            self.registry.unregister(self)

    def _register(self) -> None:
        try:
            self.registry.register(self)
        except ValueError as error:
            raise InvalidOption(
                "this registry shows the metrics of flow_core already",
                fix="add(flow) to the ExecutorCollector that is there, or use a registry of your own",
            ) from error
        self._registered = True

    # --- for the registry --------------------------------------------------------------------------------------------

    def describe(self) -> Iterable[Metric]:
        """The metrics without values, so that the registry refuses a second collector."""
        return [row.kind(row.name, row.help) for row in METRICS]

    def collect(self) -> Iterator[Metric]:
        """The current metrics. Any thread may call this."""
        sources = self._sources
        if not sources:
            return
        names = sorted(sources[0].labels)
        read = [([source.labels[name] for name in names], source.statistics()) for source in sources]
        for row in METRICS:
            metric = row.kind(row.name, row.help, labels=names)
            for values, statistics in read:
                if row.source in statistics:
                    metric.add_metric(values, getattr(statistics[row.source], row.field))
            if metric.samples:
                yield metric


def serve_metrics(
    port: int, addr: str = "127.0.0.1", registry: CollectorRegistry | None = None
) -> tuple[int, Callable[[], None]]:
    """Serve a registry at ``http://addr:port/metrics``, from a background thread.

    Args:
        port: 0 for any that is free.
        addr: this machine only, unless you say otherwise. Metrics need no password: whoever reaches it can read them.
        registry: the library's default one when None.

    Returns:
        the port, and a function that stops serving and waits for the thread.

    Raises:
        OSError: the port is taken.
    """
    registry = prometheus_client.REGISTRY if registry is None else registry
    server, thread = prometheus_client.start_http_server(port, addr=addr, registry=registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return int(server.server_port), stop


def _executor_of(flow: Any) -> Executor:
    executor = getattr(flow, "executor", flow)
    if not isinstance(executor, Executor):
        raise InvalidOption(f"a Flow or an Executor is needed, not {type(flow).__name__}: {flow!r:.80}")
    return executor


_LABEL: Final = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*").fullmatch


def _check_labels(labels: Mapping[str, str]) -> dict[str, str]:
    for name, value in labels.items():
        if not (isinstance(name, str) and _LABEL(name)):
            raise InvalidOption(f"{name!r:.80} is no name of a label", fix="use letters, digits and _")
        if not isinstance(value, str):
            raise InvalidOption(f"label {name!r} must be a str, not {type(value).__name__}: {value!r:.80}")
    return dict(labels)

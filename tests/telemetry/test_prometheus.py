"""Metrics: every counter there is, as Prometheus wants them, read when it asks; several executors in one registry."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from flow_core import ClientCallOperation, ClientPublishOperation, Executor, Flow, Retry, Step
from flow_core.errors import InvalidOption, StepFailed
from flow_core.pubsub import MemoryPubSubClient, PubSubStatistics
from flow_core.rpc import MemoryRpcClient, RpcStatistics
from flow_core.runtime.executor import ExecutorStatistics
from flow_core.stores import MemoryStore
from flow_core.telemetry import ExecutorCollector, serve_metrics
from flow_core.telemetry.prometheus import METRICS
from tests.aio import run_virtual

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


def read(registry: CollectorRegistry, **labels: str) -> dict[str, float]:
    """Name -> value of the samples with these labels, by way of the text that Prometheus gets."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    samples = [sample for family in families for sample in family.samples]
    return {s.name.removeprefix("flow_core_"): s.value for s in samples if labels.items() <= s.labels.items()}


def test_every_counter_is_shown_under_a_good_name():
    records = {"executor": ExecutorStatistics, "rpc": RpcStatistics, "pubsub": PubSubStatistics}
    fields = [(source, field.name) for source, record in records.items() for field in dataclasses.fields(record)]
    assert sorted((row.source, row.field) for row in METRICS) == sorted(fields)
    names = [row.name for row in METRICS]
    assert len(set(names)) == len(names)
    for row in METRICS:
        assert re.fullmatch(r"flow_core_[a-z]+(_[a-z]+)*", row.name) and not row.name.endswith("_total")
        assert row.help.endswith(".")


def test_the_page_for_operators_lists_every_metric():
    if not PAGE.exists():
        pytest.skip("about the checkout, not about the wheel")
    listed = re.findall(r"^\| `(flow_core_\w+)` \| (\w+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    kinds = {CounterMetricFamily: ("_total", "counter")}
    suffixes = [(row.name, *kinds.get(row.kind, ("", "gauge"))) for row in METRICS]
    assert listed == [(f"{name}{suffix}", kind) for name, suffix, kind in suffixes]


def test_what_happened_is_what_is_shown():
    async def flaky(value: Any) -> Any:
        raise OSError

    async def main() -> None:
        registry, gate = CollectorRegistry(), asyncio.Event()
        rpc, pubsub = MemoryRpcClient(), MemoryPubSubClient()
        rpc.serve("s", "e", lambda data, headers: b"")
        async with Flow(rpc=rpc, pubsub=pubsub) as flow:
            ExecutorCollector(flow, registry=registry)
            await flow.create_step("bad", Step("a", flaky, retry=Retry(2, initial=1)))
            await flow.create_step("call", Step("a", ClientCallOperation("s", "e")))
            await flow.create_step("tell", Step("a", ClientPublishOperation("t", confirm=False)))
            await flow.create_step("wait", Step("a", gate.wait))
            with pytest.raises(StepFailed):
                await flow.execute("bad")
            await flow.execute("call")
            await flow.execute("tell")
            waits = await flow.execute("wait", async_=True)
            shown = read(registry, executor="default")
            wanted = {
                "executions_started_total": 4, "executions_ended_total": 3, "executions_live": 1, "steps_running": 1,
                "steps_ended_total": 5, "attempts_retried_total": 2, "rpc_calls_total": 1, "rpc_replies_total": 1,
                "rpc_failures_total": 0, "pubsub_published_total": 1, "pubsub_unroutable_total": 1,
                "commits_total": 0, "executions_waiting": 0,
            }  # fmt: skip
            assert wanted.items() <= shown.items()
            gate.set()
            await waits
            after = read(registry)
            assert after["executions_live"] == after["steps_running"] == 0 and after["executions_ended_total"] == 4

    run_virtual(main())


def test_a_store_counts_too():
    async def main() -> None:
        registry = CollectorRegistry()
        async with Flow(store=MemoryStore(), executor=Executor(name="shop-1")) as flow:
            ExecutorCollector(flow, registry=registry)
            await flow.create_step("f", Step("a", lambda value: value))
            await flow.execute("f", b"x")
            shown = read(registry, executor="shop-1")
            assert shown["records_total"] == 3 and 1 <= shown["commits_total"] <= 3
            assert "rpc_calls_total" not in shown  # it has no such client

    run_virtual(main())


def test_several_executors_share_a_registry_by_their_labels():
    async def main() -> None:
        registry = CollectorRegistry()
        async with Flow(executor=Executor(name="one")) as one, Flow(executor=Executor(name="two")) as two:
            collector = ExecutorCollector(one, registry=registry)
            collector.add(two)
            await two.execute([Step("a", lambda: None)])
            assert read(registry, executor="one")["executions_started_total"] == 0
            assert read(registry, executor="two")["executions_started_total"] == 1
            text = generate_latest(registry).decode()
            assert text.count("# TYPE flow_core_executions_started_total counter") == 1
            with pytest.raises(InvalidOption, match="shown already"):
                collector.add(two.executor)
            with pytest.raises(InvalidOption, match="has the labels"):
                collector.add(Executor(name="two"))
            with pytest.raises(InvalidOption, match="the same labels"):
                collector.add(Executor(), labels={"service": "three"})
            with pytest.raises(InvalidOption, match=r"add\(flow\) to the ExecutorCollector"):
                ExecutorCollector(Flow(), registry=registry)
            collector.remove(two)
            assert read(registry, executor="two") == {}
            assert read(registry, executor="one")

    run_virtual(main())


def test_labels_of_ones_own():
    registry = CollectorRegistry()
    collector = ExecutorCollector(Executor(), registry=registry, labels={"service": "shop", "zone": 'a"b\n'})
    assert read(registry, service="shop", zone='a"b\n')["executions_live"] == 0
    collector.close()
    for labels in ({"__name__": "x"}, {"9": "x"}, {"a b": "x"}, {"ok": 7}):
        with pytest.raises(InvalidOption):
            ExecutorCollector(Executor(), registry=registry, labels=labels)  # type: ignore[arg-type]
    with pytest.raises(InvalidOption, match="a Flow or an Executor"):
        ExecutorCollector("flow", registry=registry)  # type: ignore[arg-type]
    ExecutorCollector(Executor(), registry=registry)  # nothing of what was refused stayed in it


def test_an_executor_that_stops_takes_its_metrics_along():
    async def main() -> None:
        registry = CollectorRegistry()
        one, two, never = Flow(executor=Executor(name="one")), Flow(), Flow(executor=Executor(name="never"))
        collector = ExecutorCollector(one, registry=registry)
        collector.add(two)
        collector.add(never)
        await one.execute([Step("a", lambda: None)])
        await one.stop()
        assert read(registry, executor="one") == {} and read(registry, executor="default")
        await two.stop()
        await never.stop()  # before it did anything
        assert generate_latest(registry) == b""
        collector.close()
        collector.add(again := Flow())
        assert read(registry, executor="default")
        await again.stop()
        ExecutorCollector(Flow(), registry=registry)  # there is room for another one

    run_virtual(main())


def test_metrics_are_served_on_loopback_until_stopped():
    registry = CollectorRegistry()
    ExecutorCollector(Executor(name="served"), registry=registry)
    port, stop = serve_metrics(0, registry=registry)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            assert b'flow_core_executions_live{executor="served"} 0.0' in answer.read()
        with pytest.raises(OSError, match="in use"):
            serve_metrics(port, registry=registry)
        assert listening(port) == {"127.0.0.1"}
    finally:
        stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=30)


def listening(port: int) -> set[str]:
    """The addresses on which somebody listens at ``port``."""
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    local = [line[1].split(":") for line in lines if line[3] == "0A"]
    return {socket.inet_ntoa(bytes.fromhex(host)[::-1]) for host, at in local if int(at, 16) == port}


def test_a_scrape_from_another_thread_reads_while_executions_run():
    async def main() -> None:
        registry = CollectorRegistry()
        async with Flow() as flow:
            ExecutorCollector(flow, registry=registry)
            await flow.create_step("f", Step("a", lambda value: value))
            seen = []
            for _ in range(20):
                scrape = asyncio.create_task(asyncio.to_thread(read, registry))
                await asyncio.gather(*(flow.execute("f", b"x") for _ in range(50)))
                seen.append((await scrape)["executions_started_total"])
            assert seen == sorted(seen) and read(registry)["executions_started_total"] == 1_000

    asyncio.run(main())

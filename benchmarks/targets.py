"""The figures flow-core has promised, in one table, and the check of a result against them.

Each target names a metric (see `metrics`), a limit and the sentence it comes from. Changing a promise is changing this
table and nothing else.
"""

from dataclasses import dataclass
from typing import Any

RIVAL = ("asyncio", "tasks")
OURS = ("flow_core", "first")
#: Who is compared with whom, where it is not these two.
SIDES = {"durable": (("flow_core_sqlite", "first"), ("dbos", "sqlite"))}
NOOP = "no-op async step: <= 0.30 us of run time a step on chain, fan and random"
NOOP_RIVAL = ">= 12x faster than the hand-written asyncio (counters + create_task on uvloop) on each"
SMALL = "8-step flow: >= 300,000 executions/s"
SMALL_RIVAL = ">= 8x the hand-written one at 100 in flight"
SUSPEND = "suspending step (`sleep(0)`): <= 1.8 us"
SUSPEND_RIVAL = ">= 2.5x faster than the hand-written asyncio"
LAG = "other tasks on the loop wait at most 5 ms while 1M instant steps drain"
PLAN = "plan of a revision, its Step objects already made: <= 0.6 us a step"
MILLION = "a 1M-step flow plans and runs in <= 2 s"
MEMORY = "<= 250 bytes a step of engine memory beside the user's objects"
GROWTH = "us/step at 1M <= 4x that at 10k"
REGISTER = "making and registering 10,000 steps one by one <= 1 s"
DURABLE = ">= 100,000 durable steps/s (SQLite FULL, 1,000 executions in flight, 64-byte payloads)"
DURABLE_RIVAL = ">= 100x DBOS on its SQLite store in the same run (`python -m benchmarks --install dbos` before)"
POSTGRES = "PostgreSQL >= 15,000 durable steps/s on one local server"
LONELY = "one lonely durable execution: at most two fsyncs of latency a step"
IMPORT = "`import flow_core` <= 80 ms over a bare interpreter, numpy included"

UNARY = "unary Execute: >= 85 % of a bare grpc.aio server with the same messages, 64 in flight"
MANY = "ExecuteMany: >= 100,000 executions/s of an 8-step flow over loopback"
LOOKUP = "lookups p99 < 10 ms while 50 clients change 10,000 steps of one flow, and no update is lost"
TELEMETRY = "metrics and spans cost nothing when off: no difference between never imported and stopped"
RPC = "an execution of one call costs <= 5 % of the bare client's throughput, 64 in flight"


@dataclass(frozen=True, slots=True)
class Target:
    """A promise: `metric` has to be at most (`<=`) or at least (`>=`) `limit`."""

    metric: str
    direction: str
    limit: float
    unit: str
    source: str

    def reached(self, value: float) -> bool:
        if self.direction == "<=":
            return value <= self.limit
        if self.direction == ">=":
            return value >= self.limit
        raise ValueError(f"direction {self.direction!r} of {self.metric} is neither <= nor >=")


TARGETS = (
    *(Target(f"{shape}.noop.run_us", "<=", 0.30, "us/step", NOOP) for shape in ("chain", "fan", "random")),
    *(Target(f"{shape}.noop.times_faster", ">=", 12, "x", NOOP_RIVAL) for shape in ("chain", "fan", "random")),
    Target("small.noop.all.executions_s", ">=", 300_000, "1/s", SMALL),
    Target("small.noop.100.executions_s", ">=", 300_000, "1/s", SMALL),
    Target("small.noop.100.times_faster", ">=", 8, "x", SMALL_RIVAL),
    *(Target(f"{shape}.suspend.run_us", "<=", 1.8, "us/step", SUSPEND) for shape in ("chain", "fan", "random")),
    *(Target(f"{shape}.suspend.times_faster", ">=", 2.5, "x", SUSPEND_RIVAL) for shape in ("chain", "fan", "random")),
    Target("lag.random_ms", "<=", 5, "ms", LAG),
    Target("lag.fan_ms", "<=", 5, "ms", LAG),
    Target("plan.total_us", "<=", 0.6, "us/step", PLAN),
    Target("million.total_s", "<=", 2, "s", MILLION),
    Target("memory.peak_bytes", "<=", 250, "bytes/step", MEMORY),
    Target("growth.ratio", "<=", 4, "x", GROWTH),
    Target("register.forward_s", "<=", 1, "s", REGISTER),
    Target("register.backward_s", "<=", 1, "s", REGISTER),
    Target("durable.noop.1000.steps_s", ">=", 100_000, "1/s", DURABLE),
    Target("durability.steps_s", ">=", 100_000, "1/s", DURABLE),
    Target("durable.noop.1000.times_faster", ">=", 100, "x", DURABLE_RIVAL),
    Target("durability.commits_per_step", "<=", 2, "fsyncs", LONELY),
    Target("postgres.steps_s", ">=", 15_000, "1/s", POSTGRES),
    Target("imports.with_numpy_ms", "<=", 80, "ms", IMPORT),
    Target("service.unary_ratio", ">=", 0.85, "x", UNARY),
    Target("service.many_per_s", ">=", 100_000, "/s", MANY),
    Target("service.lookup_p99_ms", "<=", 10, "ms", LOOKUP),
    Target("service.lost_updates", "<=", 0, "", LOOKUP),
    *(Target(f"rpc.{kind}_{of}", ">=", 0.95, "x", RPC) for kind in ("grpc", "http") for of in ("ratio", "steps_ratio")),
    Target("telemetry.stopped_ratio", ">=", 0.98, "x", TELEMETRY),
)


def key(record: dict[str, Any]) -> str:
    """`chain.noop`, `grow-1000.noop`, `small.noop.all` or `small.noop.100`: the case a row belongs to."""
    wanted = record["wanted"]
    if wanted["executions"]:
        load = "all" if wanted["in_flight"] >= wanted["executions"] else str(wanted["in_flight"])
        return f"{record['shape']}.{record['variant']}.{load}"
    size = f"-{wanted['nodes']}" if record["shape"] == "grow" else ""
    return f"{record['shape']}{size}.{record['variant']}"


def executions_s(record: dict[str, Any]) -> float:
    """Executions a second of a row, from its run time a step."""
    return 1e6 / (record["run_us"]["median"] * record["nodes"])


def metrics(rows: list[dict[str, Any]]) -> dict[str, float]:
    """All the quantities a target may name, from merged rows. What was not measured is absent."""
    found: dict[str, float] = {}
    cells = {}
    for row in rows:
        if row["kind"] == "figure":
            found.update({f"{row['figure']}.{name}": value for name, value in row["values"].items()})
        elif row["kind"] == "case":
            cells[key(row), row["peer"], row["mode"]] = row
    for (case, *who), row in cells.items():
        us, them = SIDES.get(row["shape"], (OURS, RIVAL))
        if tuple(who) != us:
            continue
        ours = row["run_us"]["median"]
        found[f"{case}.run_us"] = ours
        if row["executions"]:
            found[f"{case}.executions_s"] = executions_s(row)
            found[f"{case}.steps_s"] = 1e6 / ours
        rival = cells.get((case, *them))
        if rival:
            found[f"{case}.times_faster"] = rival["run_us"]["median"] / ours
    return found


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target beside what was measured; `value` is None, and the target missed, when nothing was."""

    target: Target
    value: float | None

    @property
    def reached(self) -> bool:
        return self.value is not None and self.target.reached(self.value)

    @property
    def word(self) -> str:
        if self.value is None:
            return "NOT MEASURED"
        return "reached" if self.reached else "MISSED"


def check(rows: list[dict[str, Any]], targets: tuple[Target, ...] = TARGETS) -> list[Verdict]:
    """Every target with its measured value."""
    found = metrics(rows)
    return [Verdict(target, found.get(target.metric)) for target in targets]

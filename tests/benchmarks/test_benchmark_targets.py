"""The check against the promises: what counts as reached, as missed, and as not measured."""

import json

import pytest

from benchmarks import __main__ as command
from benchmarks import figures, report, targets
from benchmarks.targets import TARGETS, Target


def row(shape, peer, mode, run_us, variant="noop", nodes=10, executions=0, in_flight=0):
    return {
        "schema": 1,
        "kind": "case",
        "python": "3",
        "versions": {},
        "peer": peer,
        "mode": mode,
        "shape": shape,
        "variant": variant,
        "nodes": nodes,
        "edges": nodes,
        "executions": executions,
        "in_flight": in_flight,
        "repetitions": 3,
        "run_us": {"median": run_us, "min": run_us},
        "build_us": {"median": 1.0, "min": 1.0},
        "latency_ms": {"p50": 1.0, "p99": 2.0} if executions else None,
        "bytes_step": 10.0,
        "verified": True,
        "checks": "order and inputs",
        "wanted": {"nodes": nodes, "executions": executions, "in_flight": in_flight},
    }


def pair(shape, ours, rival, **extra):
    return [row(shape, "flow_core", "first", ours, **extra), row(shape, "asyncio", "tasks", rival, **extra)]


def figure(name, **values):
    return {"schema": 1, "kind": "figure", "python": "3", "versions": {}, "figure": name, "values": values}


def good_rows():
    """Measurements that reach every target, just so."""
    rows = []
    for shape in ("chain", "fan", "random"):
        rows += pair(shape, 0.25, 3.0) + pair(shape, 1.0, 2.5, variant="suspend")
    for load in (100, 10_000):
        rows += pair("small", 0.3125, 2.5, nodes=8, executions=10_000, in_flight=load)
    rows += [
        row("durable", peer, mode, us, nodes=8, executions=10_000, in_flight=1_000)
        for peer, mode, us in (("flow_core_sqlite", "first", 10), ("dbos", "sqlite", 1_000))
    ]
    return [
        *rows,
        figure("durability", steps_s=100_000, commits_per_step=2),
        figure("postgres", steps_s=15_000),
        figure("lag", random_ms=5, fan_ms=5),
        figure("plan", total_us=0.6),
        figure("million", total_s=2),
        figure("memory", peak_bytes=250),
        figure("growth", ratio=4),
        figure("register", forward_s=1, backward_s=1),
        figure("imports", with_numpy_ms=80),
        figure("service", unary_ratio=0.85, many_per_s=100_000, lookup_p99_ms=10, lost_updates=0),
        figure("rpc", grpc_ratio=0.95, http_ratio=0.95, grpc_steps_ratio=0.95, http_steps_ratio=0.95),
        figure("telemetry", stopped_ratio=0.98),
    ]


def words(rows):
    return {verdict.target.metric: verdict.word for verdict in targets.check(rows)}


def test_limits_themselves_are_reached():
    assert set(words(good_rows()).values()) == {"reached"}


def test_a_ratio_is_missed_when_the_rival_is_too_close():
    rows = [r for r in good_rows() if r.get("shape") != "chain"] + pair("chain", 0.25, 2.9)
    found = words(rows)
    assert found["chain.noop.times_faster"] == "MISSED"
    assert found["chain.noop.run_us"] == found["fan.noop.times_faster"] == "reached"


def test_executions_a_second_come_from_the_time_of_all_steps():
    found = targets.metrics(pair("small", 0.5, 5.0, nodes=8, executions=10_000, in_flight=100))
    assert found["small.noop.100.executions_s"] == pytest.approx(250_000)
    assert found["small.noop.100.times_faster"] == pytest.approx(10)
    assert "small.noop.all.executions_s" not in found


def test_what_was_not_measured_is_not_reached():
    verdicts = targets.check([])
    assert {verdict.word for verdict in verdicts} == {"NOT MEASURED"}
    assert not any(verdict.reached for verdict in verdicts)


def test_the_mapping_mode_and_other_rivals_do_not_count():
    rows = [row("chain", "flow_core", "mapping", 0.1), row("chain", "asyncio", "inline", 9.0)]
    assert targets.metrics(rows) == {}


def test_unknown_direction_is_refused():
    with pytest.raises(ValueError, match="neither"):
        Target("x", "<", 1, "s", "").reached(0)


def test_every_figure_target_names_a_value_that_the_figure_has():
    for target in TARGETS:
        name, value = target.metric.split(".", 1)
        if name in figures.NAMES:
            assert figures.unit_of(name, value) == target.unit


def test_every_target_can_be_measured():
    assert len({target.metric for target in TARGETS}) == len(TARGETS)
    assert {target.metric for target in TARGETS} <= targets.metrics(good_rows()).keys()


def check_file(tmp_path, rows):
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"rows": rows}))
    return command.main(["--read", str(path), "--check", "--table", "markdown"])


def test_command_exits_zero_when_all_is_reached(tmp_path, capsys):
    assert check_file(tmp_path, good_rows()) == 0
    assert f"{len(TARGETS)} of {len(TARGETS)} targets reached" in capsys.readouterr().out


def test_a_quick_result_is_marked(tmp_path, capsys):
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"rows": good_rows(), "quick": True}))
    command.main(["--read", str(path), "--check", "--table", "markdown"])
    assert "settles nothing" in capsys.readouterr().out


def test_command_exits_one_and_names_what_was_missed(tmp_path, capsys):
    rows = [r for r in good_rows() if r.get("figure") != "million"] + [figure("million", total_s=2.5)]
    assert check_file(tmp_path, rows) == 1
    line = next(
        line for line in capsys.readouterr().out.splitlines() if line.startswith("| million.total_s") and "MI" in line
    )
    assert "MISSED" in line and "2.5" in line and "plans and runs in <= 2 s" in line


def test_table_shows_ratio_missing_peers_and_failures():
    wanted = {"nodes": 10, "executions": 0, "in_flight": 0}
    place = {"shape": "chain", "variant": "noop", "wanted": wanted, "kind": "failure"}
    rows = [
        *pair("chain", 0.5, 6.0),
        {**place, "peer": "dask", "mode": "sync", "error": "No module", "missing": True, "install": "do this"},
        {**place, "peer": "dbos", "mode": "sqlite", "error": "it broke"},
    ]
    (table,) = report.case_tables(rows)
    text = report.markdown(table)
    assert "chain, 10 steps, noop" in text
    assert "| 12x " in text and "| 1x " in text
    assert "MISSING: do this" in text and "FAILED: it broke" in text


def test_unverified_rows_say_so():
    (table,) = report.case_tables([{**row("chain", "flow_core", "first", 1.0), "verified": False}])
    assert table[2][0][-1] == "NO"

"""Which processes are started, what their lines must look like, and how rounds become one row."""

import asyncio
import sys
from types import SimpleNamespace

import pytest

from benchmarks import __main__ as command
from benchmarks import environments, measure, peers, records, runner, shapes, worker
from benchmarks.peers import Peer
from benchmarks.workload import Case, OrderError, Workload, plain_steps

SLOW = Peer(
    "slow", "Slow", ("slow[all]", "uvloop"), {"plain": "sync"}, ("noop",), {"small": 30, "chain": 200, "grow": 1_000}
)


@pytest.mark.parametrize("name", peers.NAMES)
def test_every_peer_describes_itself_without_being_imported(name):
    peer = peers.describe(name)
    assert peer.label and peer.modes and set(peer.modes.values()) <= {"sync", "async"}
    assert set(peer.variants) <= {"noop", "suspend"} and set(peer.limits) <= set(shapes.NAMES)
    assert f"benchmarks.peers.{name}" not in sys.modules


def test_peer_that_forgot_its_label_is_named(tmp_path):
    (tmp_path / "new.py").write_text("requires = ()\nmodes = {}\nvariants = ()\n")
    with pytest.raises(ValueError, match=r"new\.py does not say its label"):
        peers.describe("new", tmp_path)
    with pytest.raises(ValueError, match="unknown peer 'other'"):
        peers.describe("other", tmp_path)


def test_pip_command_quotes_extras():
    assert SLOW.pip == "pip install 'slow[all]' uvloop"


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (Case("chain", "noop", 1_000), Case("chain", "noop", 200)),
        (Case("small", "noop", 8, 10_000, 100), Case("small", "noop", 8, 30, 30)),
        (Case("grow", "noop", 1_000), Case("grow", "noop", 1_000)),
        (Case("grow", "noop", 10_000), None),
        (Case("fan", "noop", 10_002), Case("fan", "noop", 10_002)),
        (Case("chain", "suspend", 1_000), None),
    ],
)
def test_cases_are_cut_to_what_a_slow_peer_can_bear(case, expected):
    assert runner.cut(case, SLOW) == expected


def test_selection():
    jobs = runner.select("chain,asyncio", "noop", quick=True)
    assert [(job.case.shape, job.peer.name, job.mode) for job in jobs] == [
        ("chain", "asyncio", "tasks"),
        ("chain", "asyncio", "inline"),
    ]
    assert [job.figure for job in runner.select("lag,plan", "", quick=True)] == ["plan", "lag"]
    everything = runner.select("", "", quick=True)
    assert {job.peer.name for job in everything if job.peer} == set(peers.NAMES)
    assert any(job.figure for job in everything)


def test_unknown_selection_ends_with_code_two(capsys):
    assert command.main(["--only", "chain,nothing"]) == 2
    assert "unknown name 'nothing'" in capsys.readouterr().err


def case_record(run_us, verified=None):
    return {
        **worker.header("case", ()),
        "peer": "slow",
        "mode": "plain",
        "shape": "chain",
        "variant": "noop",
        "nodes": 200,
        "edges": 199,
        "executions": 0,
        "in_flight": 0,
        "repetitions": 3,
        "run_us": {"median": run_us, "min": run_us / 2},
        "build_us": {"median": 1.0, "min": 0.5},
        "latency_ms": None,
        "bytes_step": None,
        "verified": verified,
        "checks": "order",
    }


JOB = runner.Job(Case("chain", "noop", 200), Case("chain", "noop", 1_000), SLOW, "plain")


def test_sound_records_have_no_problems():
    assert records.problems(case_record(1.0)) == []
    assert records.problems(runner.failure("it broke")) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"kind": "other"}, "kind is 'other'"),
        ({"nodes": "200"}, "nodes is '200'"),
        ({"run_us": {"median": None, "min": 1}}, "run_us.median is not a number"),
        ({"schema": 99}, "schema is 99"),
    ],
)
def test_unsound_records_are_told(change, problem):
    assert any(found.startswith(problem) for found in records.problems({**case_record(1.0), **change}))


def test_missing_fields_are_told():
    record = case_record(1.0)
    del record["edges"]
    assert records.problems(record) == ["edges is missing"]
    assert records.problems([]) == ["a record is an object, not list"]


def test_rounds_merge_to_medians():
    merged = runner.merge(JOB, [case_record(3.0, True), case_record(1.0), case_record(2.0)])
    assert merged["run_us"] == {"median": 2.0, "min": 0.5}
    assert merged["spread"] == [1.0, 3.0]
    assert merged["verified"] is True and merged["rounds"] == 3
    assert merged["wanted"]["nodes"] == 1_000 and merged["nodes"] == 200
    assert records.problems(merged) == []


def test_missing_peer_keeps_its_row_with_the_command():
    gone = {**runner.failure("No module named 'slow'"), "missing": True}
    merged = runner.merge(JOB, [gone])
    assert merged["peer"] == "slow"
    assert "--install slow" in merged["install"] and "pip install 'slow[all]'" in merged["install"]


def test_a_failure_in_a_later_round_is_not_hidden():
    assert runner.merge(JOB, [case_record(1.0, True), runner.failure("it broke")])["error"] == "it broke"


def test_failed_jobs_and_missing_peers_are_tried_once(monkeypatch, tmp_path):
    started = []

    def start(job, folder, timeout, *, quick, prove):
        started.append((job.mode, prove))
        if job.mode == "gone":
            return {**runner.failure("No module"), "missing": True}
        return runner.failure("it broke") if job.mode == "broken" else case_record(1.0)

    monkeypatch.setattr(runner, "start", start)
    absent = Peer("absent", "", (), {}, ("noop",))
    jobs = [
        JOB,
        runner.Job(JOB.case, JOB.case, SLOW, "broken"),
        runner.Job(JOB.case, JOB.case, absent, "gone"),
        runner.Job(JOB.case, JOB.case, absent, "also"),
    ]
    found = runner.rounds(jobs, 2, tmp_path, 1.0, quick=True, tell=lambda text: None)
    assert started == [("plain", True), ("broken", True), ("gone", True), ("plain", False)]
    assert [len(lines) for _, lines in found] == [2, 1, 1, 1]


def test_own_environment_is_used_when_it_exists(tmp_path):
    assert str(environments.python_of(SLOW, tmp_path)) == sys.executable
    own = tmp_path / "slow" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.touch()
    assert environments.python_of(SLOW, tmp_path) == own


def test_a_process_gives_one_sound_line(tmp_path):
    """The whole way once: a fresh process, the standard library's peer, one record."""
    case = Case("chain", "noop", 50)
    job = runner.Job(case, case, peers.describe("graphlib"), "walk")
    record = runner.start(job, tmp_path, 60.0, quick=True, prove=True)
    assert records.problems(record) == [] and record["kind"] == "case", record
    assert record["verified"] is True and record["nodes"] == 50 and record["run_us"]["median"] > 0


OPTIONS = SimpleNamespace(prove=True, seconds=0.0, least=1)


def measured(run, executions=0):
    dag = shapes.load("small").dag()
    case = Case("small", "noop", 8, executions, executions)
    closed = []
    peer = SimpleNamespace(build=lambda workload: workload, run=run, close=closed.append)
    values = asyncio.run(measure.measure(peer, Workload(case, "m", dag, ()), "sync", "order and inputs", OPTIONS))
    assert len(closed) == 3  # the proof, the warm-up and one repetition
    return values


def in_order(workload):
    outputs = []
    for node, before in enumerate(workload.dag.predecessors):
        outputs.append(workload.steps[node](outputs[before[0]] if before else workload.request))
    return outputs[-1]


def test_measuring_proves_and_repeats():
    values = measured(in_order)
    assert values["verified"] is True and values["repetitions"] == 1 and values["latency_ms"] is None


def test_latencies_of_many_executions():
    values = measured(lambda w: [0.001, 0.003] if w.case.executions else in_order(w), executions=2)
    assert values["latency_ms"] == {"p50": pytest.approx(3.0), "p99": pytest.approx(3.0)}


def test_a_peer_that_forgets_executions_or_order_is_refused():
    with pytest.raises(OrderError, match="1 of 2 executions"):
        measured(lambda w: [0.001] if w.case.executions else in_order(w), executions=2)
    with pytest.raises(OrderError, match="never finished"):
        measured(lambda w: None)


@pytest.mark.parametrize("name", ["asyncio", "graphlib"])
def test_peers_of_the_standard_library_execute_every_shape(name):
    peer, about = peers.load(name), peers.describe(name)
    for case in (Case("random", "noop", 100), Case("small", "suspend", 8, 20, 5), Case("small", "noop", 8, 5, 5)):
        for mode, style in about.modes.items():
            if style == "sync" and case.variant == "suspend":
                continue
            workload = Workload(case, mode, shapes.dag_of(case), plain_steps(shapes.dag_of(case), case.variant, style))
            values = peer.start(measure.measure(peer, workload, style, about.checks, OPTIONS))
            assert values["verified"] is True

"""``run FILE``: the figures, the limit, the output, interruption."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import flow_core
from flow_core.cli.main import main
from flow_core.demo.run_file import Figures, execute
from flow_core.demo.screen import PlainBar
from flow_core.demo.wfformat import read_workflow
from tests.aio import run_virtual

SAMPLE = Path(__file__).with_name("data") / "sample.json"
REAL = Path(__file__).resolve().parents[3] / "shared/data/wfinstances/bwa-chameleon-small-003.json"


def figures_of(file: Path, **options: Any) -> Figures:
    return run_virtual(execute(read_workflow(file), **options))


def test_with_a_virtual_clock_the_makespan_is_the_critical_path():
    figures = figures_of(SAMPLE, speedup=2)
    assert (figures.tasks, figures.edges, figures.one_sided) == (5, 4, 1)
    assert figures.critical_path == pytest.approx(2.75)
    assert figures.makespan == pytest.approx(2.75)
    assert figures.ratio == pytest.approx(1)
    assert figures.steps_per_second == pytest.approx(5 / 2.75)
    assert figures.peak_parallelism == 2
    assert figures.critical_steps == ["fetch_one", "merge", "report"]


def test_a_limit_makes_it_longer():
    figures = figures_of(SAMPLE, speedup=1, concurrency=1)
    assert figures.peak_parallelism == 1
    assert figures.makespan == pytest.approx(6.5)  # the sum


@pytest.mark.skipif(not REAL.exists(), reason="the collection is not beside the checkout")
def test_a_real_workflow_takes_as_long_as_its_critical_path():
    figures = figures_of(REAL, speedup=100)
    assert (figures.tasks, figures.edges) == (104, 400)
    assert figures.ratio == pytest.approx(1)
    assert figures.peak_parallelism == 100


def test_the_bar_goes_from_nothing_to_all():
    told = io.StringIO()
    figures_of(SAMPLE, speedup=1, bar=PlainBar("sample", 5, told))
    lines = told.getvalue().splitlines()
    assert lines[0] == "sample:   0 % (0 of 5 steps, 2 running)"
    assert lines[-1] == "sample: 100 % (5 of 5 steps, 0 running)"
    assert len(lines) == len(set(lines))


def test_the_command_prints_the_figures(capsys: pytest.CaptureFixture[str]):
    assert main(["run", str(SAMPLE), "--speedup", "1e6", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for name in ("makespan", "critical path", "ratio", "steps/s", "peak parallelism"):
        assert f"\n{name} " in out
    assert "5 tasks, 4 edges" in out
    assert "1 edges are declared by one of their two tasks only" in out
    assert "critical path: fetch_one -> merge -> report" in out


def test_json_goes_to_stdout_and_progress_to_stderr(capsys: pytest.CaptureFixture[str]):
    assert main(["run", str(SAMPLE), "--speedup", "1e6", "--json"]) == 0
    out, err = capsys.readouterr()
    figures = json.loads(out)
    assert figures["critical_steps"] == ["fetch_one", "merge", "report"]
    assert figures["critical_path"] == pytest.approx(5.5e-6)
    assert "100 %" in err


def test_a_bad_file_is_one_message_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "x.json"
    file.write_text('{"schemaVersion": "1.3"}')
    assert main(["run", str(file)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"flow_core: {file}: schemaVersion: is '1.3'\n  fix: convert the file to WfFormat 1.5\n"


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["run"], ["run", "x", "--speedup", "0"], ["run", "x", "--speedup", "fast"],
     ["run", "x", "--speedup", "nan"], ["run", "x", "--concurrency", "0"], ["demo", "--speed", "-1"]],
)  # fmt: skip
def test_bad_arguments_end_with_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_ends_it_cleanly():
    command = [sys.executable, "-m", "flow_core", "run", str(SAMPLE), "--speedup", "0.001"]
    environment = os.environ | {"PYTHONPATH": str(Path(flow_core.__file__).parents[1])}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's `&` has it ignored, for all below
    ) as child:  # fmt: skip
        assert child.stderr is not None
        assert "0 %" in child.stderr.readline()  # it runs, and would for an hour
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert err == "interrupted\n"
    assert out == ""

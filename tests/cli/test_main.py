"""The entry: with and without the libraries of the extra; exit codes; what a terminal is shown."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flow_core import errors
from flow_core.cli import main as module
from flow_core.cli.basic import COMMANDS
from flow_core.cli.codes import CONFLICT, FAILED, INTERRUPTED, OK, UNREACHABLE, USAGE, code_of
from flow_core.cli.main import OTHERS, main
from flow_core.cli.output import clean, complain, emit, show_table
from flow_core.model.status import Status
from tests.cli.kit import clean_environment, command

DOCS = Path(__file__).resolve().parents[2] / "docs"
PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"

# --- with and without the extra ---------------------------------------------------------------------------------------


@pytest.fixture
def no_extra(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None if name in ("cyclopts", "rich") else object())


@pytest.mark.usefixtures("no_extra")
def test_without_the_extra_the_basic_commands_work_and_the_others_say_what_is_missing(capfd, tmp_path):
    assert command(capfd, "doctor", f"sqlite:///{tmp_path / 'flow.db'}").code == 0
    for name in OTHERS:
        answer = command(capfd, name)
        assert answer.code == 2 and f"{name} needs more libraries: pip install 'flow-core[cli,grpc]'" in answer.err
    assert "usage:" in command(capfd, "fly").err
    assert "pip install" in command(capfd, "--help").out


def test_a_process_without_the_libraries():
    block = "import sys; sys.modules['cyclopts'] = sys.modules['rich'] = sys.modules['grpc'] = None;"
    script = block + "import importlib.util as u; u.find_spec = lambda name: None;"
    script += "from flow_core.cli.main import main; sys.exit(main(sys.argv[1:]))"
    for arguments, code in ((["demo", "--speed", "20"], 0), (["ls"], 2), (["--version"], 0)):
        ran = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, env=clean_environment())
        assert ran.returncode == code, ran.stderr


def test_every_command_is_known_to_both_halves():
    pytest.importorskip("cyclopts")
    from flow_core.cli.app import build_app

    names = {name for name in build_app() if not name.startswith("-")}
    assert names == {*COMMANDS, *OTHERS}


def test_help_lists_everything(capfd):
    pytest.importorskip("cyclopts")
    answer = command(capfd, "--help")
    assert answer.code == 0 and all(re.search(rf"\b{name}\b", answer.out) for name in (*COMMANDS, *OTHERS))
    assert "Exit codes:" in answer.out
    assert command(capfd, "--version").out.strip().endswith(__import__("flow_core").__version__)
    assert command(capfd).code == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(capfd, shell):
    pytest.importorskip("cyclopts")
    answer = command(capfd, "completion", shell)
    assert answer.code == 0 and "flow-core" in answer.out and "mermaid" in answer.out


@pytest.mark.skipif(not PROJECT.exists(), reason="about the checkout, not about the wheel")
def test_the_entry_point_is_this_main():
    assert '[project.scripts]\nflow-core = "flow_core.cli.main:main"' in PROJECT.read_text(encoding="utf-8")


# --- exit codes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Unauthenticated("x"), UNREACHABLE), (errors.PermissionDenied("x"), UNREACHABLE),
        (errors.QuotaExceeded("x"), UNREACHABLE), (errors.Unavailable("x"), UNREACHABLE),
        (errors.StoreUnavailable("x"), UNREACHABLE), (errors.NoReply("x"), UNREACHABLE),
        (errors.UnknownFlow("x"), CONFLICT), (errors.UnknownExecution("x"), CONFLICT),
        (errors.RevisionConflict("x", expected=1, actual=2), CONFLICT), (errors.CycleError("aba"), CONFLICT),
        (errors.IllegalMove("x"), CONFLICT), (errors.ExecutionConflict("x"), CONFLICT),
        (errors.UnresolvedSteps("x", missing={}), CONFLICT),
        (errors.InvalidOption("x"), USAGE), (errors.DecodeError("x"), USAGE), (errors.PayloadError("x"), USAGE),
        (ImportError("x"), USAGE),
        (errors.StepFailed("x"), FAILED), (errors.StoreCorrupt("x"), FAILED), (errors.InternalError("x"), FAILED),
    ],
)  # fmt: skip
def test_an_error_has_its_code(error, code):
    assert code_of(error) == code


@pytest.mark.skipif(not DOCS.is_dir(), reason="about the checkout, not about the wheel")
def test_the_page_has_the_table():
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    codes = [OK, FAILED, USAGE, CONFLICT, UNREACHABLE, INTERRUPTED]
    assert re.findall(r"^\| (\d+) \|", page, re.MULTILINE) == [str(code) for code in codes]


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_what_a_terminal_would_obey_is_shown_instead():
    assert clean("\x1b[2J\x9b31m\u202egnp.exe\x07 Ünïcode\ttab\nline") == (
        "\\x1b[2J\\x9b31m\\u202egnp.exe\\x07 Ünïcode\ttab\nline"
    )


def test_an_error_is_shown_clean_and_as_json(capfd):
    error = errors.UnknownStep("no step '\x1b[2J'", fix="look", step="s")
    complain(error)
    assert capfd.readouterr().err == "flow_core: no step '\\x1b[2J'\n  fix: look\n"
    complain(error, as_json=True)
    told = {"code": "unknown_step", "message": "no step '\x1b[2J'", "fix": "look", "step": "s"}
    assert json.loads(capfd.readouterr().err) == {"error": told}


def test_a_table_is_columns_where_no_terminal_is(capfd):
    show_table(("name", "n"), [["a\x1b", 1], [None, 22]], "nothing")
    assert capfd.readouterr().out == "name   n\na\\x1b  1\n-      22\n"
    show_table(("name",), [], "nothing")
    assert capfd.readouterr().out == "nothing\n"


def test_a_table_on_a_terminal_takes_no_markup_from_strangers(monkeypatch):
    pytest.importorskip("rich")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    show_table(("name", "status"), [["[bold red]x[/]", Status.SUCCESS.name]], "nothing")
    assert "[bold red]x[/]" in re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())


def test_bytes_in_json_are_text_or_base64(capfd):
    emit(True, {"a": "ü".encode(), "b": b"\xff"}, lambda: None)
    assert json.loads(capfd.readouterr().out) == {"a": "ü", "b": {"base64": "/w=="}}
    with pytest.raises(TypeError):
        emit(True, object(), lambda: None)


def test_an_error_of_ours_is_no_traceback_and_interruption_is_130(monkeypatch, capfd):
    def interrupted(_: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_run", interrupted)
    assert main([]) == 130
    assert capfd.readouterr().err == "interrupted\n"

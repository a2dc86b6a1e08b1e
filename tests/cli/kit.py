"""What the tests of the command line share: running a command in this process, and a server in another one.

Lives here: `Answer`, `command`, `Server`. Does not live here: fakes; the server is ``flow-core serve`` itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import flow_core
from flow_core.cli.main import main

ROOT = Path(flow_core.__file__).resolve().parents[1]


class Answer(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def command(capfd: pytest.CaptureFixture[str], *arguments: str) -> Answer:
    """Run a command in this process."""
    capfd.readouterr()
    try:
        code = main(arguments)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    out, err = capfd.readouterr()
    return Answer(code, out, err)


def clean_environment() -> dict[str, str]:
    """The environment without settings of ours, and with this package on the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLOW_CORE_")}
    return kept | {"PYTHONPATH": str(ROOT)}


class Server:
    """``flow-core serve`` in a process of its own; ``url`` once it listens."""

    def __init__(self, folder: Path, arguments: Sequence[str] = (), **environment: str) -> None:
        self.log = folder / "serve.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flow_core", "serve", "--listen", "127.0.0.1:0", "--json", *arguments],
                stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder, env=clean_environment() | environment,
            )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        self.facts = json.loads(line)
        self.url = str(self.facts["url"])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.communicate(timeout=60)
        return int(self.process.returncode)

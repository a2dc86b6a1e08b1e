"""A server program run by tests: on a free loopback port, in a temporary folder, waited for by condition.

Lives here: `ServerProcess` and what every server needs. Does not live here: command lines (`nats.py`, `redis.py` ...).
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

#: Seconds a server may take to start or to end; far above what any needs.
PATIENCE = 60.0
TICK = 0.02


def need(program: str, package: str) -> str:
    """The path of a server program; without it the test is skipped, or fails where servers are required."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin:/usr/lib/rabbitmq/bin")
    if path is None:
        reason = f"needs {program}: apt-get install {package}"
        if os.environ.get("FLOW_TEST_SERVERS") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Return once ``condition()`` is true; fails after `PATIENCE` seconds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"{what}: not within {PATIENCE:g} s")
        time.sleep(TICK)


def listens(port: int) -> bool:
    """Whether somebody takes connections on 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Guard:
    """Kills the process group ``group`` when the test process is gone, however it ended (a watchdog ends it hard).

    A shell that waits for the end of its input, which nobody but the test process holds open.
    """

    def __init__(self, group: int) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", f"read _; kill -s KILL -- -{group}"],
            stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def release(self) -> None:
        """The group has ended."""
        self._shell.kill()
        self._shell.communicate()


class ServerProcess:
    """One server. `start` it, `kill` it (SIGKILL), `start` it again on the same port and with the same files.

    Args:
        name: for messages.
        command: program and arguments.
        port: what it listens on, on 127.0.0.1.
        folder: its working folder; the log goes there.
        ready: says whether it serves; default: the port takes connections.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        port: int,
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        ready: Callable[[], object] | None = None,
    ) -> None:
        self.name = name
        self.port = port
        self.folder = folder
        self._command = list(command)
        self._environment = {**os.environ, **(environment or {})}
        self._ready = ready or (lambda: listens(port))
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def start(self) -> None:
        """Start it and return once it serves. Fails with the end of its log when it ends instead."""
        with self.log.open("ab") as log:
            process = self._process = subprocess.Popen(
                self._command, cwd=self.folder, env=self._environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip

        self._guard = Guard(process.pid)

        def serves() -> object:
            if process.poll() is not None:
                pytest.fail(
                    f"{self.name} ended with {process.returncode}: {self.log.read_text(errors='replace')[-2000:]}"
                )
            return self._ready()

        wait_for(serves, f"start of {self.name}")

    def kill(self) -> None:
        """SIGKILL to the server and whatever it started: no goodbye, nothing written down."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end (SIGTERM) and wait until it has."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nobody answers, until `resume`. Returns once every thread has stopped."""
        self._signal(signal.SIGSTOP)
        wait_for(lambda: all(state in "TZX" for state in self._states()), f"pause of {self.name}")

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _states(self) -> list[str]:
        """State letters of all threads of the server and of what it started, where the system tells (Linux)."""
        states = []
        for path in Path("/proc").glob("[0-9]*/task/[0-9]*/stat"):
            try:
                fields = path.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            except OSError:
                continue  # ended meanwhile
            if self._process is not None and int(fields[2]) == self._process.pid:
                states.append(fields[0])
        return states

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            os.killpg(process.pid, how)
            process.wait(PATIENCE)
        except ProcessLookupError:
            pass
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
        if self._guard is not None:
            self._guard.release()
        wait_for(lambda: not listens(self.port), f"end of {self.name}")  # what it started may end a moment later

    def _signal(self, which: signal.Signals) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, which)

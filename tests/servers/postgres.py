"""A PostgreSQL server of one's own: started in a temporary folder, on a unix socket and on loopback, then removed.

Lives here: `Server`, which the benchmarks use too, and the fixture `postgres`. Does not live here: tests.

Everybody may log in over the socket, which lies in a folder of the server's user; over loopback only who knows the
password of the role ``locked``.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NEEDED = "needs PostgreSQL: apt-get install postgresql"
PASSWORD = "s3cr3t/w@rd"
#: What a URL holds in place of `PASSWORD`.
QUOTED = "s3cr3t%2Fw%40rd"


def programs() -> Path | None:
    """Where initdb and postgres are: Debian keeps the newest version's off the PATH."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3].split(".")[0]))
    return found[-1].parent if found else None


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Server:
    """One server. ``fsync=False`` is right for tests: a killed process loses nothing that it gave to the kernel."""

    def __init__(self, *, fsync: bool = False) -> None:
        found = programs()
        if found is None:
            raise FileNotFoundError(NEEDED)
        self._programs = found
        # PostgreSQL refuses to run as root. The paths of sockets are short by law, so no folder of pytest's.
        self._user = "postgres" if os.getuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="flow-pg-"))
        if self._user:
            shutil.chown(self.folder, self._user)
        self.port = free_port()
        self._run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        rules = ["local all all trust", "host all locked 127.0.0.1/32 scram-sha-256", "host all all all reject"]
        (self.folder / "data" / "pg_hba.conf").write_text("\n".join(rules) + "\n", encoding="utf-8")
        self._options = ["-k", str(self.folder), "-p", str(self.port)]
        settings = ["listen_addresses=127.0.0.1", "max_connections=60"]
        if not fsync:
            settings += ["fsync=off", "full_page_writes=off"]
        for setting in settings:
            self._options += ["-c", setting]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        self.query(f"CREATE ROLE locked LOGIN PASSWORD '{PASSWORD}'")

    @property
    def data(self) -> str:
        return str(self.folder / "data")

    @property
    def url(self) -> str:
        """The superuser over the socket."""
        return f"postgresql://postgres@/postgres?host={self.folder}&port={self.port}"

    def locked_url(self, password: str = QUOTED, database: str = "postgres") -> str:
        """A role without rights, over loopback, with a password."""
        return f"postgresql://locked:{password}@127.0.0.1:{self.port}/{database}"

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            **self._way(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"
        return done.stdout

    def _way(self) -> dict[str, Any]:
        """As whom, where, and without anybody's settings: PGHOST and its like would lead elsewhere."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return {"user": self._user, "cwd": "/", "env": clean}

    def start(self) -> None:
        """Start, or start again; returns when it answers. A child of ours, so that a killed one is gone for good."""
        assert not self.alive()
        log = self.folder / "log"
        while not self.alive():
            with log.open("wb") as file:
                self._process = subprocess.Popen(
                    [str(self._programs / "postgres"), "-D", self.data, *self._options],
                    **self._way(),
                    stdout=file,
                    stderr=file,
                    start_new_session=True,
                )
            while self.alive() and not self.answers():
                pass  # each question takes a process, so this is no busy loop
            said = log.read_text(encoding="utf-8")
            # Born just when the server was killed, and about to notice: then once more.
            assert self.alive() or "pre-existing shared memory" in said, f"no server: {said[-2000:]}"

    def answers(self) -> bool:
        try:
            return self.query("SELECT 1") == "1"
        except AssertionError:
            return False

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def query(self, text: str) -> str:
        """One statement of the superuser, by psql."""
        where = ["-h", str(self.folder), "-p", str(self.port), "-U", "postgres", "-d", "postgres"]
        return self._run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *where, "-c", text).strip()

    def signal(self, number: int) -> None:
        """Send a signal to all of its processes, the first one first: it would replace the others."""
        assert self._process is not None
        head = self._process.pid
        children = Path(f"/proc/{head}/task/{head}/children").read_text(encoding="utf-8").split()
        for pid in (head, *map(int, children)):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass  # it ended by itself in between

    def kill(self) -> None:
        """SIGKILL to all of its processes, as if the power had gone."""
        assert self._process is not None
        self.signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End it and remove everything."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # at once, its children too
            self._process.wait()
        shutil.rmtree(self.folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A running server. Without PostgreSQL: skipped, or failed with FLOW_TEST_SERVERS=required."""
    if programs() is None:
        if os.environ.get("FLOW_TEST_SERVERS") == "required":
            pytest.fail(NEEDED)
        pytest.skip(NEEDED)
    server = Server()
    yield server
    server.stop()

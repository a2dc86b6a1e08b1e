"""`Life`: a worker process as the suites see it: commands in, lines out, and its end.

Lives here: that. Does not live here: what the process does (``worker.py``).
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("worker.py")


#: Seconds that a worker may be silent. Far above what any needs: it ends a hang, it times nothing.
PATIENCE = 60.0


class Died(AssertionError):
    """A worker ended, or hangs, where it should not."""


class Life:
    """One worker.

    Args:
        place: where it keeps executions.
        name: of this life, in the ledger.
        before: what to start it with: strace and its arguments.
        job: further fields of the first command.
    """

    def __init__(self, place, name, before=(), **job):
        self.place = place
        self.name = name
        #: Lines that it has printed since the last job began.
        self.lines = []
        self.job = job
        self._heard = b""
        self._errors = place.folder / f"{name}.err"
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*before, sys.executable, "-W", "error", str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    # --- saying -------------------------------------------------------------------------------------------------------

    def begin(self, place=None, name=None):
        """The first command: where to work. Others, later, are for a worker that is done with the one before."""
        self.place, self.name = place or self.place, name or self.name
        self.lines = []
        ledger = str(self.place.folder / "ledger")
        self.say(store=self.place.store, ledger=ledger, life=self.name, **self.job)

    def do(self, command, **fields):
        self.say(do=command, **fields)

    def say(self, **command):
        try:
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it was killed meanwhile; who reads its lines will see that

    # --- hearing ------------------------------------------------------------------------------------------------------

    def line(self):
        """The next line; None when it has ended. Raises `Died` when it says nothing any more."""
        out = self.process.stdout.fileno()
        while b"\n" not in self._heard:
            if not select.select([out], [], [], PATIENCE)[0]:
                raise Died(f"{self.name} has said nothing for {PATIENCE:g} s, {self.errors()}")
            data = os.read(out, 65536)
            if not data:
                return None
            self._heard += data
        line, _, self._heard = self._heard.partition(b"\n")
        self.lines.append(line.decode())
        return self.lines[-1]

    def until(self, *words):
        """Read to the next line that begins with one of ``words``, and give the rest of that line."""
        while (line := self.line()) is not None:
            for word in words:
                if f"{line} ".startswith(f"{word} "):
                    return line[len(word) + 1 :]
        raise Died(f"{self.name} ended before it said {words}: {self.process.wait()}, {self.errors()}")

    def errors(self):
        """What it wrote to stderr, and the end of what it said."""
        return f"{self._errors.read_text(errors='replace')[-4000:]} after {self.lines[-5:]}"

    # --- its end ------------------------------------------------------------------------------------------------------

    def kill(self):
        """SIGKILL; ``lines`` has everything that it had said when it died."""
        self.process.send_signal(signal.SIGKILL)
        self.read_out()

    def read_out(self):
        """Read to its end; its exit code."""
        while self.line() is not None:
            pass
        return self.process.wait()

    def end(self):
        """Let nothing of it remain, also when a suite failed."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    # --- its states ---------------------------------------------------------------------------------------------------

    def wait_stopped(self):
        """Wait until it has been stopped by SIGSTOP."""
        found = os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if found.si_code != os.CLD_STOPPED:
            raise Died(f"{self.name} ended instead of being stopped: {self.errors()}")

    def wake(self):
        self.process.send_signal(signal.SIGCONT)


def no_strace():
    """Why strace can't be used here; None when it can."""
    program = shutil.which("strace")
    if program is None:
        return "NOT RUN: no strace here; apt-get install strace"
    tried = subprocess.run([program, "-o", os.devnull, "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else f"NOT RUN: strace can't trace here: {tried.stderr.decode()[:200]}"

"""A disk that fails under a running executor, and heals: full, broken, read-only.

strace attaches to the running process and has the calls on the database's files fail; when it detaches, the disk is
well again. So the fault lasts exactly until the suite has seen what it wants to see.

Lives here: the faults and what an executor has to do about them. Does not live here: the store's own part
(``tests/stores/test_sqlite.py``).
"""

import asyncio
import json
import signal
import subprocess

from tests.crash.judge import Judge, Tally, look
from tests.crash.ledger import Ledger
from tests.crash.lives import Died, Life
from tests.crash.places import SqliteFile

#: Name -> (calls that fail, error, what the executor calls it).
FAULTS = {
    "disk full": ("pwrite64,ftruncate", "ENOSPC", "store_full"),
    "I/O error": ("fdatasync,fsync", "EIO", "store_unavailable"),
    "read-only": ("pwrite64,ftruncate,openat,unlink", "EROFS", "store_unavailable"),
}
#: Heartbeats in trouble that a suite waits for: with each of them a sound executor would look for executions to claim.
BEATS = 3
STARTS = [[f"{flow}-{n}", flow] for n in range(3) for flow in ("fan", "saga", "nested", "retried", "careful", "paused")]
#: One that is under way all the time.
WAITS = "waits"
#: Executions of the process before, which was killed: this one has them from the start.
LEFT = [[f"left-{n}", "line"] for n in range(5)]


class Fault:
    """The calls of a process on the files of a place fail while this context lasts."""

    def __init__(self, life, calls, error):
        paths = [word for path in life.place.files for word in ("-P", path)]
        what = ["-e", f"trace={calls}", "-e", f"inject={calls}:error={error}"]
        self._command = ["strace", "-f", "-p", str(life.process.pid), "-o", "/dev/null", *what, *paths]

    def __enter__(self):
        self._strace = subprocess.Popen(self._command, stderr=subprocess.PIPE)
        told = self._strace.stderr.readline()
        if b"attached" not in told:
            raise Died(f"strace can't attach: {told}")
        return self

    def __exit__(self, *_):
        self._strace.send_signal(signal.SIGTERM)  # it detaches
        self._strace.stderr.read()
        self._strace.wait()
        self._strace.stderr.close()


def report(life):
    life.do("report")
    return json.loads(life.until("report"))


def in_trouble(life, code, judge):
    """What an executor has to say, and to leave alone, while it can't write."""
    life.do("start", starts=STARTS[9:])  # these find the fault, and wait for their start to be recorded
    if (told := life.until("trouble")) != code:
        judge.blame("wrong", f"the trouble is called {told}, not {code}")
    if not any(line.startswith("log the store can't be written") for line in life.lines):
        judge.blame("wrong", "nothing was logged of a store that can't be written")
    life.do("explain", execution=WAITS)
    if "store" not in (told := life.until("explained")).split():
        judge.blame("wrong", f"explain says {told}, and nothing of the store")
    while (now := report(life))["renews_in_trouble"] < BEATS:  # each question is a way to the process and back
        if "trouble None" in life.lines:
            judge.blame("wrong", "something was committed on a disk that can't be written")
            break
    if now["claims_in_trouble"]:
        judge.blame("wrong", f"it looked {now['claims_in_trouble']} times for work that it could not do")
    return now


def healed(life, then, judge):
    """What it has to do when the disk is well."""
    while life.until("trouble") != "None":
        pass  # another name for it, at first
    if not any(line.startswith("log the store can be written again") for line in life.lines):
        judge.blame("wrong", "nothing was logged of a store that can be written again")
    while report(life)["claims"] <= then["claims"]:
        pass


def finish(life):
    life.do("open_gate")
    life.do("drain")
    life.do("stop")
    life.until("stopped")
    return life.lines


def one_fault(folder, name, *, kill=False):
    """A fault under load. With ``kill`` the process dies while it lasts. Returns the tally."""
    calls, error, code = FAULTS[name]
    folder.mkdir()
    place, tally = SqliteFile(folder), Tally()
    ledger, judge = Ledger(folder / "ledger"), Judge(tally)
    with Life(place, "before") as life:
        life.begin()
        life.do("start", starts=LEFT)
        for _ in LEFT:
            life.until("started")
        life.kill()
        asyncio.run(look(place, ledger, judge, life.lines))
    with Life(place, "first", lease=0.3, attachable=True) as life:
        life.begin()
        life.do("close_gate")  # one waits there, so that there is something to explain
        life.do("start", starts=[[WAITS, "gated"], *STARTS[:9]])
        life.until(f"started {WAITS}")
        with Fault(life, calls, error):
            then = in_trouble(life, code, judge)
            if kill:
                life.kill()
        if not kill:
            if not tally.violations:
                healed(life, then, judge)
            finish(life)
        lines = life.lines
    if kill:
        asyncio.run(look(place, ledger, judge, lines))
        with Life(place, "second") as life:
            life.begin()
            life.do("start", starts=STARTS)
            lines = finish(life)
    asyncio.run(look(place, ledger, judge, lines, dict([*STARTS, *LEFT, [WAITS, "gated"]])))
    ledger.close()
    tally.violations = [(kind, f"{name}: {text}") for kind, text in tally.violations]
    return tally

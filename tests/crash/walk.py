"""The crash-point walk: a process is killed at every write, sync, cut and removal of its database's files in turn.

strace kills it as it enters the n-th call of a kind, so the call is not made. A process without strace then goes on
with what is there and finishes it.

Lives here: which points there are, and one point. Does not live here: the scenario (``flows.py``).
"""

import asyncio
import os
import re
import shutil
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.crash.judge import Judge, Tally, look
from tests.crash.ledger import Ledger
from tests.crash.lives import Died, Life
from tests.crash.places import SqliteFile

#: The calls that change what is on the disk, or what is known to be there.
CALLS = ("pwrite64", "write", "fdatasync", "fsync", "ftruncate", "unlink", "pwritev", "fallocate", "rename")
SCENARIO = [["order", "walk"]]


def strace(place, output, *more):
    """strace of the calls on the files of a place."""
    paths = [word for path in place.files for word in ("-P", path)]
    return ["strace", "-f", "-o", output, "-e", f"trace={','.join(CALLS)}", *more, *paths]


def life_to_kill(place, *more, output=os.devnull):
    """The first process; its exit code says whether it was killed."""
    with Life(place, "first", strace(place, output, *more)) as life:
        life.begin()
        life.do("start", starts=SCENARIO)
        life.do("drain")
        life.do("stop")
        life.process.stdin.close()
        return life.read_out(), life.lines, life.errors


def count_points(folder):
    """Kind of call -> how many of them an undisturbed process makes."""
    place = SqliteFile(folder)
    trace = folder / "trace"
    code, lines, errors = life_to_kill(place, output=str(trace))
    if code != 0 or lines[-1] != "stopped":
        raise Died(f"undisturbed it ended with {code}: {errors()}")
    return Counter(re.findall(r"^\d+\s+(\w+)\(", trace.read_text(errors="replace"), re.MULTILINE))


class Finisher:
    """A process that finishes what others have left, one place after the other."""

    def __init__(self, folder):
        folder.mkdir()
        self.life = Life(SqliteFile(folder), "finisher")

    def finish(self, place):
        self.life.begin(place)
        self.life.do("start", starts=SCENARIO)  # as a client does who has no answer; with an id that changes nothing
        self.life.do("drain")
        self.life.do("stop")
        self.life.until("stopped")
        return self.life.lines


def one_point(folder, call, nth, finisher):
    """Kill at the nth call; (was it killed, what was seen)."""
    folder.mkdir()
    place = SqliteFile(folder)
    ledger = Ledger(folder / "ledger")
    tally = Tally()
    judge = Judge(tally)
    code, lines, errors = life_to_kill(place, "-e", f"inject={call}:signal=SIGKILL:when={nth}")
    if code not in (0, -9, 137):
        raise Died(f"{call} {nth}: ended with {code}: {errors()}")
    asyncio.run(look(place, ledger, judge, lines))
    asyncio.run(look(place, ledger, judge, finisher.finish(place), dict(SCENARIO)))
    ledger.close()
    tally.violations = [(kind, f"{call} {nth}: {text}") for kind, text in tally.violations]
    if not tally.violations:
        shutil.rmtree(folder)
    return code != 0, tally


def walk(folder, every=1, lanes=2, say=lambda text: None):
    """Kill at each ``every``-th point. Returns (points, kills, tally).

    From run to run a few calls more or fewer are made, so the last points of a kind may kill nobody, and points behind
    the counted ones are tried until one kills nobody.
    """
    folder = Path(folder)
    (folder / "count").mkdir()
    counted = count_points(folder / "count")
    points = [(call, nth) for call in CALLS for nth in range(1, counted[call] + 1)][::every]
    local, finishers, lock = threading.local(), [], threading.Lock()
    total, kills = Tally(), 0

    def go(point):
        call, nth = point
        if not hasattr(local, "finisher"):
            with lock:
                local.finisher = Finisher(folder / f"lane-{len(finishers)}")
                finishers.append(local.finisher)
        return one_point(folder / f"{call}-{nth}", call, nth, local.finisher)

    try:
        with ThreadPoolExecutor(lanes) as pool:
            for nth, (killed, tally) in enumerate(pool.map(go, points), 1):
                total.add(tally)
                kills += killed
                if nth % 50 == 0:
                    say(f"{nth} of {len(points)} points")
        if every == 1:
            for call in CALLS:
                nth, killed = counted[call], counted[call] > 0
                while killed:
                    nth += 1
                    points.append((call, nth))
                    killed, tally = one_point(folder / f"{call}-{nth}", call, nth, finishers[0])
                    total.add(tally)
                    kills += killed
    finally:
        for finisher in finishers:
            finisher.life.end()
    return len(points), kills, total

"""``python -m tests.crash``: the crash suites in full, and a table of what they have seen. Fails on any violation."""

import argparse
import contextlib
import faulthandler
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.crash.faults import FAULTS, one_fault
from tests.crash.frozen import freeze
from tests.crash.judge import KINDS, Tally
from tests.crash.kills import random_kills
from tests.crash.lives import no_strace
from tests.crash.outage import outages
from tests.crash.places import PostgresSchema, SqliteFile
from tests.crash.walk import walk
from tests.servers.postgres import NEEDED, Server, programs

#: Seconds that a suite may take before it is ended with the stacks of its threads.
PATIENCE = 1200
COLUMNS = ("executions", "steps", "effects", "repeated")


def say(text):
    print(f"    {text}", file=sys.stderr, flush=True)


class Suites:
    """Each takes a folder and gives (what was done, tally).

    Args:
        options: of the command line.
        server: PostgreSQL, or None.
    """

    def __init__(self, options, server):
        self.options = options
        self.server = server

    def walk(self, folder):
        points, kills, tally = walk(folder, self.options.crash_points, say=say)
        return f"{points} points, {kills} kills", tally

    def kills(self, folder):
        tally = random_kills(SqliteFile(folder), self.options.kills, self.options.seed, say)
        return f"{self.options.kills} kills", tally

    def faults(self, folder):
        tally = Tally()
        for number, name in enumerate(FAULTS):
            for kill in (False, True):
                tally.add(one_fault(folder / f"{number}-{kill}", name, kill=kill))
        return f"{2 * len(FAULTS)} faults", tally

    def frozen(self, folder):
        return self._frozen(SqliteFile(folder), self.options.episodes)

    def pg_frozen(self, folder):
        return self._frozen(PostgresSchema.fresh(folder, self.server), self.options.pg_episodes)

    @staticmethod
    def _frozen(place, episodes):
        refused, tally = freeze(place, episodes)
        if not refused:
            tally.violations.append(("wrong", "no write of a frozen process was refused"))
        return f"{episodes} episodes, {refused} writes refused", tally

    def pg_kills(self, folder):
        tally = random_kills(PostgresSchema.fresh(folder, self.server), self.options.pg_kills, self.options.seed, say)
        return f"{self.options.pg_kills} kills", tally

    def pg_outages(self, folder):
        tally = outages(PostgresSchema.fresh(folder, self.server), self.options.pg_outages, self.options.seed)
        return f"{self.options.pg_outages} server kills", tally


NAMES = ("walk", "kills", "faults", "frozen", "pg_frozen", "pg_kills", "pg_outages")
NEED_STRACE = ("walk", "faults")


def not_run(name, strace, server):
    """Why a suite can't be run here; None when it can."""
    if name in NEED_STRACE and strace is not None:
        return strace
    return f"NOT RUN: {NEEDED}" if name.startswith("pg_") and server is None else None


def main(arguments=None):
    options = parse(arguments)
    print(f"seed {options.seed}", flush=True)
    strace, rows = no_strace(), []
    with contextlib.ExitStack() as stack:
        server = None
        if programs() is not None and any(name.startswith("pg_") for name in options.only):
            server = Server()
            stack.callback(server.stop)
        suites = Suites(options, server)
        for name in options.only:
            why = not_run(name, strace, server)
            if why is not None:
                print(f"{name}: {why}", flush=True)
                if os.environ.get("FLOW_TEST_SERVERS") == "required":
                    rows.append((name, why, Tally(violations=[("wrong", why)]), 0.0))
                continue
            rows.append(run_one(name, getattr(suites, name)))
    return summary(rows, options.seed)


def run_one(name, suite):
    """One suite in a folder of its own, which stays when something is wrong."""
    folder = Path(tempfile.mkdtemp(prefix=f"flow-crash-{name}-"))
    began = time.monotonic()
    faulthandler.dump_traceback_later(PATIENCE, exit=True)
    try:
        what, tally = suite(folder)
    except Exception as error:
        what, tally = "broke off", Tally(violations=[("wrong", f"{type(error).__name__}: {error}")])
    faulthandler.cancel_dump_traceback_later()
    if tally.violations:
        for kind, text in tally.violations[:20]:
            print(f"{name}: {kind}: {text}", flush=True)
        print(f"{name}: {len(tally.violations)} violations; what is left of it is in {folder}", flush=True)
    else:
        shutil.rmtree(folder)
    return name, what, tally, time.monotonic() - began


def summary(rows, seed):
    """The table; the exit code."""
    head = ("suite", "done", *COLUMNS, *KINDS, "seconds")
    lines = [head]
    for name, what, tally, seconds in rows:
        counts = [getattr(tally, column) for column in COLUMNS] + [tally.count(kind) for kind in KINDS]
        lines.append((name, what, *map(str, counts), f"{seconds:.1f}"))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        texts = [text.ljust(width) for text, width in zip(line[:2], widths[:2], strict=True)]
        numbers = [text.rjust(width) for text, width in zip(line[2:], widths[2:], strict=True)]
        print("  ".join(texts + numbers))
    wrong = sum(len(tally.violations) for _, _, tally, _ in rows)
    done = "; ".join(f"{name}: {what}" for name, what, _, _ in rows)
    print(f"crash suites, seed {seed}: {wrong} violations ({done})", flush=True)
    return 1 if wrong else 0


def parse(arguments):
    parser = argparse.ArgumentParser("python -m tests.crash", description=__doc__)
    parser.add_argument("--crash-points", default="all", help="all, or N for each N-th")
    parser.add_argument("--kills", type=int, default=300, help="random kills on SQLite")
    parser.add_argument("--episodes", type=int, default=10, help="with a frozen process, on SQLite")
    parser.add_argument("--pg-episodes", type=int, default=50, help="the same on PostgreSQL")
    parser.add_argument("--pg-kills", type=int, default=50, help="random kills on PostgreSQL")
    parser.add_argument("--pg-outages", type=int, default=20, help="kills of the server")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default=",".join(NAMES), help=f"some of {','.join(NAMES)}")
    options = parser.parse_args(arguments)
    options.crash_points = 1 if options.crash_points == "all" else int(options.crash_points)
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(NAMES):
        parser.error(f"no suite {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    return options


if __name__ == "__main__":
    sys.exit(main())

"""Arguments and exit codes of ``python -m flow_core``.

Lives here: the parser, and what a shell gets to see: 0 done, 1 an execution failed, 2 bad arguments or a bad file, 130
interrupted. Does not live here: the commands.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
from collections.abc import Sequence

from flow_core import FlowError, __version__

__all__ = ["main"]

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def positive(text: str) -> float:
    """A number above 0, for argparse."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"a number above 0 is needed, not {text!r}")
    return number


def count(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"a whole number of at least 1 is needed, not {text!r}")
    return number


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(prog="python -m flow_core", description="An embeddable workflow engine.")
    parser.add_argument("--version", action="version", version=f"flow-core {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    demo = commands.add_parser("demo", help="a shop: late services, retries, rollback", description=DEMO)
    demo.add_argument("--seed", type=int, default=7, help="of the services' latencies (default: %(default)s)")
    demo.add_argument("--speed", type=positive, default=1.0, help="2 is twice as fast (default: %(default)g)")
    demo.add_argument("--plain", action="store_true", help="lines of text, no live table")
    demo.add_argument("--crash", action="store_true", help="another story: a process is killed, another one goes on")
    doctor = commands.add_parser("doctor", help="look whether a store is sound", description=DOCTOR)
    doctor.add_argument("url", metavar="URL", help="sqlite:///flow.db, postgresql://...")
    doctor.add_argument("--json", action="store_true", help="print what was found as one JSON object")
    run = commands.add_parser("run", help="execute a WfFormat 1.5 file", description=RUN)
    run.add_argument("file", metavar="FILE", help="WfFormat 1.5 JSON, as in the WfInstances collection")
    run.add_argument("--speedup", type=positive, default=100.0, help="seconds / this (default: %(default)g)")
    run.add_argument("--concurrency", type=count, help="most steps at the same time (default: no limit)")
    run.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    run.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


DEMO = "Runs a checkout flow of local, rpc and pubsub steps inside this process; takes about six seconds."
DOCTOR = "Checks a store of executions and says what is in it. Opening it creates or migrates it. Exit code 1: damaged."
RUN = "Executes a recorded workflow: each task becomes a step that sleeps its runtime / SPEEDUP."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code. A mistake of the user is a line on stderr, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without the characters of a chart shows ? instead
            stream.reconfigure(errors="replace")
    asked = build_parser().parse_args(arguments)
    try:
        return _run(asked)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except FlowError as error:
        print(f"flow_core: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`). Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _run(asked: argparse.Namespace) -> int:
    if asked.command == "doctor":
        from flow_core.cli.doctor import doctor

        return FAILED if doctor(asked.url, as_json=asked.json) else 0
    if asked.command == "demo" and asked.crash:
        from flow_core.cli.crash import crash_demo

        return 0 if crash_demo() == 1 else FAILED
    if asked.command == "demo":
        from flow_core.cli.demo import demo

        demo(seed=asked.seed, speed=asked.speed, plain=asked.plain)
        return 0
    from flow_core.cli.run_file import run_file
    from flow_core.cli.wfformat import BadFile

    try:
        run_file(
            asked.file, speedup=asked.speedup, concurrency=asked.concurrency, as_json=asked.json, quiet=asked.quiet
        )
    except BadFile as error:
        print(f"flow_core: {error}", file=sys.stderr)
        return BAD_INPUT
    return 0

"""The commands that need no library: ``demo``, ``run`` and ``doctor``; their arguments, by `argparse`.

Lives here: that parser and the calls. Does not live here: what the commands do; the other commands (``app.py``).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

from flow_core import __version__
from flow_core.cli.codes import FAILED, OK

__all__ = ["COMMANDS", "build_parser", "run_basic"]

#: Name -> what it does, in a line.
COMMANDS = {
    "demo": "a shop: late services, retries, rollback",
    "doctor": "look whether a store is sound, or a server takes work",
    "run": "execute a WfFormat 1.5 file",
}
#: What comes with the extra, for those who don't have it.
MORE = "with pip install 'flow-core[cli,grpc]': serve, flows, step, exec, ls, status, explain, token ..."


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
    """The parser of these commands."""
    parser = argparse.ArgumentParser(prog="flow-core", description="An embeddable workflow engine.", epilog=MORE)
    parser.add_argument("--version", action="version", version=f"flow-core {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    demo = commands.add_parser("demo", help=COMMANDS["demo"], description=DEMO)
    demo.add_argument("--seed", type=int, default=7, help="of the services' latencies (default: %(default)s)")
    demo.add_argument("--speed", type=positive, default=1.0, help="2 is twice as fast (default: %(default)g)")
    demo.add_argument("--plain", action="store_true", help="lines of text, no live table")
    demo.add_argument("--crash", action="store_true", help="another story: a process is killed, another one goes on")
    doctor = commands.add_parser("doctor", help=COMMANDS["doctor"], description=DOCTOR)
    doctor.add_argument("url", metavar="URL", help="sqlite:///flow.db, postgresql://..., grpc://host:port")
    doctor.add_argument("--json", action="store_true", help="print what was found as one JSON object")
    run = commands.add_parser("run", help=COMMANDS["run"], description=RUN)
    run.add_argument("file", metavar="FILE", help="WfFormat 1.5 JSON, as in the WfInstances collection")
    run.add_argument("--speedup", type=positive, default=100.0, help="seconds / this (default: %(default)g)")
    run.add_argument("--concurrency", type=count, help="most steps at the same time (default: no limit)")
    run.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    run.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


DEMO = "Runs a checkout flow of local, rpc and pubsub steps inside this process; takes about six seconds."
DOCTOR = (
    "Checks a store of executions and says what is in it; opening it creates or migrates it. Of a server, asks whether "
    "it takes work. Exit code 1: damaged, or not serving."
)
RUN = "Executes a recorded workflow: each task becomes a step that sleeps its runtime / SPEEDUP."


def run_basic(arguments: Sequence[str]) -> int:
    """Run one of these commands; its exit code. Raises `FlowError`, and SystemExit 2 for bad arguments."""
    asked = build_parser().parse_args(arguments)
    if asked.command == "doctor":
        from flow_core.cli.doctor import doctor
        from flow_core.cli.health import doctor_of_server, is_server

        if is_server(asked.url):
            return FAILED if doctor_of_server(asked.url, as_json=asked.json) else OK
        return FAILED if doctor(asked.url, as_json=asked.json) else OK
    if asked.command == "demo" and asked.crash:
        from flow_core.demo.crash import crash_demo

        return OK if crash_demo() == 1 else FAILED
    if asked.command == "demo":
        from flow_core.demo.demo import demo

        demo(seed=asked.seed, speed=asked.speed, plain=asked.plain)
        return OK
    from flow_core.demo.run_file import run_file

    run_file(asked.file, speedup=asked.speedup, concurrency=asked.concurrency, as_json=asked.json, quiet=asked.quiet)
    return OK

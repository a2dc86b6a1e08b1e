"""The commands that need no other library: ``demo``, ``doctor`` and ``run``.

What a command takes is told once, by the signature and the docstring of its function. cyclopts reads them like those of
the other commands. Where the extra ``cli`` is not installed, `run_basic` reads the same ones with argparse, so that the
demo and the health check work in a bare installation.
"""

from __future__ import annotations

import argparse
import inspect
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Self, get_args

from flow_core import __version__
from flow_core.cli.codes import FAILED, OK

__all__ = ["COMMANDS", "run_basic"]

#: What comes with the extra, for those who don't have it.
MORE: Final = "with pip install 'flow-core[cli,grpc]': serve, flows, step, exec, ls, status, explain, token ..."


class PositiveNumber(float):
    """A number above 0. Both parsers call it with the text of an argument, and name it in their complaints."""

    def __new__(cls, text: str | float) -> Self:
        number = super().__new__(cls, text)
        if not (math.isfinite(number) and number > 0):
            raise ValueError(f"a number above 0 is needed, not {text}")
        return number


class PositiveCount(int):
    """A whole number above 0."""

    def __new__(cls, text: str | int) -> Self:
        number = super().__new__(cls, text)
        if number < 1:
            raise ValueError(f"a whole number above 0 is needed, not {text}")
        return number


ONE: Final = PositiveNumber(1)
HUNDRED: Final = PositiveNumber(100)


def demo(*, seed: int = 7, speed: PositiveNumber = ONE, plain: bool = False, crash: bool = False) -> int:
    """Show a shop at work: late services, retries, rollback. Takes about six seconds.

    Args:
        seed: of the services' latencies
        speed: 2 is twice as fast
        plain: lines of text, no live table
        crash: another story: a process is killed, and another one finishes its order
    """
    if crash:
        from flow_core.demo.crash import crash_demo

        return OK if crash_demo() == 1 else FAILED
    from flow_core.demo.demo import demo as tell

    tell(seed=seed, speed=speed, plain=plain)
    return OK


def doctor(url: str, /, *, json: bool = False) -> int:
    """Check whether a store is sound, or whether a server takes work.

    Opening a store creates or migrates it. Exit code 1: damaged, or not serving.

    Args:
        url: sqlite:///flow.db, postgresql://..., grpc://host:port
        json: print what was found as one JSON object
    """
    from flow_core.cli.health import doctor_of_server, is_server
    from flow_core.cli.store_doctor import doctor_of_store

    examine = doctor_of_server if is_server(url) else doctor_of_store
    return FAILED if examine(url, as_json=json) else OK


def run(
    file: str, /, *, speedup: PositiveNumber = HUNDRED, concurrency: PositiveCount | None = None, json: bool = False,
    quiet: bool = False,
) -> int:  # fmt: skip
    """Execute a recorded workflow (WfFormat 1.5): each task becomes a step that sleeps its runtime / SPEEDUP.

    Args:
        file: WfFormat 1.5 JSON, as in the WfInstances collection
        speedup: seconds of the recording per second
        concurrency: most steps at the same time; all that can run when left out
        json: print the figures as one JSON object
        quiet: no progress bar
    """
    from flow_core.demo.run_file import run_file

    run_file(file, speedup=speedup, concurrency=concurrency, as_json=json, quiet=quiet)
    return OK


#: Name -> command.
COMMANDS: Final[dict[str, Callable[..., int]]] = {"demo": demo, "doctor": doctor, "run": run}


def run_basic(arguments: Sequence[str]) -> int:
    """Run one of these commands without cyclopts; its exit code.

    Raises:
        FlowError: what the command raises; SystemExit 2 for bad arguments.
    """
    parser = argparse.ArgumentParser(prog="flow-core", description="An embeddable workflow engine.", epilog=MORE)
    parser.add_argument("--version", action="version", version=f"flow-core {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, function in COMMANDS.items():
        text = inspect.getdoc(function) or ""
        lines = dict(re.findall(r"^    (\w+): (.+)$", text, re.MULTILINE))
        command = commands.add_parser(name, help=text.splitlines()[0], description=text.split("\n\nArgs")[0])
        for parameter in _parameters(function):
            _add(command, parameter, lines[parameter.name])
    asked = vars(parser.parse_args(arguments))
    function = COMMANDS[asked.pop("command")]
    first = [asked.pop(one.name) for one in _parameters(function) if one.kind is one.POSITIONAL_ONLY]
    return function(*first, **asked)


def _parameters(function: Callable[..., int]) -> list[inspect.Parameter]:
    return list(inspect.signature(function, eval_str=True).parameters.values())


def _add(parser: argparse.ArgumentParser, parameter: inspect.Parameter, help: str) -> None:
    """A parameter of a function as an argument of the command line."""
    kind: Any = next(iter(get_args(parameter.annotation)), parameter.annotation)
    if parameter.kind is parameter.POSITIONAL_ONLY:
        parser.add_argument(parameter.name, metavar=parameter.name.upper(), type=kind, help=help)
    elif kind is bool:
        parser.add_argument(f"--{parameter.name}", action="store_true", help=help)
    else:
        shown = "" if parameter.default is None else " (default: %(default)s)"
        parser.add_argument(f"--{parameter.name}", type=kind, default=parameter.default, help=help + shown)

"""The `cyclopts` application: all commands together, and how bad arguments end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Literal

from cyclopts import App, CycloptsError, Parameter

from flow_core import __version__
from flow_core.cli import basic
from flow_core.cli.codes import OK, USAGE
from flow_core.cli.output import complain

__all__ = ["build_app", "run_app"]

EPILOGUE = (
    "Exit codes: 0 done, 1 the execution failed, 2 usage, 3 not found or conflict, 4 not connected or not allowed."
)


def build_app(first: str = "") -> App:
    """The application; a new one each time: nothing is global.

    Args:
        first: the first word of the arguments. For a command that needs no server the others are not even imported:
            a health check runs every few seconds.
    """
    app = App(
        name="flow-core", help="An embeddable workflow engine.", help_epilogue=EPILOGUE, version=__version__,
        default_parameter=Parameter(negative_iterable=""), help_format="plaintext", suppress_keyboard_interrupt=False,
    )  # fmt: skip
    for name, command in basic.COMMANDS.items():
        app.command(command, name=name, default_parameter=Parameter(negative=""))
    if first in basic.COMMANDS:
        return app
    from flow_core.cli import controls, executions, flows, serve, steps, tokens

    for group in (serve, flows, steps, executions, controls, tokens):
        group.register(app)

    def completion(shell: Literal["bash", "zsh", "fish"]) -> int:
        """Print a script that completes commands and options: ``flow-core completion bash > ...``.

        Args:
            shell: for which shell.
        """
        print(app.generate_completion(shell=shell), end="")
        return OK

    app.command(completion)
    return app


def run_app(arguments: Sequence[str]) -> int:
    """Run a command; its exit code. Raises what the command raises, and SystemExit 2 for bad arguments."""
    app = build_app(next(iter(arguments), ""))
    if not arguments:
        print("usage: flow-core COMMAND ...; flow-core --help lists the commands", file=sys.stderr)
        raise SystemExit(USAGE)
    try:
        code = app(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        words = [word for word in arguments[:2] if not word.startswith("-")]
        print(f"usage: flow-core {' '.join(words)} --help", file=sys.stderr)
        complain(error, as_json="--json" in arguments)
        raise SystemExit(USAGE) from None
    return code if isinstance(code, int) else OK

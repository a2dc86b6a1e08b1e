"""``flow-core``, which is also ``python -m flow_core``: runs a command and turns errors into exit codes."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from flow_core import FlowError
from flow_core.cli.basic import run_basic
from flow_core.cli.codes import FAILED, INTERRUPTED, USAGE, code_of
from flow_core.cli.output import complain
from flow_core.demo.wfformat import BadFile

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code. A mistake of the user is a line on stderr, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without the characters of a chart shows ? instead
            stream.reconfigure(errors="replace")
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    try:
        return _run(given)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BadFile as error:
        complain(error, as_json=as_json)
        return USAGE
    except (FlowError, ImportError) as error:
        complain(error, as_json=as_json)
        return code_of(error)
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`). Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _run(given: list[str]) -> int:
    if find_spec("cyclopts") is None or find_spec("rich") is None:
        if given[:1] and given[0] in OTHERS:
            raise ImportError(f"{given[0]} needs more libraries: pip install 'flow-core[cli,grpc]'")
        return run_basic(given)
    from flow_core.cli.app import run_app

    return run_app(given)


#: The commands that need the extra.
OTHERS = (
    "abort", "completion", "exec", "explain", "flows", "history", "ls", "pause", "restart", "result", "resume", "serve",
    "status", "step", "token",
)  # fmt: skip

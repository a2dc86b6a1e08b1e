"""Reads source files and names what breaks the rules of the house; `test_layers.py` applies it to the package.

Lives here: the floors, the rules, and a function per rule that takes text and returns complaints, so that each rule
can itself be tested with a few bad lines. Does not live here: the walk over the files.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

#: From the lowest up: the rooms of a floor, and what they are for. A file imports from lower floors and from its own
#: room. `scripts/floors` puts this table into README and CONTRIBUTING.
TABLE: tuple[tuple[tuple[str, ...], str], ...] = (
    (("errors",), "say what went wrong, who can mend it, and how"),
    (("model",), "the vocabulary: steps, options, records, the contract of stores and of flows"),
    (("core", "net", "proto", "codecs", "plugins"), "compiled scheduler; connections; the wire format; payloads"),
    (("engine", "operations", "rpc", "pubsub", "stores"), "decide without a clock; talk to the world"),
    (("catalog", "runtime", "urls"), "named flows; executions that wait, run and outlive their process"),
    (("flow",), "the manager: puts the rest together"),
    (("blocking", "client", "telemetry"), "other faces of a flow: threads, another process, metrics and spans"),
    (("service", "demo"), "flows over the network; demonstrations"),
    (("cli",), "the command line"),
    (("__main__",), "nothing but a call of the command line"),
)
FLOORS = {room: floor for floor, (rooms, _) in enumerate(TABLE) for room in rooms}
TOP = len(TABLE)  # flow_core/__init__.py: gathers the public names
#: Those who use public names only, and show that these are enough.
PUBLIC_ONLY = FLOORS["telemetry"]
HIDDEN_FROM_THE_TOP = frozenset({"engine", "runtime"})
#: Rooms that get clock, randomness and loop as arguments.
SANS_IO = frozenset({"engine", "model"})
# Clocks, randomness, loops and threads come in as arguments below floor 2 (core may: it steps coroutines).
HARMLESS = frozenset({"asyncio.CancelledError"})  # an exception to tell from failures, not a loop
OUTSIDE_WORLD = frozenset({"asyncio", "random", "secrets", "socket", "threading", "time", "uuid"})
FORBIDDEN_MODULES = frozenset({"_pickle", "cPickle", "cloudpickle", "dill", "marshal", "pickle", "shelve"})
FORBIDDEN_CALLS = frozenset({"__import__", "eval", "exec"})
UVLOOP_HOME = "flow_core/runtime/loop.py"

_CYTHON_IMPORT = re.compile(
    r"""^[ \t]* (?: from [ \t]+ (?P<source>[\w.]+) [ \t]+ c?import [ \t]+ (?P<names> \( [^)]* \) | [^\n]* )
                  | c?import [ \t]+ (?P<modules>[^\n]*) )""",
    re.VERBOSE | re.MULTILINE,
)


def module_of(path: str) -> str:
    """flow_core/core/graph.pxd -> flow_core.core.graph; flow_core/rpc/__init__.py -> flow_core.rpc"""
    parts = PurePosixPath(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _names(text: str) -> list[str]:
    text = re.sub(r"\#[^\n]*", "", text).strip(" ()\t\n")
    return [name.split()[0] for name in text.split(",") if name.split()]


def _cython_imports(text: str) -> Iterator[str]:
    for found in _CYTHON_IMPORT.finditer(text):
        if found["source"]:
            yield from (f"{found['source']}.{name}" for name in _names(found["names"]))
        else:
            yield from _names(found["modules"])


def _python_imports(text: str, path: str) -> Iterator[str]:
    package = module_of(path).split(".")
    if not path.endswith("__init__.py"):
        package = package[:-1]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


def imports(text: str, path: str) -> set[str]:
    """Everything that a file imports, lazily or for types only too: `from a.b import c` counts as a.b.c."""
    return set(_cython_imports(text) if path.endswith((".pyx", ".pxd")) else _python_imports(text, path))


def room_of(module: str) -> str:
    """The direct child of flow_core that a module is in; empty for flow_core itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def _own_import(room: str, target: str) -> str | None:
    other = room_of(target)
    if other not in FLOORS:
        # `from flow_core import Flow`: a name of the top package, which only the upper floors and its users may want.
        above = FLOORS[room] > FLOORS["flow"]
        return None if above else f"imports {target}: only floors above flow.py import from the top package"
    if other == room:
        return None
    if FLOORS[other] >= FLOORS[room]:
        return f"floor {FLOORS[room]} imports {target} of floor {FLOORS[other]}"
    private = other in HIDDEN_FROM_THE_TOP or any(part.startswith("_") for part in target.split("."))
    if FLOORS[room] >= PUBLIC_ONLY and room != "blocking" and private:
        return f"floor {FLOORS[room]} imports {target}, which is not public"
    return None


def import_complaints(text: str, path: str) -> list[str]:
    """Arrows that do not point down, and imports that a floor must not have."""
    module = module_of(path)
    room = room_of(module)
    if room == "":
        return []
    if room not in FLOORS:
        return [f"{path}: flow_core.{room} has no floor; give it one in tests/layers.py"]
    found = []
    for target in sorted(imports(text, path)):
        first = target.split(".")[0]
        if first == "flow_core":
            found.append(_own_import(room, target))
        elif first in FORBIDDEN_MODULES:
            found.append(f"imports {first}: stored data must never become code")
        elif first == "uvloop" and path != UVLOOP_HOME:
            found.append(f"imports uvloop, which only {UVLOOP_HOME} does")
        elif room in SANS_IO and first in OUTSIDE_WORLD and target not in HARMLESS:
            found.append(f"imports {first}: clocks, randomness and loops come in as arguments here")
    return [f"{path}: {complaint}" for complaint in found if complaint]


def call_complaints(text: str, path: str) -> list[str]:
    """Calls that turn data into code."""
    if path.endswith((".pyx", ".pxd")):
        calls = re.findall(r"(?<![\w.])(__import__|eval|exec)\s*\(", re.sub(r"\#[^\n]*", "", text))
    else:
        nodes = (node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
        calls = [node.id for node in nodes if isinstance(node, ast.Name) and node.id in FORBIDDEN_CALLS]
    return [f"{path}: calls {name}()" for name in calls]


def docstring_complaints(text: str, path: str) -> list[str]:
    """A module that does not say what lives in it."""
    if path.endswith(".py"):
        says = bool(ast.get_docstring(ast.parse(text)))
    elif path.endswith(".pyx"):
        says = re.match(r'(?:\s*\#[^\n]*\n|\s)*r?"""', text) is not None
    else:
        says = True
    return [] if says else [f"{path}: no module docstring"]

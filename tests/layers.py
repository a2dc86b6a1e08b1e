"""Reads source files and names what breaks the rules of the house; `test_layers.py` applies it to the package.

Lives here: the floors, the rules, and a function per rule that takes text and returns complaints, so that each rule
can itself be tested with a few bad lines. Does not live here: the walk over the files.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

#: From the lowest up: the rooms of a floor, and what they are for. A file imports from lower floors and from its own
#: room. `scripts/floors` puts this table into README and CONTRIBUTING.
TABLE: tuple[tuple[tuple[str, ...], str], ...] = (
    (("errors",), "what went wrong, who can fix it, and how"),
    (("model",), "the vocabulary: steps, options, records, and what a store and a flow promise"),
    (("core", "net", "proto", "codecs", "plugins"), "the compiled scheduler; connections; the wire format; payloads"),
    (("engine", "operations", "rpc", "pubsub", "stores"), "decisions without a clock; what talks to the world"),
    (("catalog", "runtime", "urls"), "named flows; executions that run, wait and outlive their process"),
    (("flow",), "`Flow`, which puts the rest together"),
    (("blocking", "client", "telemetry"), "a flow from other threads and processes; metrics and spans"),
    (("service", "demo"), "flows over the network; demonstrations"),
    (("cli",), "the command line"),
    (("__main__",), "a call of the command line, nothing else"),
)
FLOORS = {room: floor for floor, (rooms, _) in enumerate(TABLE) for room in rooms}
#: From this floor up only public names are used, which shows that they are enough.
PUBLIC_ONLY = FLOORS["telemetry"]
HIDDEN_FROM_THE_TOP = frozenset({"engine", "runtime"})
#: Wraps `Flow` for other threads, and so is one of its makers.
INSIDERS = frozenset({"blocking"})
#: Rooms that get clock, randomness and loop as arguments.
SANS_IO = frozenset({"engine"})
HARMLESS = frozenset({"asyncio.CancelledError"})  # an exception to tell from failures, not a loop
OUTSIDE_WORLD = frozenset({"asyncio", "random", "secrets", "socket", "threading", "time", "uuid"})
FORBIDDEN_MODULES = frozenset({"_pickle", "cPickle", "cloudpickle", "dill", "marshal", "pickle", "shelve"})
FORBIDDEN_CALLS = frozenset({"__import__", "eval", "exec"})
#: Who may read a clock or draw randomness by themselves: file -> the reason.
SOURCES = {
    "flow_core/runtime/loop.py": "makes the Environment of a real machine",
    "flow_core/codecs/aes.py": "a nonce must never come twice, whatever the seed",
    "flow_core/net/nats.py": "a reply subject that no other process may guess",
    "flow_core/pubsub/redis/client.py": "a name that no other process may have",
    "flow_core/rpc/http.py": "a Retry-After that is a date is one of the wall clock",
}
#: Functions of these modules that read nothing.
PURE = {("datetime", "fromtimestamp"), ("uuid", "UUID"), ("random", "Random"), ("datetime", "fromisoformat")}
UVLOOP_HOME = "flow_core/runtime/loop.py"
#: Classes of the package that others may inherit from although they are no interface: class -> the reason.
HERITABLE = {
    "MachineMessage": "events and commands are records; it gives them equality and a repr",
    "Run": "a handle is the row of its execution: one object, one allocation",
    "Attempt": "the compiled half of `StepContext`, whose public coroutines have to be Python's",
    "Future": "a task is a future, as in asyncio; their C fields lie in one block",
    "TaskScheduler": "the compiled interface of what steps tasks: asyncio's loop alone, or the scheduler",
    "Client": "the life and the counters of every client, behind the contracts of rpc and pubsub",
}
#: The faces of a flow for threads have the names of what they wrap: the module says which one it is.
SAME_NAMES = frozenset({"flow_core/blocking.py"})

_CYTHON_IMPORT = re.compile(
    r"""^[ \t]* (?: from [ \t]+ (?P<source>[\w.]+) [ \t]+ c?import [ \t]+ (?P<names> \( [^)]* \) | [^\n]* )
                  | c?import [ \t]+ (?P<modules>[^\n]*) )""",
    re.VERBOSE | re.MULTILINE,
)
_CYTHON_CLASS = re.compile(r"^(?:cdef\s+)?class\s+(?P<name>\w+)\s*(?:\((?P<bases>[^)]*)\))?\s*:", re.MULTILINE)


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


# --- arrows ----------------------------------------------------------------------------------------------------------


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
    if FLOORS[room] >= PUBLIC_ONLY and room not in INSIDERS and private:
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


def arrows(files: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports. A .pyx, its .pxd and its .pyi are one module."""
    files = list(files)
    modules = {module_of(path) for path, _ in files}
    found: dict[str, set[str]] = {module: set() for module in modules}
    for path, text in files:
        module = module_of(path)
        for target in imports(text, path):
            while target and target not in modules:
                target = target.rpartition(".")[0]
            if target and target != module:
                found[module].add(target)
    return found


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other (Tarjan, "Depth-first search and linear graph algorithms", 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in graph.get(module, ()):
            if other not in index:
                visit(other)
            if other in stack:
                low[module] = min(low[module], low[other])
        if low[module] == index[module]:
            place = stack.index(module)
            group = stack[place:]
            del stack[place:]
            if len(group) > 1:
                found.append(sorted(group))

    for module in graph:
        if module not in index:
            visit(module)
    return sorted(found)


def circle_complaints(files: Iterable[tuple[str, str]]) -> list[str]:
    """Files that import each other in a circle, imports for types included."""
    return [f"a circle of imports: {', '.join(group)}" for group in circles(arrows(files))]


# --- classes ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Class:
    """A class as its source shows it."""

    path: str
    name: str
    bases: tuple[str, ...]
    docstring: str | None
    is_interface: bool = False


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _is_abstract(node: ast.ClassDef) -> bool:
    functions = (one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
    return any(_last_name(mark) == "abstractmethod" for one in functions for mark in one.decorator_list)


def classes(text: str, path: str) -> list[Class]:
    """The classes at the top of a file, compiled ones included."""
    if path.endswith(".pyx"):
        found = []
        for match in _CYTHON_CLASS.finditer(text):
            said = re.match(r'\s*r?"""(.*?)"""', text[match.end() :], re.DOTALL)
            bases = tuple(base.strip() for base in (match["bases"] or "").split(",") if base.strip())
            found.append(Class(path, match["name"], bases, said and said[1], match["name"] == "Handler"))
        return found
    if not path.endswith(".py"):
        return []
    found = []
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            bases = tuple(_last_name(base) for base in node.bases)
            interface = bool({"ABC", "Protocol"} & set(bases)) or _is_abstract(node)
            found.append(Class(path, node.name, bases, ast.get_docstring(node), interface))
    return found


def name_complaints(files: Iterable[tuple[str, str]]) -> list[str]:
    """Names that two classes of the package share. One that begins with an underscore is its file's own."""
    places = defaultdict(list)
    for path, text in files:
        for one in classes(text, path):
            if not one.name.startswith("_") and path not in SAME_NAMES:
                places[one.name].append(path)
    return [f"class {name} stands in {' and '.join(paths)}" for name, paths in places.items() if len(paths) > 1]


def inheritance_complaints(files: Iterable[tuple[str, str]]) -> list[str]:
    """Classes that inherit what another class of the package does, instead of having one.

    Interfaces (an ABC, a Protocol, a class with an abstract method), exceptions and classes of libraries may be
    inherited from.
    """
    known = {one.name: one for path, text in files for one in classes(text, path)}

    def is_error(one: Class) -> bool:
        return any(
            base.endswith(("Error", "Exception")) or (base in known and is_error(known[base])) for base in one.bases
        )

    found = []
    for one in known.values():
        for base in one.bases:
            above = known.get(base)
            if above is None or above.is_interface or base in HERITABLE or is_error(above):
                continue
            found.append(f"{one.path}: class {one.name} inherits from {base} of {above.path}; let it have one")
    return found


def class_docstring_complaints(text: str, path: str) -> list[str]:
    """Public classes whose docstring, which is what an editor shows, says nothing about them."""
    found = []
    for one in classes(text, path):
        if one.name.startswith("_"):
            continue
        says = (one.docstring or "").strip()
        if not says or says.startswith("See the module"):
            found.append(f"{path}: the docstring of class {one.name} says nothing about it")
        elif not re.search(r"[.:!?](\s|$)", says):
            found.append(f"{path}: the docstring of class {one.name} is no sentence")
    return found


# --- what a file says and calls --------------------------------------------------------------------------------------


def call_complaints(text: str, path: str) -> list[str]:
    """Calls that turn data into code."""
    if path.endswith((".pyx", ".pxd")):
        calls = re.findall(r"(?<![\w.])(__import__|eval|exec)\s*\(", re.sub(r"\#[^\n]*", "", text))
    else:
        nodes = (node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
        calls = [node.id for node in nodes if isinstance(node, ast.Name) and node.id in FORBIDDEN_CALLS]
    return [f"{path}: calls {name}()" for name in calls]


def clock_complaints(text: str, path: str) -> list[str]:
    """Calls that read a clock or draw randomness, which come in as arguments up to the floor of the runtime."""
    room = room_of(module_of(path))
    if not path.endswith(".py") or FLOORS.get(room, 99) > FLOORS["runtime"] or path in SOURCES:
        return []
    found = []
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ):
            owner, name = node.func.value.id, node.func.attr
            reads = owner in {"datetime", "random", "secrets", "time", "uuid"} or (owner, name) == ("os", "urandom")
            if reads and (owner, name) not in PURE:
                found.append(f"{path}:{node.lineno}: calls {owner}.{name}(); take it from the Environment")
    return found


def docstring_complaints(text: str, path: str) -> list[str]:
    """A module that does not say what lives in it."""
    if path.endswith(".py"):
        says = bool(ast.get_docstring(ast.parse(text)))
    elif path.endswith(".pyx"):
        says = re.match(r'(?:\s*\#[^\n]*\n|\s)*r?"""', text) is not None
    else:
        says = True
    return [] if says else [f"{path}: no module docstring"]

"""Derives ``flow_core/blocking.pyi``, the types of the blocking face, from the classes that it wraps.

    python -m tests.blocking_stub

writes the file; `test_blocking.py` holds it equal. Lives here: reading signatures and docstrings as they are written,
without ``async``. Does not live here: the wrapper itself.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flow_core
from flow_core import blocking

PATH = Path(blocking.__file__).with_suffix(".pyi")
HEAD = '''"""The types of `flow_core.blocking`. Written by ``python -m tests.blocking_stub``: do not edit."""'''
FACES = (
    (blocking.Execution, flow_core.Execution),
    (blocking.Executor, flow_core.Executor),
    (blocking.Flow, flow_core.Flow),
)
NAMES = {face.__name__ for face, _ in FACES}
SPECIAL = {"__init__", "__enter__", "__exit__"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def tree_of(module: str) -> ast.Module:
    """The source of a module, or the types of a compiled one."""
    path = Path(str(sys.modules[module].__file__))
    if path.suffix != ".py":
        path = path.with_name(path.name.split(".")[0] + ".pyi")
    return ast.parse(path.read_text(encoding="utf-8"))


def class_of(tree: ast.Module, name: str) -> ast.ClassDef:
    return next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)


def members(cls: type) -> Iterator[tuple[str, Any, str]]:
    """(name, definition, module) of what a class and its bases define, nearest first."""
    for base in cls.__mro__[:-1]:
        for node in class_of(tree_of(base.__module__), base.__name__).body:
            if isinstance(node, Function):
                yield node.name, node, base.__module__
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                yield node.target.id, node, base.__module__


class Stub:
    """The text of the stub, and the imports that it turns out to need."""

    def __init__(self) -> None:
        self.origins: dict[str, str] = {}

    def text(self) -> str:
        classes = [self.face(face, original) for face, original in FACES]
        lines = sorted(f"import {name}" for name, origin in self.origins.items() if not origin)
        for origin in sorted(set(self.origins.values()) - {""}):
            lines.append(f"from {origin} import {', '.join(sorted(n for n, o in self.origins.items() if o == origin))}")
        names = ", ".join(f'"{name}"' for name in sorted(NAMES))
        return "\n\n".join([HEAD, "\n".join(lines), f"__all__ = [{names}]", *classes]) + "\n"

    def face(self, face: type, original: type) -> str:
        written = {name: node for name, node, _ in members(face) if isinstance(node, Function)}
        found = [(name, node, face.__module__) for name, node in written.items() if name in SPECIAL]
        shown: dict[str, str] = {}
        for name, node, module in (*found, *members(original)):
            public = name in SPECIAL & written.keys() or (hasattr(face, name) and not name.startswith("_"))
            if name not in shown and (public or name == "__aiter__"):
                if name == "__init__":  # its options are those of the original
                    node, module = next((n, m) for i, n, m in members(original) if i == name)
                elif name in written:
                    node, module = written[name], face.__module__
                shown[name] = self.member(name, node, module)
        return "\n".join([f"class {face.__name__}:", quoted(str(face.__doc__), 4), *shown.values()])

    def member(self, name: str, node: Any, module: str) -> str:
        if isinstance(node, ast.AnnAssign):
            return f"    @property\n    def {name}(self) -> {self.type(node.annotation, module)}: ..."
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg) and argument.annotation is not None:
                text = self.type(argument.annotation, module, as_they_are=name == "__init__")
                argument.annotation = ast.parse(text, mode="eval").body
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.need(default, module)
        returns = self.type(node.returns, module).replace("AsyncIterator", "Iterator")
        if "AsyncIterator" in self.origins:
            self.origins["Iterator"] = self.origins.pop("AsyncIterator")
        doc = ast.get_docstring(node)
        body = " ..." if doc is None else f"\n{quoted(doc, 8)}"
        head = "    @property\n" if any(ast.unparse(one) == "property" for one in node.decorator_list) else ""
        return f"{head}    def {name.replace('__aiter__', '__iter__')}({ast.unparse(node.args)}) -> {returns}:{body}"

    def type(self, annotation: Any, module: str, as_they_are: bool = False) -> str:
        """An annotation as text. A callback, and ``as_they_are``, means the classes that have a blocking face."""
        self.need(annotation, module)
        callbacks = [
            n for n in ast.walk(annotation) if isinstance(n, ast.Subscript) and ast.unparse(n.value) == "Callable"
        ]
        for node in (inner for part in ([annotation] if as_they_are else callbacks) for inner in ast.walk(part)):
            if isinstance(node, ast.Name) and node.id in NAMES:
                self.origins[f"{node.id} as Async{node.id}"] = origin_of(node.id, module)
                node.id = f"Async{node.id}"
        return ast.unparse(annotation)

    def need(self, expression: Any, module: str) -> None:
        for node in ast.walk(expression):
            if isinstance(node, ast.Name) and node.id not in NAMES and not hasattr(builtins, node.id):
                origin = origin_of(node.id, module)
                assert self.origins.setdefault(node.id, origin) == origin, f"two things are named {node.id}"


def origin_of(name: str, module: str) -> str:
    """The module that a name of a module comes from; empty for a module."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import | ast.ImportFrom) and any((a.asname or a.name) == name for a in node.names):
            return str(node.module) if isinstance(node, ast.ImportFrom) else ""
    return module


def quoted(doc: str, indent: int) -> str:
    """A docstring as source."""
    lines = inspect.cleandoc(doc).split("\n")
    text = f'"""{lines[0]}"""' if len(lines) == 1 else "\n".join([f'"""{lines[0]}', *lines[1:], '"""'])
    return textwrap.indent(text, " " * indent)


if __name__ == "__main__":
    PATH.write_text(Stub().text(), encoding="utf-8")

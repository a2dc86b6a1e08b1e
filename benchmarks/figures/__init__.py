"""Single quantities of flow-core that no rival has a counterpart for, one file each.

A figure file has `label` (for people), `units` (name of value -> unit) and `measure(quick) -> {name: number}`, which
runs in a fresh process. Adding a figure is adding a file and its name here.
"""

import ast
import importlib
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
NAMES = (
    "plan",
    "million",
    "memory",
    "growth",
    "register",
    "imports",
    "lag",
    "graph",
    "store",
    "postgres",
    "durability",
    "durable_calls",
    "rpc",
    "service",
    "telemetry",
)


def load(name: str) -> ModuleType:
    """The figure's module; ValueError for an unknown name."""
    if name not in NAMES:
        raise ValueError(f"unknown figure {name!r}; there are: {', '.join(NAMES)}")
    return importlib.import_module(f"benchmarks.figures.{name}")


def unit_of(name: str, value: str, folder: Path = HERE) -> str:
    """The unit of one value, read from the figure's source: flow_core need not be importable to print a result."""
    for node in ast.parse((folder / f"{name}.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "units":
            return str(ast.literal_eval(node.value)[value])
    raise ValueError(f"figure {name} does not say its units")

"""The shapes of work, one file each.

A shape file has `label` (one line for people), `cases(quick)` (what is measured, biggest sizes last) and
`dag(nodes)` (the graph). Adding a shape is adding a file and its name here.
"""

import importlib
from types import ModuleType

from benchmarks.workload import Case, Dag

NAMES = ("chain", "fan", "random", "small", "grow", "durable")


def load(name: str) -> ModuleType:
    """The shape's module; ValueError for an unknown name."""
    if name not in NAMES:
        raise ValueError(f"unknown shape {name!r}; there are: {', '.join(NAMES)}")
    return importlib.import_module(f"benchmarks.shapes.{name}")


def all_cases(quick: bool = False) -> list[Case]:
    """Every case of every shape, in the order of the table."""
    return [case for name in NAMES for case in load(name).cases(quick)]


def dag_of(case: Case) -> Dag:
    """The graph of one case."""
    return load(case.shape).dag(case.nodes)

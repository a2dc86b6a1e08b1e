"""Reads WfFormat 1.5: recorded executions of real workflows, as JSON.

Source of the format: https://github.com/wfcommons/WfFormat, version 1.5. Of all it holds, an order and a runtime for
each task are read: ``workflow.specification.tasks[]`` (id, parents, children) and ``workflow.execution.tasks[]`` (id,
runtimeInSeconds). Each complaint names the place in the file.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from flow_core.core.graph import Graph
from flow_core.errors import CycleError, FlowError, did_you_mean

__all__ = ["BadFile", "Workflow", "read_workflow", "step_ids"]

VERSION: Final = "1.5"
TASKS: Final = "workflow.specification.tasks"
RUNTIMES: Final = "workflow.execution.tasks"
#: Room for a number behind an id that was cut: 255 is the limit of ids.
LONGEST: Final = 240


class BadFile(FlowError):
    """The file is not valid WfFormat; the message names the file, the place in it, and how to fix it."""

    code = "bad_file"

    def __init__(self, file: object, place: str, problem: str, fix: str | None = None) -> None:
        super().__init__(f"{file}: {place}: {problem}" if place else f"{file}: {problem}", fix=fix)
        self.place = place


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow as arrays: task i has ``ids[i]``, runs ``runtimes[i]`` seconds, after the tasks of ``parents[i]``.

    Attributes:
        one_sided: order relations that only one of the two tasks declared; they count like the others.
    """

    name: str
    ids: list[str]
    runtimes: list[float]
    parents: list[list[int]]
    one_sided: int

    @property
    def edges(self) -> tuple[list[int], list[int]]:
        """(earlier, later) task indices."""
        pairs = [(parent, child) for child, parents in enumerate(self.parents) for parent in parents]
        return [parent for parent, _ in pairs], [child for _, child in pairs]

    def graph(self) -> Graph:
        """The order as a `core.Graph`. Raises `CycleError` with task indices in its path."""
        return Graph(len(self.ids), *self.edges)


def read_workflow(file: str | Path) -> Workflow:
    """Read and check a file. Raises `BadFile`."""
    return _Reader(file).workflow()


def step_ids(names: Iterable[str]) -> list[str]:
    """A legal step id for each name, no two alike. Legal names stay; in others, ``_`` replaces what is not legal."""
    names = list(names)
    taken = {name for name in names if re.fullmatch(r"[A-Za-z0-9._:-]{1,255}", name)}
    found = []
    for name in names:
        if name not in taken:
            short = re.sub(r"[^A-Za-z0-9._:-]", "_", name)[:LONGEST] or "_"
            name, number = short, 1  # noqa: PLW2901 - the id takes the place of the name
            while name in taken:
                number += 1
                name = f"{short}-{number}"  # noqa: PLW2901
            taken.add(name)
        found.append(name)
    return found


class _Reader:
    """One reading of one file; keeps its name for the errors."""

    def __init__(self, file: str | Path) -> None:
        self.file = file

    def bad(self, place: str, problem: str, fix: str | None = None) -> BadFile:
        return BadFile(self.file, place, problem, fix)

    def workflow(self) -> Workflow:
        root = self.load()
        version = self.field(root, "", "schemaVersion", str)
        if version != VERSION:
            raise self.bad("schemaVersion", f"is {version!r}", f"convert the file to WfFormat {VERSION}")
        tasks = self.tasks(root, "specification")
        if not tasks:
            raise self.bad(TASKS, "is empty", "a workflow needs at least one task")
        index = self.index(tasks, TASKS)
        declared, one_sided = self.order(tasks, index)
        parents: list[list[int]] = [[] for _ in tasks]
        for parent, child in declared:
            parents[child].append(parent)
        name = root.get("name")
        found = Workflow(
            name if isinstance(name, str) and name else Path(self.file).stem,
            list(index), self.runtimes(root, index), parents, one_sided,
        )  # fmt: skip
        self.refuse_cycles(found, declared)
        return found

    def load(self) -> dict[str, Any]:
        try:
            root = json.loads(Path(self.file).read_bytes())
        except OSError as error:
            raise self.bad("", f"can't be read: {error.strerror}", "give the path of a WfFormat file") from error
        except json.JSONDecodeError as error:
            place = f"line {error.lineno}, column {error.colno}"
            raise self.bad(place, f"is not JSON: {error.msg}", f"a WfFormat {VERSION} file is needed") from error
        except (UnicodeDecodeError, RecursionError) as error:
            problem = "nested too deep" if isinstance(error, RecursionError) else "not text in UTF-8"
            raise self.bad("", f"is not JSON: {problem}", f"a WfFormat {VERSION} file is needed") from error
        if not isinstance(root, dict):
            raise self.bad("", f"holds {_kind(root)} instead of an object", f"a WfFormat {VERSION} file is needed")
        return root

    def field(self, holder: Mapping[str, Any], place: str, key: str, kind: type) -> Any:
        """``holder[key]``, which must be there and of this kind."""
        where = f"{place}.{key}" if place else key
        if key not in holder:
            near = did_you_mean(key, map(str, holder))
            raise self.bad(where, "is missing", near or f"add it: WfFormat {VERSION} wants {_NAMES[kind]} here")
        if not isinstance(holder[key], kind):
            raise self.bad(where, f"is {_kind(holder[key])}", f"WfFormat {VERSION} wants {_NAMES[kind]} here")
        return holder[key]

    def tasks(self, root: Mapping[str, Any], part: str) -> list[dict[str, Any]]:
        workflow = self.field(root, "", "workflow", dict)
        tasks: list[Any] = self.field(self.field(workflow, "workflow", part, dict), f"workflow.{part}", "tasks", list)
        for number, task in enumerate(tasks):
            if not isinstance(task, dict):
                raise self.bad(f"workflow.{part}.tasks[{number}]", f"is {_kind(task)}", "each task is an object")
        return tasks

    def index(self, tasks: list[dict[str, Any]], place: str) -> dict[str, int]:
        """Task id -> position. Refuses empty ids and those that come twice."""
        found: dict[str, int] = {}
        for number, task in enumerate(tasks):
            name = self.field(task, f"{place}[{number}]", "id", str)
            where = f"{place}[{number}].id"
            if not name:
                raise self.bad(where, "is empty", "give the task an id")
            if name in found:
                raise self.bad(where, f"{name!r} is the id of {place}[{found[name]}], too", "give each task its own id")
            found[name] = number
        return found

    def order(self, tasks: list[dict[str, Any]], index: dict[str, int]) -> tuple[dict[tuple[int, int], str], int]:
        """(parent, child) -> the place that declares it first; and how many of them only one side declares."""
        by_child: dict[tuple[int, int], str] = {}
        by_parent: dict[tuple[int, int], str] = {}
        for number, task in enumerate(tasks):
            for other, where in self.names(task, number, "parents", index):
                by_child.setdefault((other, number), where)
            for other, where in self.names(task, number, "children", index):
                by_parent.setdefault((number, other), where)
        return by_parent | by_child, len(by_child.keys() ^ by_parent.keys())

    def names(self, task: Mapping[str, Any], number: int, key: str, index: dict[str, int]) -> list[tuple[int, str]]:
        """The tasks that ``task[key]`` names, with the place of each."""
        place = f"{TASKS}[{number}]"
        found = []
        for position, name in enumerate(self.field(task, place, key, list)):
            where = f"{place}.{key}[{position}]"
            if not isinstance(name, str):
                raise self.bad(where, f"is {_kind(name)}", "parents and children are ids of tasks")
            if name not in index:
                near = did_you_mean(name, index) or "name a task of this file, or remove it"
                raise self.bad(where, f"names {name!r}, and there is no such task", near)
            found.append((index[name], where))
        return found

    def runtimes(self, root: Mapping[str, Any], index: dict[str, int]) -> list[float]:
        """Seconds of each task, in the order of the specification."""
        records = self.tasks(root, "execution")
        recorded = self.index(records, RUNTIMES)
        for name, number in recorded.items():
            if name not in index:
                near = did_you_mean(name, index) or f"add the task to {TASKS}, or remove this record"
                raise self.bad(f"{RUNTIMES}[{number}].id", f"{name!r} is no task of the specification", near)
        missing = next((name for name in index if name not in recorded), None)
        if missing is not None:
            fix = f"add an object with its id and runtimeInSeconds (it is {TASKS}[{index[missing]}])"
            raise self.bad(RUNTIMES, f"has no record of task {missing!r}", fix)
        return [self.runtime(records[recorded[name]], f"{RUNTIMES}[{recorded[name]}]") for name in index]

    def runtime(self, record: Mapping[str, Any], place: str) -> float:
        value = self.field(record, place, "runtimeInSeconds", object)
        where = f"{place}.runtimeInSeconds"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.bad(where, f"is {_kind(value)}", "give a number of seconds")
        if not 0 <= value < math.inf:
            raise self.bad(where, f"is {value}", "give seconds, 0 or more")
        return float(value)

    def refuse_cycles(self, workflow: Workflow, declared: Mapping[tuple[int, int], str]) -> None:
        try:
            workflow.graph().order()
        except CycleError as error:
            path = [int(str(node)) for node in error.path]
            shown = " -> ".join(workflow.ids[node] for node in path)
            where = declared[path[-2], path[-1]]
            raise self.bad(where, f"closes a cycle: {shown}", "remove one of these orders") from error


_NAMES: Final[dict[type, str]] = {str: "a string", dict: "an object", list: "an array", object: "a value"}


def _kind(value: Any) -> str:
    """What a JSON value is, in JSON's words."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, (int, float)):
        return f"the number {value}"
    return _NAMES.get(type(value), type(value).__name__)

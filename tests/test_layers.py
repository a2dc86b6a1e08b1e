"""The rules of the house are tests: arrows point down, no circles, classes have parts, nothing turns data into code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import flow_core
from tests import floors, layers

#: Holds flow_core/: the checkout, or site-packages when an installed wheel is tested.
HOME = Path(flow_core.__file__).resolve().parents[1]
#: Holds tests/ and, in a checkout, benchmarks/ and src/.
ROOT = Path(__file__).resolve().parents[1]
GENERATED = {"flow_core/proto/flow_pb2.py"}
CODE = {".hpp", ".py", ".pxd", ".pyx"}

Rule = Callable[[str, str], list[str]]


def files(root: Path, *folders: str) -> list[tuple[str, str]]:
    """(path relative to the root, text) of every source file that somebody wrote."""
    found = []
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.suffix in CODE and name not in GENERATED and not name.startswith("flow_core/include/"):
                found.append((name, path.read_text(encoding="utf-8")))
    return found


PACKAGE = files(HOME, "flow_core")
ELSEWHERE = files(ROOT, "tests", "benchmarks", "src")


def test_the_walk_finds_the_package():
    names = {name for name, _ in PACKAGE}
    assert {"flow_core/model/step.py", "flow_core/core/graph.pxd", "flow_core/rpc/memory.py"} <= names
    assert any(name == "tests/test_layers.py" for name, _ in ELSEWHERE)


@pytest.mark.parametrize(
    "rule",
    [
        layers.import_complaints,
        layers.call_complaints,
        layers.clock_complaints,
        layers.docstring_complaints,
        layers.class_docstring_complaints,
    ],
)
def test_package_keeps(rule: Rule):
    complaints = [complaint for name, text in PACKAGE for complaint in rule(text, name)]
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("rule", [layers.circle_complaints, layers.name_complaints, layers.inheritance_complaints])
def test_package_as_a_whole_keeps(rule: Callable[[list[tuple[str, str]]], list[str]]):
    complaints = rule(PACKAGE)
    assert not complaints, "\n".join(complaints)


def test_tests_benchmarks_and_headers_say_what_they_are():
    complaints = [complaint for name, text in ELSEWHERE for complaint in layers.docstring_complaints(text, name)]
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_pages_show_the_floors_as_they_are(page: str):
    if not (ROOT / "scripts" / "floors").exists():
        pytest.skip("an installed wheel is tested, without the pages")
    text = (ROOT / page).read_text(encoding="utf-8")
    assert floors.filled(text, PACKAGE) == text, "scripts/floors --write brings it up to date"


def test_every_room_has_a_floor_and_every_floor_a_room():
    rooms = {layers.room_of(layers.module_of(name)) for name, _ in PACKAGE} - {""}
    assert rooms <= set(layers.FLOORS)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("flow_core/engine/compiler.py", "from flow_core.runtime.executor import Executor"),
        ("flow_core/engine/compiler.py", "from ..runtime import executor"),
        ("flow_core/engine/compiler.py", "def f():\n    import flow_core.flow"),
        ("flow_core/engine/compiler.py", "import time"),
        ("flow_core/engine/compiler.py", "from asyncio import sleep"),
        ("flow_core/model/step.py", "import flow_core.core.graph"),
        ("flow_core/engine/retry.py", "import random as dice"),
        ("flow_core/stores/memory.py", "from flow_core.operations.registry import OperationRegistry"),
        ("flow_core/rpc/http.py", "from flow_core import pubsub"),
        ("flow_core/runtime/executor.py", "import uvloop"),
        ("flow_core/runtime/executor.py", "from flow_core import Flow"),
        ("flow_core/flow.py", "from flow_core.blocking import Flow"),
        ("flow_core/stores/sqlite/store.py", "import pickle"),
        ("flow_core/cli/show.py", "from flow_core.runtime.executor import Executor"),
        ("flow_core/cli/show.py", "from flow_core.flow import _private"),
        ("flow_core/core/run.pyx", "from flow_core.engine.compiler import Plan"),
        ("flow_core/core/run.pyx", "cimport numpy, flow_core.runtime.scheduler"),
        ("flow_core/core/run.pxd", "from flow_core.engine cimport (\n    plan,  # why\n    policy,\n)"),
        ("flow_core/core/run.pyx", "    import pickle"),
        ("flow_core/attic/old.py", "x = 1"),
    ],
)
def test_a_bad_import_is_caught(path: str, line: str):
    assert layers.import_complaints(line, path) != []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("flow_core/engine/compiler.py", "from flow_core.core.graph import Graph\nfrom flow_core import errors"),
        ("flow_core/engine/compiler.py", "from . import policy\nfrom asyncio import CancelledError"),
        ("flow_core/runtime/loop.py", "import asyncio, uvloop"),
        ("flow_core/proto/encoding.py", "from flow_core.model.step import Step"),
        ("flow_core/rpc/memory.py", "from .base import RpcClient"),
        ("flow_core/blocking.py", "from flow_core.flow import Flow"),
        ("flow_core/cli/show.py", "from flow_core import Flow"),
        ("flow_core/core/run.pxd", "from flow_core.core.plan cimport (\n    Plan,\n)\nfrom libc.stdint cimport int8_t"),
        ("flow_core/core/run.pyx", "# from flow_core.runtime import x\nimport asyncio"),
        ("flow_core/__init__.py", "from flow_core.flow import Flow"),
    ],
)
def test_a_good_import_passes(path: str, line: str):
    assert layers.import_complaints(line, path) == []


@pytest.mark.parametrize("path", ["flow_core/flow.py", "flow_core/core/run.pyx"])
@pytest.mark.parametrize("name", sorted(layers.FORBIDDEN_CALLS))
def test_a_forbidden_call_is_caught(path: str, name: str):
    assert layers.call_complaints(f"x = {name}('1')", path) == [f"{path}: calls {name}()"]
    assert layers.call_complaints(f"x = self.{name}('1')\ny = my_{name}(2)  # {name}(3)", path) == []


@pytest.mark.parametrize(
    ("path", "text", "bad"),
    [
        ("flow_core/engine/a.py", "now = time.time()", True),
        ("flow_core/runtime/a.py", "def f(clock=time.monotonic):\n    return random.random()", True),
        ("flow_core/stores/a.py", "async def f():\n    return secrets.token_hex(4), os.urandom(3)", True),
        ("flow_core/model/a.py", "at = datetime.now(UTC)", True),
        ("flow_core/stores/a.py", "def f(clock=time.time):\n    return clock()", False),
        ("flow_core/model/a.py", "at = datetime.fromtimestamp(seconds, UTC)", False),
        ("flow_core/runtime/loop.py", "now = time.time()", False),
        ("flow_core/cli/a.py", "now = time.time()", False),
    ],
)
def test_a_clock_of_ones_own_is_caught(path: str, text: str, bad: bool):
    assert bool(layers.clock_complaints(text, path)) is bad


A = ("flow_core/engine/a.py", "from flow_core.engine.b import B\nclass A: ...")
FOR_TYPES = (
    "flow_core/engine/b.py",
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from flow_core.engine.a import A\nclass B: ...",
)


def test_a_circle_is_caught():
    assert layers.circle_complaints([A, FOR_TYPES]) == ["a circle of imports: flow_core.engine.a, flow_core.engine.b"]
    lazily = ("flow_core/engine/b.py", "class B:\n    def f(self):\n        from flow_core.engine import a")
    assert layers.circle_complaints([A, lazily]) != []
    compiled = [
        ("flow_core/core/run.pxd", "from flow_core.core.plan cimport Plan"),
        ("flow_core/core/plan.pyx", "from flow_core.core.run cimport Run"),
        ("flow_core/core/run.pyx", "cdef class Run: pass"),
    ]
    assert layers.circle_complaints(compiled) == ["a circle of imports: flow_core.core.plan, flow_core.core.run"]
    assert layers.circle_complaints([A, ("flow_core/engine/b.py", "from flow_core.errors import FlowError")]) == []


def test_a_name_that_two_classes_share_is_caught():
    twins = [("flow_core/rpc/a.py", "class Link: ..."), ("flow_core/core/b.pyx", "cdef class Link:\n    pass")]
    assert layers.name_complaints(twins) == ["class Link stands in flow_core/rpc/a.py and flow_core/core/b.pyx"]
    assert layers.name_complaints([(path, text.replace("Link", "_Link")) for path, text in twins]) == []


@pytest.mark.parametrize(
    ("base", "bad"),
    [
        ("class Base:\n    x = 1", True),
        ("class Base(dict): ...", True),
        ("class Base(ABC): ...", False),
        ("class Base(Protocol): ...", False),
        ("class Base:\n    @abc.abstractmethod\n    def f(self): ...", False),
        ("class Base(ValueError): ...", False),
        ("class FlowError(Exception): ...\nclass Base(FlowError): ...", False),
    ],
)
def test_inheriting_what_another_class_does_is_caught(base: str, bad: bool):
    files = [("flow_core/rpc/base.py", base), ("flow_core/rpc/a.py", "class A(base.Base, Generic[T]): ...")]
    assert bool(layers.inheritance_complaints(files)) is bad


def test_inheriting_is_caught_in_compiled_classes():
    files = [
        ("flow_core/core/a.pyx", "cdef class A(B):\n    pass\n"),
        ("flow_core/core/b.pyx", "cdef class B:\n    pass"),
    ]
    assert layers.inheritance_complaints(files) == [
        "flow_core/core/a.pyx: class A inherits from B of flow_core/core/b.pyx; let it have one"
    ]


@pytest.mark.parametrize(
    ("path", "text", "bad"),
    [
        ("a.py", "class A:\n    x = 1", True),
        ("a.py", 'class A:\n    """See the module."""', True),
        ("a.py", 'class A:\n    """the thing"""', True),
        ("a.py", 'class A:\n    """What a step waits for."""', False),
        ("a.py", "class _A:\n    x = 1", False),
        ("a.pyx", "cdef class A:\n    cdef int x", True),
        ("a.pyx", 'cdef class A(B):\n    """See the module. Twice."""', True),
        ("a.pyx", '@cython.final\ncdef class A:\n    """Threads that wait for work."""', False),
    ],
)
def test_a_class_that_does_not_say_what_it_is_is_caught(path: str, text: str, bad: bool):
    assert bool(layers.class_docstring_complaints(text, path)) is bad


def test_a_missing_docstring_is_caught():
    assert layers.docstring_complaints("import x", "a.py") == ["a.py: no module docstring"]
    assert layers.docstring_complaints("cimport x", "a.pyx") == ["a.pyx: no module docstring"]
    assert layers.docstring_complaints('# cython: x=1\n"""Says."""', "a.pyx") == []
    assert layers.docstring_complaints('"""Says."""', "a.py") == []

from collections.abc import Callable
from enum import IntEnum
from typing import Any

from flow_core.core.graph import Graph
from flow_core.model.step import Step

class Kind(IntEnum):
    KIND_UNBOUND = 0
    KIND_COROUTINE = 1
    KIND_THREAD = 2
    KIND_OPERATION = 3

class Join(IntEnum):
    JOIN_ALL = 0
    JOIN_ANY = 1
    JOIN_DONE = 2

class Source(IntEnum):
    FROM_REQUEST = -1
    FROM_PREDECESSORS = -2
    FROM_MAPPING = -3
    FROM_OUTSIDE = -4

class Flag(IntEnum):
    FLAG_WHEN = 1
    FLAG_TIMEOUT = 2
    FLAG_NO_SLOT = 4
    FLAG_ALLOW_FAIL = 8
    FLAG_POLICY = 16
    FLAG_ONCE = 32

class Plan:
    @property
    def graph(self) -> Graph: ...
    @property
    def items(self) -> tuple[Step, ...]: ...
    @property
    def flow(self) -> str: ...
    @property
    def revision(self) -> int: ...
    @property
    def mappings(self) -> dict[int, Any]: ...
    @property
    def policies(self) -> dict[int, Any]: ...
    @property
    def sinks(self) -> tuple[int, ...]: ...
    def __init__(self, graph: Graph, items: tuple[Step, ...], flow: str = "", revision: int = 0) -> None: ...
    def __len__(self) -> int: ...
    def compile(self) -> list[int]: ...
    def configure(
        self, index: int, *, call: Callable[..., Any] | None, kind: int, arity: int = 1, source: int = ...,
        mapping: tuple[tuple[str, int | str], ...] | str | None = None, flags: int = 0, join: int = ...,
        policy: Any = None,
    ) -> None: ...  # fmt: skip
    def source(self, index: int) -> int: ...
    def index(self, name: str) -> int: ...
    def writers(self, output: str) -> tuple[int, ...]: ...

"""The engines that are compared, one file each.

A peer file has literals that are read without importing it (its library may be missing here):

    label     = "name in the table"
    requires  = ("pip", "names")           # the first one's version is shown
    modes     = {"mode": "async"}          # how it can be used -> what its steps are: "async" or "sync"
    variants  = ("noop", "suspend")        # sync engines cannot suspend a step
    limits    = {"chain": 300}             # optional: largest size (executions, for `small`) worth waiting for
    shapes    = ("durable",)               # optional: those it takes part in; without it all but `durable`
    checks    = "order"                    # optional: the peer cannot hand a step its first predecessor's output

and functions, plain or `async`:

    build(workload) -> plan                # timed apart: everything that can be prepared before the execution
    run(plan) -> value                     # timed: one execution; returns the last step's output, or None
                                           # with workload.case.executions: that many, returns their seconds
    close(plan)                            # optional, not timed
    start(main)                            # optional: runs the coroutine `main` on the peer's loop
"""

import ast
import importlib
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
NAMES = ("flow_core", "flow_core_sqlite", "asyncio", "graphlib", "langgraph", "dask", "hamilton", "taskflow", "dbos")


@dataclass(frozen=True, slots=True)
class Peer:
    """What a peer file says about itself."""

    name: str
    label: str
    requires: tuple[str, ...]
    modes: dict[str, str]
    variants: tuple[str, ...]
    limits: dict[str, int] = field(default_factory=dict)
    checks: str = "order and inputs"
    shapes: tuple[str, ...] = ("chain", "fan", "random", "small", "grow")

    @property
    def install(self) -> str:
        """The command that makes a missing peer available."""
        return f"python -m benchmarks --install {self.name}"

    @property
    def pip(self) -> str:
        return "pip install " + " ".join(f"'{name}'" if "[" in name else name for name in self.requires)


def describe(name: str, folder: Path = HERE) -> Peer:
    """Read a peer's literals from its source. ValueError for an unknown peer or one with a part missing."""
    path = folder / f"{name}.py"
    if not path.is_file():
        raise ValueError(f"unknown peer {name!r}; there are: {', '.join(NAMES)}")
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            key = node.targets[0].id
            if key in Peer.__slots__:
                found[key] = ast.literal_eval(node.value)
    missing = {"label", "requires", "modes", "variants"} - found.keys()
    if missing:
        raise ValueError(f"{path} does not say its {', '.join(sorted(missing))}")
    return Peer(name, **found)


def load(name: str) -> ModuleType:
    """Import a peer with its library; ImportError when that is not installed."""
    return importlib.import_module(f"benchmarks.peers.{name}")

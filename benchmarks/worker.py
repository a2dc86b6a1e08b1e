"""The measuring process: `python -m benchmarks.worker` measures one thing and prints one JSON line.

Started by runner.py with the peer's own Python. Whatever libraries print goes to stderr, so that the one line on stdout
stays alone.
"""

import argparse
import asyncio
import gc
import json
import os
import platform
import sys
import traceback
from importlib import metadata
from typing import Any

from benchmarks import measure, peers, records, shapes
from benchmarks.workload import Case, Workload


def versions(names: tuple[str, ...]) -> dict[str, str]:
    """Installed versions of distributions; a checkout that is not installed says so."""
    found = {}
    for name in names:
        plain = name.partition("[")[0]
        try:
            found[plain] = metadata.version(plain)
        except metadata.PackageNotFoundError:
            found[plain] = "checkout"
    return found


def header(kind: str, requires: tuple[str, ...]) -> dict[str, Any]:
    return {
        "schema": records.VERSION,
        "kind": kind,
        "python": platform.python_version(),
        "versions": versions(requires),
    }


def measure_case(options: argparse.Namespace) -> dict[str, Any]:
    about = peers.describe(options.peer)
    peer = peers.load(options.peer)
    case = Case(options.shape, options.variant, options.nodes, options.executions, options.in_flight)
    dag = shapes.dag_of(case)
    gc.collect()
    gc.freeze()  # no collection during a run shall have to walk through the harness's own graph
    workload = Workload(case, options.mode, dag, ())
    main = measure.measure(peer, workload, about.modes[options.mode], about.checks, options)
    start = getattr(peer, "start", asyncio.run)
    return {
        **header("case", about.requires),
        "peer": options.peer,
        "mode": options.mode,
        "shape": case.shape,
        "variant": case.variant,
        "nodes": dag.nodes,
        "edges": dag.edges,
        "executions": case.executions,
        "in_flight": case.in_flight,
        "checks": about.checks,
        **start(main),
    }


def measure_figure(name: str, quick: bool) -> dict[str, Any]:
    from benchmarks import figures

    values = figures.load(name).measure(quick)
    return {**header("figure", ("flow-core", "numpy", "uvloop")), "figure": name, "values": values}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks.worker", description=__doc__)
    made.add_argument("--figure", help="measure this figure instead of a peer")
    made.add_argument("--quick", action="store_true")
    made.add_argument("--peer")
    made.add_argument("--mode")
    made.add_argument("--shape")
    made.add_argument("--variant", default="noop")
    made.add_argument("--nodes", type=int, default=1000)
    made.add_argument("--executions", type=int, default=0)
    made.add_argument("--in-flight", type=int, default=0)
    made.add_argument("--seconds", type=float, default=0.5, help="repeat for about so long")
    made.add_argument("--least", type=int, default=3, help="repeat at least so often")
    made.add_argument("--prove", action="store_true", help="first check order and inputs in an untimed run")
    return made


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    line = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        record = measure_figure(options.figure, options.quick) if options.figure else measure_case(options)
    except ImportError as error:
        record = {**header("failure", ()), "error": str(error), "missing": True}
    except BaseException as error:  # the runner has to learn of everything, RecursionError and MemoryError included
        traceback.print_exc()
        record = {**header("failure", ()), "error": f"{type(error).__name__}: {error}"[:300]}
    line.write(json.dumps(record) + "\n")
    line.flush()
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())

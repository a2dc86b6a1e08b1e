"""Import time over a bare interpreter, in milliseconds: fresh processes, interleaved, medians.

`core_ms` is `import flow_core` alone, `with_numpy_ms` is `import flow_core, numpy`, `numpy_ms` is NumPy without us, to
tell whose time it is. One untimed start of each comes
first, so that byte code and file cache are warm, as they are for a service that restarts.
"""

import subprocess
import sys
from statistics import median
from time import perf_counter

label = "import over a bare interpreter"
units = {"core_ms": "ms", "with_numpy_ms": "ms", "numpy_ms": "ms", "bare_ms": "ms"}
STATEMENTS = {
    "bare": "pass",
    "core": "import flow_core",
    "with_numpy": "import flow_core, numpy",
    "numpy": "import numpy",
}


def start(statement: str) -> float:
    begun = perf_counter()
    # -E -s: no settings of the environment, among them the one of the runner that forbids writing byte code, without
    # which every start would compile the package again. -I would hide the checkout.
    subprocess.run([sys.executable, "-E", "-s", "-c", statement], check=True)
    return perf_counter() - begun


def measure(quick: bool = False) -> dict[str, float]:
    import flow_core  # noqa: F401  a missing package is to be reported as missing, not as a failed process

    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for statement in STATEMENTS.values():
        start(statement)
    for _ in range(3 if quick else 15):
        for name, statement in STATEMENTS.items():
            times[name].append(start(statement))
    middle = {name: median(values) * 1e3 for name, values in times.items()}
    over = {f"{name}_ms": value - middle["bare"] for name, value in middle.items() if name != "bare"}
    return {**over, "bare_ms": middle["bare"]}

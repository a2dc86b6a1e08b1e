"""Import time over a bare interpreter, in milliseconds: fresh processes, interleaved, medians.

`core_ms` is `import flow_core` alone, `with_numpy_ms` is `import flow_core, numpy`. One untimed start of each comes
first, so that byte code and file cache are warm, as they are for a service that restarts.
"""

import subprocess
import sys
from statistics import median
from time import perf_counter

label = "import over a bare interpreter"
units = {"core_ms": "ms", "with_numpy_ms": "ms", "bare_ms": "ms"}
STATEMENTS = {"bare": "pass", "core": "import flow_core", "numpy": "import flow_core, numpy"}


def start(statement: str) -> float:
    begun = perf_counter()
    # -I would hide the checkout; -E -s keeps the user's own environment out of the reading.
    subprocess.run([sys.executable, "-E", "-s", "-c", statement], check=True)
    return perf_counter() - begun


def measure(quick: bool = False) -> dict[str, float]:
    import flow_core  # noqa: F401  a missing package is to be reported as missing, not as a failed process

    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for name in STATEMENTS:
        start(STATEMENTS[name])
    for _ in range(3 if quick else 15):
        for name, statement in STATEMENTS.items():
            times[name].append(start(statement))
    bare = median(times["bare"])
    return {
        "core_ms": (median(times["core"]) - bare) * 1e3,
        "with_numpy_ms": (median(times["numpy"]) - bare) * 1e3,
        "bare_ms": bare * 1e3,
    }

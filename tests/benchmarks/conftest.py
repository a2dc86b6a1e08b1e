"""Makes `benchmarks` importable: it is part of the checkout and not of the wheel.

Appended, not prepended, so that an installed flow_core is not shadowed by the checkout's. Where the tests were copied
away without the benchmarks there is nothing here to test.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

if (ROOT / "benchmarks" / "__main__.py").is_file():
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
else:
    collect_ignore_glob = ["test_*.py"]

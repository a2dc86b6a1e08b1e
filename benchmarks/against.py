"""Measures this checkout against another one: did a change cost speed?

python -m benchmarks.against ../before --only chain,fan,small,flow_core --rounds 9

Both have to be built (`scripts/bootstrap`). Every round measures each figure in both, in an order that turns with the
rounds, each in a process of its own. What counts is the median of the rounds' ratios: noise that lasts longer than a
round hits both sides. The exit code is 1 when a ratio is above ``--most``.
"""

import argparse
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks import environments, runner
from benchmarks.figures import load
from benchmarks.runner import Job

OURS = frozenset({"flow_core", "flow_core_sqlite"})


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.against", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("before", type=Path, help="the other checkout, built")
    made.add_argument("--only", default="chain,fan,random,small,flow_core", metavar="NAMES")
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--most", type=float, default=1.03, help="highest ratio that is no loss (default 1.03)")
    made.add_argument("--quick", action="store_true", help="small sizes: shows that it works, not how fast")
    made.add_argument("--timeout", type=float, default=180.0, help="seconds a process may take (default 180)")
    return made


def numbers(job: Job, record: dict[str, Any]) -> dict[str, float]:
    """What of a record may be compared; rates are turned round, so that more is worse everywhere."""
    if record["kind"] == "failure":
        return {}
    if not job.figure:
        return {f"{job.title} us/step": record["run_us"]["median"]}
    found = {}
    for name, unit in load(job.figure).units.items():
        value = record["values"].get(name)
        if value and unit not in {"", "x"}:  # ratios already, and counts
            found[f"{job.figure}: {name} ({unit})"] = 1 / value if unit.endswith("/s") else value
    return found


def compare(jobs: list[Job], options: argparse.Namespace) -> dict[str, list[float]]:
    """Name of a number -> the ratio of this checkout to the other one, of each round."""
    found: dict[str, list[float]] = defaultdict(list)
    here, there = environments.ROOT, options.before.resolve()
    for turn in range(options.rounds):
        for job in jobs:
            print(f"round {turn + 1}/{options.rounds}  {job.title}", file=sys.stderr, flush=True)
            measured = {}
            for root in (here, there) if turn % 2 else (there, here):
                record = runner.start(
                    job, environments.DEFAULT, options.timeout, quick=options.quick, prove=False, root=root
                )
                if record["kind"] == "failure":
                    print(f"{root.name}: {record['error']}", file=sys.stderr)
                measured[root] = numbers(job, record)
            for name, value in measured[here].items():
                if name in measured[there]:
                    found[name].append(value / measured[there][name])
    return found


def table(found: dict[str, list[float]], most: float) -> tuple[str, int]:
    """The ratios as Markdown, and how many are above ``most``."""
    rows = ["| what | this / before, median | least | greatest | |", "|---|---|---|---|---|"]
    lost = 0
    for name, ratios in found.items():
        ratio = statistics.median(ratios)
        lost += ratio > most
        word = "SLOWER" if ratio > most else ""
        rows.append(f"| {name} | {ratio:.3f} | {min(ratios):.3f} | {max(ratios):.3f} | {word} |")
    return "\n".join(rows), lost


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if not (options.before / ".venv" / "bin" / "python").exists():
        print(f"{options.before} is not built: run scripts/bootstrap there", file=sys.stderr)
        return 2
    jobs = [job for job in runner.select(options.only, "", options.quick) if not job.peer or job.peer.name in OURS]
    text, lost = table(compare(jobs, options), options.most)
    print(text)
    print(f"{lost} above {options.most}")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())

"""Command line of the benchmarks. Measures, prints tables, writes JSON, and checks promises.

python -m benchmarks                          everything, five rounds (long)
python -m benchmarks --quick                  one short round
python -m benchmarks --only chain,flow_core,asyncio
python -m benchmarks --check                  flow-core against its targets; exit code 1 when one is missed
python -m benchmarks --install                a virtual environment for every rival
"""

import argparse
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import environments, peers, records, report, runner, targets

RESULTS = Path(__file__).parent / "results"
# What `--check` alone has to measure: ourselves, the rival of the ratios, the shapes that targets name, all figures.
CHECKED = "chain,fan,random,small,durable,flow_core,flow_core_sqlite,asyncio,dbos,figures"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--only", default="", metavar="NAMES", help="shapes, peers and figures, separated by commas")
    made.add_argument("--variant", default="", choices=["noop", "suspend"], help="only this kind of step")
    made.add_argument("--rounds", type=int, default=None, help="interleaved repetitions (default 5; 1 with --quick)")
    made.add_argument("--quick", action="store_true", help="one round, small sizes: shows that it works, not how fast")
    made.add_argument("--timeout", type=float, default=180.0, help="seconds a process may take (default 180)")
    made.add_argument("--check", action="store_true", help="compare with the targets, exit 1 when one is missed")
    made.add_argument("--read", type=Path, metavar="FILE", help="measure nothing, show (and check) an earlier result")
    made.add_argument("--write", type=Path, metavar="FILE", help="result file (default benchmarks/results/<date>.json)")
    made.add_argument("--table", default="auto", choices=["auto", "rich", "markdown"])
    made.add_argument("--environments", type=Path, default=environments.DEFAULT, metavar="DIR",
                      help="where the rivals' virtual environments are (default build/peers)")  # fmt: skip
    made.add_argument("--install", nargs="?", const="", default=None, metavar="PEERS",
                      help="create the rivals' virtual environments (all, or these) and stop")  # fmt: skip
    return made


def install(names: str, folder: Path) -> int:
    wanted = [name for name in names.split(",") if name] or list(peers.NAMES)
    failed = [name for name in wanted if environments.install(peers.describe(name), folder)]
    if failed:
        print(f"not installed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def machine() -> dict[str, Any]:
    return {"system": platform.platform(), "machine": platform.machine(), "processors": os.cpu_count()}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    only = options.only or (CHECKED if options.check else "")
    jobs = runner.select(only, options.variant, options.quick)
    count = options.rounds or (1 if options.quick else 5)

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    found = runner.rounds(jobs, count, options.environments, options.timeout, quick=options.quick, tell=tell)
    return {
        "schema": records.VERSION,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "rounds": count,
        "quick": options.quick,
        "rows": [runner.merge(job, lines) for job, lines in found],
    }


def write(result: dict[str, Any], path: Path | None) -> Path:
    if path is None:
        path = RESULTS / (result["time"].replace(":", "").replace("+0000", "Z") + ".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return path


def present(result: dict[str, Any], style: str, *, check: bool) -> int:
    """Print the tables; the exit code."""
    rows = result["rows"]
    tables = report.case_tables(rows)
    if any("figure" in row for row in rows):
        tables.append(report.figure_table(rows))
    verdicts = targets.check(rows) if check else []
    if check:
        tables.append(report.target_table(verdicts))
    report.show(tables, style)
    missed = sum(not verdict.reached for verdict in verdicts)
    if check:
        print(f"{len(verdicts) - missed} of {len(verdicts)} targets reached")
        if result.get("quick"):
            print("measured with --quick: one round at smaller sizes, which settles nothing")
    return 1 if missed else 0


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        if options.install is not None:
            return install(options.install, options.environments)
        if options.read:
            result = json.loads(options.read.read_text(encoding="utf-8"))
        else:
            result = measure(options)
            print(f"written: {os.path.relpath(write(result, options.write))}", file=sys.stderr)
    except ValueError as error:
        print(f"python -m benchmarks: {error}", file=sys.stderr)
        return 2
    return present(result, options.table, check=options.check)


if __name__ == "__main__":
    sys.exit(main())

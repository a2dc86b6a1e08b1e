"""Which processes are started, in which order, and how their lines become one result.

The machine is noisy and drifts, so repetitions are interleaved: every case and peer once a round, medians over the
rounds. Proving an engine's order is part of the first round only. Nothing is printed here but progress on stderr.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import environments, figures, peers, records, shapes
from benchmarks.peers import Peer
from benchmarks.workload import Case


@dataclass(frozen=True, slots=True)
class Job:
    """One cell of the table: a case in one mode of one peer, or a figure."""

    case: Case | None = None
    wanted: Case | None = None  # the case before it was cut down to the peer's limit
    peer: Peer | None = None
    mode: str = ""
    figure: str = ""

    @property
    def title(self) -> str:
        if self.case is None or self.peer is None:
            return f"figure {self.figure}"
        return f"{self.case.title}: {self.peer.name}/{self.mode}"


def cut(case: Case, peer: Peer) -> Case | None:
    """The case at a size the peer can bear; None when it makes no sense at another size or in this variant."""
    if case.variant not in peer.variants or case.shape not in peer.shapes:
        return None
    limit = peer.limits.get(case.shape)
    if limit is None:
        return case
    if case.executions:
        count = min(case.executions, limit)
        return replace(case, executions=count, in_flight=min(case.in_flight, count))
    if case.shape == "grow":
        return case if case.nodes <= limit else None
    return replace(case, nodes=min(case.nodes, limit))


def plan_jobs(cases: Iterable[Case], chosen: Iterable[Peer], figure_names: Iterable[str]) -> list[Job]:
    """All jobs of one round. A mode whose steps are plain functions has no suspending variant."""
    jobs = []
    chosen = list(chosen)
    for case in cases:
        for peer in chosen:
            for mode, style in peer.modes.items():
                fitting = cut(case, peer)
                if fitting is not None and not (style == "sync" and case.variant == "suspend"):
                    jobs.append(Job(fitting, case, peer, mode))
    return jobs + [Job(figure=name) for name in figure_names]


def command(job: Job, python: Path, *, quick: bool, prove: bool) -> list[str]:
    base = [str(python), "-m", "benchmarks.worker"]
    if job.case is None or job.peer is None:
        return [*base, "--figure", job.figure, *(["--quick"] if quick else [])]
    case = job.case
    big = case.steps >= 300_000
    made = [*base, "--peer", job.peer.name, "--mode", job.mode, "--shape", case.shape, "--variant", case.variant]
    made += ["--nodes", str(case.nodes), "--executions", str(case.executions), "--in-flight", str(case.in_flight)]
    made += ["--seconds", "0.1" if quick else "0.5", "--least", "1" if big or quick else "3"]
    return [*made, "--prove"] if prove else made


def start(
    job: Job, folder: Path, timeout: float, *, quick: bool, prove: bool, root: Path = environments.ROOT
) -> dict[str, Any]:
    """Run one process; its record, or a failure record when it printed no sound line.

    Args:
        folder: where the rivals' environments are.
        root: the checkout that is measured; another than this one brings its own interpreter in ``.venv``.
    """
    python = environments.python_of(job.peer, folder) if job.peer else Path(sys.executable)
    if root != environments.ROOT:
        python = root / ".venv" / "bin" / "python"
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command(job, python, quick=quick, prove=prove),
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return failure(f"no result within {timeout:.0f} s")
    lines = done.stdout.splitlines()
    if len(lines) != 1:
        return failure(f"exit code {done.returncode}, {len(lines)} lines; {last_line(done.stderr)}")
    try:
        record = json.loads(lines[0])
    except ValueError as error:
        return failure(f"not JSON: {error}")
    wrong = records.problems(record)
    return failure("bad record: " + "; ".join(wrong)) if wrong else record


def failure(text: str) -> dict[str, Any]:
    return {"schema": records.VERSION, "kind": "failure", "python": "", "versions": {}, "error": text}


def last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:200] if lines else "nothing on stderr"


def rounds(
    jobs: list[Job], count: int, folder: Path, timeout: float, *, quick: bool, tell: Callable[[str], None]
) -> list[tuple[Job, list[dict[str, Any]]]]:
    """Every job once a round. A failed job is not tried again, nor another mode of a peer that is not installed."""
    absent: dict[str, dict[str, Any]] = {}
    collected: list[tuple[Job, list[dict[str, Any]]]] = [(job, []) for job in jobs]
    for number in range(count):
        for index, (job, found) in enumerate(collected):
            if found and found[-1]["kind"] == "failure":
                continue
            name = job.peer.name if job.peer else "flow_core"
            if name not in absent:
                tell(f"round {number + 1}/{count}  {index + 1}/{len(jobs)}  {job.title}")
                found.append(start(job, folder, timeout, quick=quick, prove=number == 0))
                if found[-1].get("missing"):
                    absent[name] = found[-1]
            else:
                found.append(absent[name])
    return collected


def median_of(found: list[dict[str, Any]], *path: str) -> float | None:
    """Median over rounds of a nested field; None when no round has it."""
    values = []
    for record in found:
        value: Any = record
        for part in path:
            value = None if value is None else value.get(part)
        if value is not None:
            values.append(value)
    return statistics.median(values) if values else None


def merge(job: Job, found: list[dict[str, Any]]) -> dict[str, Any]:
    """The records of all rounds as one: medians of medians, the least of the minima."""
    good = [record for record in found if record["kind"] != "failure"]
    if not good or found[-1]["kind"] == "failure":
        return failed(job, found[-1])
    merged = {**good[0], "rounds": len(good)}
    if job.figure:
        names = good[0]["values"]
        merged["values"] = {name: median_of(good, "values", name) for name in names}
        merged["spread"] = {name: spread([record["values"][name] for record in good]) for name in names}
        return merged
    for name in ("run_us", "build_us"):
        merged[name] = {"median": median_of(good, name, "median"), "min": min(record[name]["min"] for record in good)}
    merged["spread"] = spread([record["run_us"]["median"] for record in good])
    if merged["latency_ms"]:
        merged["latency_ms"] = {part: median_of(good, "latency_ms", part) for part in ("p50", "p99")}
    merged["bytes_step"] = median_of(good, "bytes_step")
    merged["verified"] = any(record["verified"] for record in good)
    merged["wanted"] = wanted(job)
    return merged


def spread(values: list[float]) -> list[float]:
    return [min(values), max(values)]


def wanted(job: Job) -> dict[str, int]:
    """The size the row stands for, which a slow peer's own size may fall short of."""
    case = job.wanted
    return {"nodes": case.nodes, "executions": case.executions, "in_flight": case.in_flight} if case else {}


def failed(job: Job, record: dict[str, Any]) -> dict[str, Any]:
    merged = dict(record)
    if job.peer is None or job.case is None:
        return {**merged, "figure": job.figure}
    if merged.get("missing"):
        merged["install"] = f"{job.peer.install}   # {job.peer.pip}"
    return {
        **merged,
        "peer": job.peer.name,
        "mode": job.mode,
        "shape": job.case.shape,
        "variant": job.case.variant,
        "wanted": wanted(job),
    }


def select(only: str, variant: str, quick: bool) -> list[Job]:
    """Jobs for `--only`: names of shapes, peers and figures, or `figures` for all of these; ValueError for others.

    Naming only shapes takes all peers and the reverse; figures are left out as soon as something else is named.
    """
    words = [word.strip() for word in only.split(",") if word.strip()]
    known = {*shapes.NAMES, *peers.NAMES, *figures.NAMES, "figures"}
    unknown = [word for word in words if word not in known]
    if unknown:
        raise ValueError(f"unknown name {unknown[0]!r}; shapes: {', '.join(shapes.NAMES)}; "
                         f"peers: {', '.join(peers.NAMES)}; figures: {', '.join(figures.NAMES)}")  # fmt: skip
    some_shapes = [name for name in shapes.NAMES if name in words]
    some_peers = [name for name in peers.NAMES if name in words]
    some_figures = [name for name in figures.NAMES if name in words or "figures" in words or not words]
    if some_figures and words and not some_shapes and not some_peers:
        return plan_jobs([], [], some_figures)
    cases = [case for case in shapes.all_cases(quick) if not some_shapes or case.shape in some_shapes]
    cases = [case for case in cases if variant in ("", case.variant)]
    return plan_jobs(cases, [peers.describe(name) for name in some_peers or peers.NAMES], some_figures)

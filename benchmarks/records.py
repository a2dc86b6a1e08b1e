"""The JSON a measuring process prints: field names, types, and the check that a line has them.

One line is either a `case` record (a peer on a shape), a `figure` record (a single quantity), or a `failure` of
either, which has `error` or `missing` instead of measurements.
"""

from typing import Any

VERSION = 1
NUMBER = (int, float)

COMMON: dict[str, Any] = {"schema": int, "kind": str, "python": str, "versions": dict}
CASE: dict[str, Any] = {
    "peer": str,
    "mode": str,
    "shape": str,
    "variant": str,
    "nodes": int,
    "edges": int,
    "executions": int,
    "in_flight": int,
    "repetitions": int,
    "run_us": dict,
    "build_us": dict,
    "latency_ms": (dict, type(None)),
    "bytes_step": (*NUMBER, type(None)),
    "verified": (bool, type(None)),
    "checks": str,
}
FIGURE: dict[str, Any] = {"figure": str, "values": dict}
FAILURE: dict[str, Any] = {"error": str}


def problems(record: Any) -> list[str]:
    """What is wrong with a record; empty when it is fine."""
    if not isinstance(record, dict):
        return [f"a record is an object, not {type(record).__name__}"]
    kinds = {"case": CASE, "figure": FIGURE, "failure": FAILURE}
    kind = record.get("kind")
    if kind not in kinds:
        return [f"kind is {kind!r}, not one of {', '.join(kinds)}"]
    wanted = {**COMMON, **kinds[kind]}
    found = [f"{name} is missing" for name in wanted if name not in record]
    for name, types in wanted.items():
        if name in record and not isinstance(record[name], types):
            found.append(f"{name} is {record[name]!r:.60}")
    if not found and record["schema"] != VERSION:
        found.append(f"schema is {record['schema']}, this code reads {VERSION}")
    if not found and kind == "case":
        found += [
            f"{name}.{part} is not a number"
            for name in ("run_us", "build_us")
            for part in ("median", "min")
            if not isinstance(record[name].get(part), NUMBER)
        ]
    if not found and kind == "figure":
        found += [f"values.{name} is not a number" for name, value in record["values"].items() if not _number(value)]
    return found


def _number(value: Any) -> bool:
    return isinstance(value, NUMBER) and not isinstance(value, bool)

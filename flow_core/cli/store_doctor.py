"""``flow-core doctor sqlite://...``: is a store sound, and what is in it?"""

from __future__ import annotations

from collections import Counter
from typing import Any

from flow_core import run
from flow_core.urls import store as store_of

__all__ = ["doctor_of_store"]


async def examine(url: str) -> dict[str, Any]:
    """Everything that is shown, by name."""
    async with store_of(url) as store:
        wrong = [*await store.check()]
        unfinished: Counter[str] = Counter()
        async for info in store.scan():
            unfinished[info.status.name] += 1
        flows = {definition.flow: definition.revision for definition in await store.definitions()}
        return {"problems": wrong, "unfinished": dict(unfinished), "flows": flows, "owners": [*await store.owners()]}


def doctor_of_store(url: str, *, as_json: bool) -> int:
    """Examine a store and print what was found; the number of problems. Raises `StoreError`, `InvalidOption`."""
    found = run(examine(url))
    if as_json:
        import json

        print(json.dumps(found))
    else:
        flows = ", ".join(f"{name} (revision {revision})" for name, revision in found["flows"].items())
        unfinished = ", ".join(f"{count} {status}" for status, count in found["unfinished"].items())
        print(f"flows       {flows or 'none'}")
        print(f"unfinished  {unfinished or 'none'}")
        print(f"executors   {', '.join(found['owners']) or 'none'}")
        for problem in found["problems"]:
            print(f"PROBLEM     {problem}")
        print("sound" if not found["problems"] else f"{len(found['problems'])} problems: restore a backup")
    return len(found["problems"])

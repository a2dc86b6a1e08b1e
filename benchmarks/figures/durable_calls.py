"""Through how many Python functions, and files, one durable execution goes: one step, SQLite, warm.

A function counts once for each call and for each time it goes on after a wait, on the loop's thread; what is compiled
does not count. `calls` are all of them, `own_calls` those of flow_core, which are in so many `files`.
`python -m benchmarks.figures.durable_calls` lists them in order.
"""

import sys
import tempfile
from pathlib import Path
from types import FrameType

label = "Python calls of one warm durable execution"
units = {"calls": "calls", "own_calls": "calls", "files": "files"}

PAYLOAD = b"x" * 64
WARM = 100


async def work(value: bytes) -> bytes:
    return PAYLOAD


async def trace() -> list[tuple[str, str]]:
    """(file, function) of each call, in order."""
    from flow_core import Flow, Step

    found: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename != __file__:
            found.append((frame.f_code.co_filename, frame.f_code.co_qualname))

    with tempfile.TemporaryDirectory() as folder:
        async with Flow(store=f"sqlite:///{folder}/flow.db") as flow:
            await flow.create_step("one", Step("work", work))
            for _ in range(WARM):
                await flow.call("one", PAYLOAD)
            sys.setprofile(note)
            try:
                await flow.call("one", PAYLOAD)
            finally:
                sys.setprofile(None)
    return found


def measure(quick: bool = False) -> dict[str, float]:
    import flow_core

    found = flow_core.run(trace())
    own = [file for file, _ in found if Path(file).is_relative_to(Path(flow_core.__file__).parent)]
    return {"calls": len(found), "own_calls": len(own), "files": len(set(own))}


if __name__ == "__main__":
    from flow_core import run

    for number, (file, function) in enumerate(run(trace()), 1):
        print(f"{number:3} {Path(file).parent.name}/{Path(file).name:24} {function}")
    print(measure())

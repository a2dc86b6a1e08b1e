"""``flow-core demo --crash``: a process that is killed in the middle of an order, and one that finishes it.

The order's effects go to a ledger, a file that stands for the outside world: each line names the process, the step and
the idempotency key. The first process kills itself with SIGKILL after it has charged the card and before that could be
recorded; so the second one charges again, under the same key, and repeats nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from flow_core import Executor, Flow, FlowError, Retry, Step, StepContext, run

__all__ = ["crash_demo", "play"]

FLOW, ORDER = "checkout", "order-1"
#: Step -> the steps it runs after. A reservation, a payment, a parcel with its label and a mail, a receipt.
STEPS = {
    "reserve": [], "charge": ["reserve"], "label": ["charge"], "mail": ["charge"], "receipt": ["label", "mail"],
}  # fmt: skip
#: The step in which the first process dies: its effect has happened, its outcome is not recorded.
FATAL = "charge"


def effect(ledger: Path, number: int, step: str, ctx: StepContext, value: Any) -> Any:
    """What a step does to the world: one line in the ledger."""
    line = {"process": number, "step": step, "key": ctx.headers()["flow-idempotency-key"]}
    with open(ledger, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())
    print(f"    process {number}: {step}", flush=True)
    if number == 1 and step == FATAL:
        print(f"    process {number}: kill -9 {os.getpid()}", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return {step: "done"}


async def order(folder: Path, number: int) -> None:
    """One process: it registers the steps, and begins or continues the order."""
    executor = Executor(name="crash-demo")
    async with Flow(store=f"sqlite:///{folder / 'flow.db'}", executor=executor) as flow:
        steps = [
            Step(step, partial(effect, folder / "ledger", number, step), after=after, retry=Retry(2, initial=0.01))
            for step, after in STEPS.items()
        ]
        await flow.create_steps(FLOW, steps)
        # The same id is the same execution: the second process does not order twice, it waits for the first's order.
        execution = await flow.execute(FLOW, {"order": 1}, id=ORDER)
        print(f"    process {number}: the order is {execution.status.name}", flush=True)


def play(folder: str, number: int) -> None:
    """What a child process does."""
    run(order(Path(folder), number))


def crash_demo(out: TextIO | None = None) -> int:
    """Tell the story; returns how many steps were run again, which should be one.

    Raises:
        FlowError: it did not go as told.
    """
    say = partial(print, file=out or sys.stdout, flush=True)
    with tempfile.TemporaryDirectory(prefix="flow-core-") as name:
        folder = Path(name)
        say(f"An order of {len(STEPS)} steps, kept in SQLite. The first process begins it.")
        code = child(folder, 1, say)
        if code != -signal.SIGKILL:
            raise FlowError(f"the first process was to be killed, but ended with {code}")
        say("It was killed: no clean-up, no goodbye. A second process starts on the same file.")
        code = child(folder, 2, say)
        if code != 0:
            raise FlowError(f"the second process ended with {code}")
        lines = (folder / "ledger").read_text(encoding="utf-8").splitlines()
        return summary([json.loads(line) for line in lines], say)


def child(folder: Path, number: int, say: Callable[[str], None]) -> int:
    """Run one process and pass on what it says; its exit code."""
    script = "import sys; from flow_core.demo.crash import play; play(sys.argv[1], int(sys.argv[2]))"
    command = [sys.executable, "-c", script, str(folder), str(number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own script
        assert process.stdout is not None
        for line in process.stdout:
            say(line.rstrip("\n"))
    return process.returncode


def summary(effects: list[dict[str, Any]], say: Callable[[str], None]) -> int:
    """What was run again, and what was not."""
    say("")
    say(f"{'step':<10}{'ran in process':<17}idempotency key")
    again = 0
    for step in STEPS:
        found = [one for one in effects if one["step"] == step]
        keys = {one["key"] for one in found}
        if len(keys) != 1:
            raise FlowError(f"step {step!r} took effect under {len(keys)} keys")
        ran = " and ".join(str(one["process"]) for one in found)
        note = "  <- run again: its outcome was not recorded" if len(found) > 1 else ""
        again += len(found) - 1
        say(f"{step:<10}{ran:<17}{keys.pop()}{note}")
    say("")
    say(f"{again} of {len(STEPS)} steps ran again, under the same key; those with a recorded outcome did not.")
    return again

"""What the processes of the shop share: how they speak, end, and register. Nothing of what any of them does."""

import asyncio
import os
import signal
import sys

from flow_core import Step
from flow_core.client.remote_flow import RemoteFlow
from flow_core.errors import DuplicateStep

FLOW = "checkout"


def say(who: str, what: str) -> None:
    """A line on stdout, at once: all processes write to the same terminal."""
    sys.stdout.write(f"{who:<9} | {what}\n")  # one write: `print` may make two of it
    sys.stdout.flush()


def stop_signal() -> asyncio.Event:
    """Set when this process is asked to end, by SIGTERM or ctrl-C."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    return asked


async def register(flow: RemoteFlow, owner: str, step: Step) -> None:
    """Put a step into the flow. What is there already stays; what an older version registered is replaced."""
    try:
        revision = await flow.create_step(FLOW, step, owner=owner)
    except DuplicateStep:
        revision = await flow.replace_step(FLOW, step.id, step)
    say(owner, f"registered {step.id}: flow {FLOW!r} is at revision {revision}")
    ready()


def ready() -> None:
    """Tell who started this process that it does its work from now on; nobody when it was started by hand."""
    if place := os.environ.get("READY_FD"):
        os.write(int(place), b"1")

"""Child processes that live no longer than a block, and whose failure ends it.

Lives here: starting and ending them. Does not live here: which (``main.py``).
"""

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

HERE = Path(__file__).parent
#: Seconds that a process gets to end.
PATIENCE = 20


class ProcessFailed(Exception):
    """A process ended with an exit code other than 0."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _one_byte(pipe: int) -> None:
    """Wait until something comes out of a pipe, or its other end is closed."""
    with open(pipe, "rb", buffering=0) as file:
        file.read(1)


class Processes:
    """Made by `processes`."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._ending = False
        #: Name, process, how it is asked to end.
        self._children: list[tuple[str, asyncio.subprocess.Process, signal.Signals]] = []

    async def python(self, file: str, *arguments: str) -> None:
        """Start a program of this folder, and return when it says that it is ready (or has ended)."""
        heard, said = os.pipe()
        try:
            environment = {**os.environ, "READY_FD": str(said)}
            command = (sys.executable, str(HERE / file), *arguments)
            self._keep(file, await asyncio.create_subprocess_exec(*command, env=environment, pass_fds=[said]))
        finally:
            os.close(said)  # it has its own, which ends with it
        await asyncio.to_thread(_one_byte, heard)

    async def nats(self, port: int) -> None:
        """Start a nats-server and return when it serves. It says so on stderr."""
        program = shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin")
        if program is None:
            raise ProcessFailed("nats-server is not installed: apt-get install nats-server")
        child = await asyncio.create_subprocess_exec(
            program, "-a", "127.0.0.1", "-p", str(port), stderr=asyncio.subprocess.PIPE
        )
        self._keep("nats-server", child, signal.SIGINT)  # for which it exits 0
        assert child.stderr is not None
        async for line in child.stderr:
            if b"Server is ready" in line:
                return

    def _keep(self, name: str, child: asyncio.subprocess.Process, end: signal.Signals = signal.SIGTERM) -> None:
        self._children.append((name, child, end))
        self._group.create_task(self._watch(name, child))

    async def _watch(self, name: str, child: asyncio.subprocess.Process) -> None:
        code = await child.wait()
        if code and not self._ending:  # cancels the block, and comes out of it
            raise ProcessFailed(f"{name} ended with exit code {code}")

    async def end(self) -> list[str]:
        """Ask one after the other to end. Returns which did not do it in good order.

        In the order of their start: the flow server finishes its executions while the services are there. What was
        started before it, the broker, comes last.
        """
        self._ending = True
        complaints = []
        for name, child, how in self._children[1:] + self._children[:1]:
            if child.returncode is None:
                child.send_signal(how)
            try:
                await asyncio.wait_for(child.wait(), PATIENCE)
            except TimeoutError:
                child.kill()
            if await child.wait():
                complaints.append(f"{name} ended with exit code {child.returncode}")
        return complaints


@asynccontextmanager
async def processes() -> AsyncIterator[Processes]:
    """A block with child processes. Raises `ProcessFailed`, in a group, when one of them fails."""
    async with asyncio.TaskGroup() as group:
        children = Processes(group)
        try:
            yield children
        finally:
            complaints = await children.end()
        if complaints:  # not while another error is under way, of which they may come
            raise ProcessFailed("; ".join(complaints))

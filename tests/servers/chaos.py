"""`ChaosProxy`: a TCP proxy on loopback that does to connections what networks do.

Lives here: the faults. Does not live here: when they strike (tests set ``proxy.fault``) and what must hold then.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

KINDS = ("pass", "reset", "stall", "drip", "half_open", "refuse")


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to what the server says.

    ``pass``: nothing. ``reset``: after ``after`` bytes the connection is reset. ``stall``: after ``after`` bytes
    nothing comes any more. ``drip``: a byte every ``pace`` seconds. ``half_open``: neither side hears from the other
    again, nor that it has gone. ``refuse``: the connection is closed as soon as it is there.
    """

    kind: str = "pass"
    after: int = 0
    pace: float = 1.0


PASS = Fault()


class ChaosProxy:
    """``async with ChaosProxy(port_of_server) as proxy``: connect to ``proxy.port``.

    Attributes:
        fault: a `Fault`, or a callable that gives one for each new connection (they are numbered from 1).
        accepted: connections so far.
        open: connections now.
    """

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.port = 0
        self.fault: Fault | Callable[[int], Fault] = PASS
        self.accepted = 0
        self.open = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        self.open += 1
        fault = self.fault if isinstance(self.fault, Fault) else self.fault(self.accepted)
        upstream = None
        try:
            if fault.kind == "refuse":
                return
            there, upstream = await asyncio.open_connection("127.0.0.1", self.upstream)
            ways = [
                asyncio.ensure_future(way)
                for way in (self._up(reader, upstream, fault), self._down(there, writer, fault))
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except (asyncio.CancelledError, ConnectionError):
            pass  # one side has gone, or the test is over
        finally:
            self.open -= 1
            self._tasks.discard(task)
            for side in (writer, upstream):
                if side is not None:
                    side.transport.abort()

    def _current(self, fault: Fault) -> Fault:
        """A fault set while connections are open strikes those, too."""
        return self.fault if isinstance(self.fault, Fault) else fault

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault) -> None:
        while chunk := await reader.read(65536):
            if self._current(fault).kind != "half_open":
                writer.write(chunk)
                await writer.drain()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault) -> None:
        said = 0
        while chunk := await reader.read(65536):
            now = self._current(fault)
            room = max(0, now.after - said)
            said += len(chunk)
            if now.kind == "pass" or (now.kind in ("reset", "stall") and len(chunk) <= room):
                writer.write(chunk)
                await writer.drain()
            elif now.kind == "drip":
                for byte in chunk:
                    writer.write(bytes((byte,)))
                    await writer.drain()
                    await asyncio.sleep(now.pace)
            elif now.kind == "half_open":
                continue
            else:
                writer.write(chunk[:room])
                await writer.drain()
                if now.kind == "reset":
                    _reset(writer)
                    return
                await asyncio.get_running_loop().create_future()  # until somebody hangs up
        if self._current(fault).kind == "half_open":
            await asyncio.get_running_loop().create_future()  # nobody tells the client that the server has gone


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with an RST in place of a FIN."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()

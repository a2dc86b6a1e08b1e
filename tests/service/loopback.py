"""What the tests of the service share: a server on loopback, a client of it, and calls of raw bytes.

Lives here: making and ending them. Does not live here: scenarios.
"""

import asyncio
import inspect
from contextlib import asynccontextmanager

import grpc
import grpc.aio

from flow_core import Flow, LocalOperation, Step, connect
from flow_core.service.server import FlowServer

PATIENCE = 20


@asynccontextmanager
async def serving(flow=None, *, service=None, **options):
    """(server, RemoteFlow) of a new server, for ``flow`` or a new one."""
    async with (
        flow or Flow() as own,
        FlowServer(own, **options) as server,
        connect(server.url, service=service) as remote,
    ):
        yield server, remote


async def value_of(thing):
    """What is async over the network and at hand in the process."""
    return await thing if inspect.isawaitable(thing) else thing


async def until(condition):
    """Turn the loop until something has become true: what happens at the other end of a socket has no event here."""
    async with asyncio.timeout(PATIENCE):
        while not await value_of(condition()):
            await asyncio.sleep(0.002)


def local(name, function=None, *, step=None, **options):
    """A step that calls a function which the receiver has to bind under this name."""
    return Step(step or name, LocalOperation(function or (lambda value: value), name=name), **options)


@asynccontextmanager
async def raw(server, path, kind="unary_unary"):
    """A callable of raw bytes."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield getattr(channel, kind)(path)


async def status_of(call):
    """Name of the status that a call ends with."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"

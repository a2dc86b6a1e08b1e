"""Many services change one flow at the same time: no update is lost, every revision is consistent."""

import asyncio
import random

import pytest

from flow_core import ClientCallOperation, Flow, Step, connect, errors
from flow_core.proto import flow_pb2 as pb
from flow_core.service.server import FlowServer
from tests import aio

CLIENTS, STEPS = 50, 4


def step(owner, n, **options):
    return Step(f"{owner}.{n}", ClientCallOperation(owner, "work"), **options)


async def live(client, owner, dice, made):
    """One service: registers its steps, and replaces and deletes some; with compare-and-set now and then."""
    for n in range(STEPS):
        made.append((await client.create_step("shared", step(owner, n), owner=owner), owner))
        what = dice.randrange(8)
        if what < 2:
            made.append((await client.delete_step("shared", f"{owner}.{n}"), owner))
        elif what < 4:
            made.append((await client.replace_step("shared", f"{owner}.{n}", step(owner, n, timeout=9.0)), owner))
        elif what == 4 and n == 0:
            while True:  # on top of what is there: whoever was first wins, the other looks again
                revision = await client.revision("shared")
                try:
                    new = step(owner, n, retry=2)
                    made.append((await client.replace_step("shared", step(owner, n).id, new, revision=revision), owner))
                    break
                except errors.RevisionConflict as conflict:
                    assert conflict.actual > conflict.expected == revision  # noqa: PT017 - losing is as good as winning


def replayed(changes, revision):
    """Ids that are there at a revision, as the changes tell it."""
    there = set()
    for change in changes:
        if change.revision <= revision:
            there = there - set(change.deleted) | set(change.created)
    return there


@pytest.mark.parametrize("store", [None, "sqlite"])
def test_fifty_services_change_one_flow_at_once(tmp_path, store):
    async def main():
        flow = Flow(store=f"sqlite:///{tmp_path}/flow.db" if store else None)
        async with flow, FlowServer(flow) as server:
            clients = [connect(server.url) for _ in range(CLIENTS)]
            await clients[0].create_step("shared", step("first", 0))
            made, seen, over = [], [], asyncio.Event()

            async def look():
                while not over.is_set():
                    reply = await clients[0].channel.call("Lookup", pb.LookupRequest(flow="shared"))
                    seen.append((reply.revision, {owned.step.name for owned in reply.steps}))

            looking = asyncio.ensure_future(look())
            await asyncio.gather(*(live(client, f"s{n}", random.Random(n), made) for n, client in enumerate(clients)))
            over.set()
            await looking
            revisions = [revision for revision, _ in made]
            assert sorted(revisions) == list(range(2, len(made) + 2))  # each change is one revision, and none is lost
            changes, watch = [], clients[0].watch("shared", since=0)
            while len(changes) < len(made) + 1:
                changes.append(await anext(watch))
            await watch.aclose()
            for revision, there in seen:
                assert there == replayed(changes, revision)
            last = await clients[1].lookup("shared")
            assert {one.id for one in last} == replayed(changes, len(made) + 1)
            assert len([entry async for entry in clients[0].audit("shared")]) == len(made) + 1
            for client in clients:
                await client.close()

    aio.run(main())

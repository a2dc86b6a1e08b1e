"""Streams of changes, the audit log, owners and their leases."""

import asyncio
import hashlib

import pytest

from flow_core import ClientCallOperation, Flow, Step, errors
from flow_core.model.options import Author
from flow_core.proto import flow_pb2 as pb
from flow_core.proto.encoding import encode_step
from tests import aio
from tests.service.loopback import local, serving, until


def play(scenario, flow=None, **options):
    async def main():
        async with serving(flow, **options) as (server, client):
            await scenario(server, client)

    aio.run(main())


async def take(stream, count):
    found = []
    async with asyncio.timeout(20):
        async for one in stream:
            found.append(one)
            if len(found) == count:
                break
    return found


@pytest.fixture(params=["memory", "sqlite"])
def flow(request, tmp_path):
    return Flow(store=None if request.param == "memory" else f"sqlite:///{tmp_path}/flow.db")


def test_a_watcher_hears_of_every_change_past_and_to_come(flow):
    async def scenario(server, client):
        await client.create_steps("f", [local("a"), local("b")], owner="one")
        await client.replace_step("f", "a", local("c"))
        watch = client.watch("f", since=0)
        past = await take(watch, 2)
        await client.create_step("other", local("x"))
        await client.delete_step("f", "b")
        await server.flow.create_step("f", local("here"))
        rest = await take(watch, 2)
        assert [change[:4] for change in past + rest] == [
            ("f", 1, ("a", "b"), ()), ("f", 2, ("c",), ("a",)), ("f", 3, (), ("b",)), ("f", 4, ("here",), ()),
        ]  # fmt: skip
        assert [change.owner for change in past] == ["one", "one"]

    play(scenario, flow)


def test_a_watcher_of_all_flows_hears_of_what_comes():
    async def scenario(server, client):
        await client.create_step("f", local("a"))
        watch = client.watch()
        coming = asyncio.ensure_future(take(watch, 2))
        while not coming.done():
            revision = await client.revision("g")
            await client.create_step("g", local(f"s{revision}"))
        first, second = coming.result()
        assert first.flow == second.flow == "g" and second.revision == first.revision + 1

    play(scenario)


def test_what_is_not_known_any_more_is_not_passed_over_in_silence():
    async def main():
        async with Flow() as flow:
            await flow.create_step("f", local("before"))
            async with serving_of(flow) as client:
                await client.create_step("f", local("after"))
                assert [change.revision for change in await take(client.watch("f", since=1), 1)] == [2]
                with pytest.raises(errors.InvalidOption, match="known from revision 2 on"):
                    await take(client.watch("f", since=0), 1)

    def serving_of(flow):
        from contextlib import asynccontextmanager

        from flow_core import connect
        from flow_core.service.server import FlowServer

        @asynccontextmanager
        async def both():
            async with FlowServer(flow) as server, connect(server.url) as client:
                yield client

        return both()

    aio.run(main())


def digest(step):
    return hashlib.sha256(encode_step(step).SerializeToString(deterministic=True)).hexdigest()


def test_the_audit_log_tells_who_changed_what(flow):
    async def scenario(server, client):
        a, b, c = local("a"), local("b"), local("c", timeout=1.0)
        await client.create_steps("f", [a, b])
        await client.create_steps("f", [a, b])  # changes nothing
        await client.replace_step("f", "a", c)
        await client.delete_step("f", "b")
        await client.create_step("g", a)
        log = [
            (entry.flow, entry.revision, entry.principal, entry.verb, entry.step, entry.old_hash, entry.new_hash)
            async for entry in client.audit()
        ]
        assert log == [
            ("f", 1, "local", "create", "a", "", digest(a)), ("f", 1, "local", "create", "b", "", digest(b)),
            ("f", 2, "local", "replace", "a", digest(a), digest(c)), ("f", 3, "local", "delete", "b", digest(b), ""),
            ("g", 1, "local", "create", "a", "", digest(a)),
        ]  # fmt: skip
        assert len([entry async for entry in client.audit("g")]) == 1

    play(scenario, flow)


def test_the_audit_log_of_a_store_outlives_the_server(tmp_path):
    for n in range(3):

        async def scenario(server, client, n=n):
            await client.create_step("f", local(f"s{n}"))
            assert [entry.step async for entry in client.audit("f")] == [f"s{i}" for i in range(n + 1)]
            assert [change.revision for change in await take(client.watch("f", since=0), n + 1)] == list(
                range(1, n + 2)
            )

        play(scenario, Flow(store=f"sqlite:///{tmp_path}/flow.db"))


def test_the_audit_log_comes_in_pages():
    async def scenario(server, client):
        await client.create_steps("f", [local(f"s{n}") for n in range(7)])
        seen, cursor = [], ""
        while True:
            reply = await client.channel.call("Audit", pb.AuditRequest(limit=3, cursor=cursor))
            seen.append([entry.step for entry in reply.entries])
            if not (cursor := reply.next):
                break
        assert seen == [["s0", "s1", "s2"], ["s3", "s4", "s5"], ["s6"]]
        for wrong in (pb.AuditRequest(cursor="x"), pb.AuditRequest(limit=-1)):
            with pytest.raises(errors.InvalidOption):
                await client.channel.call("Audit", wrong)

    play(scenario)


# --- owners -----------------------------------------------------------------------------------------------------------


def test_registering_again_changes_nothing_and_another_owner_is_refused(flow):
    async def scenario(server, client):
        assert await client.create_step("f", local("a"), owner="one") == 1
        assert await client.create_step("f", local("a"), owner="one") == 1
        with pytest.raises(errors.DuplicateStep):
            await client.create_step("f", local("a"), owner="two")
        assert await client.owners("f") == {"a": "one"}

    play(scenario, flow)


def test_a_replaced_step_stays_whose_it_was(flow):
    async def scenario(server, client):
        await client.create_step("f", local("a"), owner="one")
        await client.replace_step("f", "a", local("b"))
        assert await client.owners("f") == {"b": "one"}
        await client.delete_step("f", "b")
        await client.create_step("f", local("b"), owner="two")
        assert await client.owners("f") == {"b": "two"}

    play(scenario, flow)


def test_an_author_may_change_only_what_it_may(flow):
    async def main():
        async with flow:
            mine = Author("one", "one", 1.0, lambda owner: owner == "one")
            yours = Author("two", "two", 2.0, lambda owner: owner == "two")
            await flow.create_step("f", local("a"), author=mine)
            for change in (
                flow.delete_step("f", "a", author=yours),
                flow.replace_step("f", "a", local("b"), author=yours),
            ):
                with pytest.raises(errors.PermissionDenied, match="belongs to 'one'"):
                    await change
            with pytest.raises(errors.UnknownStep):
                await flow.delete_step("f", "nobody", author=yours)
            assert await flow.revision("f") == 1
            assert await flow.delete_step("f", "a", author=mine) == 2

    aio.run(main())


def test_an_owner_whose_lease_ends_is_away_until_it_beats_again():
    async def scenario(server, client):
        step = Step("s", ClientCallOperation("mail", "send"))
        watch = client.watch("f", since=0)
        await client.channel.call(
            "CreateStep", pb.CreateStepRequest(flow="f", steps=[encode_step(step)], owner="crm", lease=0.05)
        )
        async with client.serve(service="mail", handlers={"send": lambda data, headers: b"sent"}):
            changes = await take(watch, 2)
            assert [(change.owner, change.available) for change in changes] == [("crm", None), ("crm", False)]
            assert await client.unavailable("f") == {"s": "crm"}
            run = await client.execute("f", async_=True)
            assert "step 's' waits for service 'crm', away for" in str(await client.executor.explain("f", run.id))
            reply = await client.channel.call("Heartbeat", pb.HeartbeatRequest(owner="crm"))
            assert 0 < reply.lease < 0.05
            assert await run == b"sent"
            assert (await take(watch, 1))[0].available is True

    play(scenario)


def test_a_client_keeps_its_leases_alive_as_long_as_it_lives():
    async def scenario(server, client):
        beats = asyncio.Semaphore(0)
        beat = server.served.presence.beat

        def counted(name):
            beats.release()
            return beat(name)

        server.served.presence.beat = counted
        await client.create_step("f", local("a"), owner="crm", lease=0.1)
        async with asyncio.timeout(20):
            for _ in range(4):
                await beats.acquire()
        assert await client.unavailable("f") == {}
        await client.close()
        await until(lambda: not server.served.presence.available("crm"))

    play(scenario)


def test_a_heartbeat_without_a_lease_says_so():
    async def scenario(server, client):
        assert (await client.channel.call("Heartbeat", pb.HeartbeatRequest(owner="nobody"))).lease == 0

    play(scenario)


def test_local_changes_can_be_listened_to():
    async def main():
        async with Flow() as flow:
            heard = []
            silence = flow.on_change(heard.append)
            stream = flow.changes("f")
            coming = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            await flow.create_step("g", local("a"))
            await flow.create_step("f", local("a"))
            change = await coming
            assert (change.flow, change.revision, [step.id for step in change.created]) == ("f", 1, ["a"])
            await stream.aclose()
            silence()
            silence()
            await flow.delete_step("f", "a")
            assert [(change.flow, change.revision) for change in heard] == [("g", 1), ("f", 1)]

    aio.run(main())

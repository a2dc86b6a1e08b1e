"""The life of a server: where it listens, who it lets in, health, reflection, draining; and of a service's process."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from flow_core import ClientCallOperation, Flow, Status, Step, connect, errors
from flow_core.proto.methods import SERVICES
from flow_core.service.security.key_file import KeyFile
from flow_core.service.security.key_guard import KeyGuard
from flow_core.service.server import FlowServer
from tests import aio
from tests.service.kit import add_key
from tests.service.loopback import local, serving, until


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:80", "*:0"])
def test_nobody_listens_beyond_loopback_without_authentication(address):
    with pytest.raises(errors.InvalidOption, match="can be reached from other machines"):
        FlowServer(Flow(), address=address)


def test_an_address_that_is_taken_is_an_error_that_names_it():
    async def main():
        async with serving() as (server, _):
            with pytest.raises(errors.Unavailable, match=server.address):
                async with FlowServer(Flow(), address=server.address):
                    pass

    aio.run(main())


def test_a_unix_socket(tmp_path):
    async def main():
        async with serving(address=f"unix:{tmp_path}/s") as (server, client):
            assert server.url == f"unix:{tmp_path}/s"
            await client.create_step("f", local("a"))
            assert await client.flows() == ["f"]

    aio.run(main())


def test_health_tells_readiness_of_the_whole_and_of_each_service():
    async def main():
        async with serving() as (server, _), grpc.aio.insecure_channel(server.address) as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            for service in ("", *SERVICES):
                reply = await check(health_pb2.HealthCheckRequest(service=service))
                assert reply.status == health_pb2.HealthCheckResponse.SERVING

    aio.run(main())


def test_the_schema_can_be_asked_for():
    async def main():
        async with serving() as (server, _), grpc.aio.insecure_channel(server.address) as channel:
            ask = channel.stream_stream(
                "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
                response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
            )()
            await ask.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            listed = (await ask.read()).list_services_response.service
            assert set(SERVICES) < {service.name for service in listed}
            await ask.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICES[0]))
            assert (await ask.read()).file_descriptor_response.file_descriptor_proto
            await ask.done_writing()

    aio.run(main())


def test_draining_refuses_new_work_and_lets_what_runs_end():
    async def main():
        gate = asyncio.Event()
        async with serving(service="slow") as (server, client):
            started = asyncio.Event()

            async def handler(data, headers):
                started.set()
                await gate.wait()
                return b"done"

            step = Step("s", ClientCallOperation("slow", "s"))
            async with client.serve("f", step, handler=handler, keep=True) as offer:
                waiting = asyncio.ensure_future(client.call("f"))
                await started.wait()
                draining = asyncio.ensure_future(server.drain())
                await until(lambda: not server.ready)
                await until(lambda: server._context.draining)
                with pytest.raises(errors.Unavailable, match="takes no new work"):
                    await client.channel.call("Execute", _execute("f"), repeatable=False)
                assert offer.connected and await client.flows() == ["f"]
                gate.set()
                assert await waiting == b"done"
                await draining
                offer.leave()

    aio.run(main())


def _execute(flow):
    from flow_core.proto import flow_pb2 as pb

    return pb.ExecuteRequest(flow=flow)


def test_a_client_says_that_nobody_answers_and_comes_back_when_somebody_does(tmp_path):
    async def main():
        url = f"unix:{tmp_path}/s"
        client = connect(url)
        client.channel._patience = 0.0
        with pytest.raises(errors.Unavailable):
            await client.flows()
        client.channel._patience = 20.0
        asking = asyncio.ensure_future(client.flows())
        async with Flow() as flow:
            await flow.create_step("f", local("a"))
            async with FlowServer(flow, address=url):
                assert await asking == ["f"]
        await client.close()
        with pytest.raises(errors.Unavailable, match="closed"):
            await client.flows()

    aio.run(main())


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("127.0.0.1:1", {}), ("http://127.0.0.1:1", {}), ("grpc://127.0.0.1", {}), ("grpc://h:1/path", {}),
        ("grpc://user:secret@h:1", {}), ("grpc://h:99999", {}), ("grpc://192.0.2.1:1", {"key": "secret"}),
        ("grpc://127.0.0.1:1", {"tls": "ca.pem"}), (7, {}),
    ],
)  # fmt: skip
def test_a_url_that_leads_nowhere_is_refused_without_telling_secrets(url, options):
    with pytest.raises(errors.InvalidOption) as refused:
        connect(url, **options)
    assert "secret" not in str(refused.value)


# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_service_with_a_key_changes_and_serves_what_is_its_own_only(tmp_path):
    async def main():
        file = KeyFile(tmp_path / "keys.json")
        keys = {
            name: add_key(file, name, role)
            for name, role in (("one", "service"), ("two", "service"), ("eve", "viewer"))
        }
        guard = KeyGuard(file)
        async with Flow() as flow, FlowServer(flow, guard=guard) as server:
            one, two, eve = (connect(server.url, key=keys[name], service=name) for name in ("one", "two", "eve"))
            step = Step("s", ClientCallOperation("one", "s"))
            async with one.serve("f", step, handler=lambda data, headers: data):
                assert await one.owners("f") == {"s": "one"}
                assert await two.call("f", b"x") == b"x"
                for refused in (
                    two.delete_step("f", "s"),
                    two.replace_step("f", "s", Step("s", ClientCallOperation("two", "s"))),
                ):
                    with pytest.raises(errors.PermissionDenied, match="belongs to 'one'"):
                        await refused
                with pytest.raises(errors.PermissionDenied):
                    await two.create_step("f", local("x"), owner="one")
                with pytest.raises(errors.PermissionDenied):
                    async with two.serve("f", service="one", handlers={"s": print}):
                        pass
                with pytest.raises(errors.PermissionDenied):
                    await eve.execute("f")
                assert [step.id for step in await eve.lookup("f")] == ["s"]
            async with connect(server.url) as nobody:
                with pytest.raises(errors.Unauthenticated):
                    await nobody.flows()
            for client in (one, two, eve):
                await client.close()

    aio.run(main())


# --- a process --------------------------------------------------------------------------------------------------------

SERVICE = """
    import sys
    from flow_core import Step, connect, run

    async def charge(value):
        print("called", flush=True)
        await asyncio.sleep(float(value))
        return "charged"

    import asyncio

    async def main():
        async with connect(sys.argv[1], service="payment").serve("shop", Step("charge", charge), keep=KEEP) as offer:
            print("ready", flush=True)
            await offer.forever()

    run(main())
"""


@pytest.mark.parametrize("keep", [False, True])
def test_sigterm_unregisters_lets_calls_end_and_exits_0(keep):
    async def main():
        async with serving() as (server, client):
            code = textwrap.dedent(SERVICE).replace("KEEP", str(keep))
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, server.url, stdout=subprocess.PIPE, cwd=os.getcwd()
            )
            try:
                async with asyncio.timeout(60):
                    assert await process.stdout.readline() == b"ready\n"
                    run = await client.execute("shop", 0.2, async_=True)
                    assert await process.stdout.readline() == b"called\n"
                    process.send_signal(signal.SIGTERM)
                    assert await process.wait() == 0
                    assert await run == b'"charged"'
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            assert [step.id for step in await client.lookup("shop")] == (["charge"] if keep else [])

    aio.run(main())


def test_a_killed_service_is_missed_at_once_and_its_successor_goes_on():
    async def main():
        async with serving() as (server, client):
            code = textwrap.dedent(SERVICE).replace("KEEP", "True")
            arguments = (sys.executable, "-c", code, server.url)
            async with asyncio.timeout(90):
                first = await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE)
                assert await first.stdout.readline() == b"ready\n"
                first.kill()
                await first.wait()
                await until(lambda: client.unavailable("shop"))
                run = await client.execute("shop", 0, async_=True)
                assert run.status is Status.RUNNING
                second = await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE)
                assert await run == b'"charged"'
                second.send_signal(signal.SIGINT)
                await second.stdout.read()
                assert await second.wait() == 0

    aio.run(main())


@pytest.mark.parametrize("what", ["flow_core.connect('grpc://127.0.0.1:1')", "import flow_core.service.server.server"])
def test_without_grpcio_the_extra_is_named(what):
    code = (
        f"import sys; sys.modules['grpc'] = None\nimport flow_core\ntry:\n    {what}\nexcept ImportError as e: print(e)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'flow-core[grpc]'" in done.stdout

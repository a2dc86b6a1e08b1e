"""A client in another language, made from flow.proto alone: the service of examples/node-service."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import flow_core
from flow_core import Flow, Status, Step, connect, errors
from flow_core.service.server import FlowServer
from flow_core.service.workers.router import WorkerRouter
from tests import aio
from tests.service.loopback import until

pytestmark = pytest.mark.server

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "node-service"
PROTO = Path(flow_core.__file__).parent / "proto" / "flow.proto"


def not_run(reason):
    if os.environ.get("FLOW_TEST_SERVERS") == "required":
        pytest.fail(reason)
    pytest.skip(f"NOT RUN: {reason}")


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """The example with its dependencies, in a folder of its own."""
    if not EXAMPLE.is_dir():
        not_run("the examples are not part of this installation")
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            not_run(f"needs {program}: apt-get install nodejs npm")
    folder = tmp_path_factory.mktemp("node") / "service"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    except subprocess.TimeoutExpired:
        not_run("npm install took longer than 100 s")
    if done.returncode:
        not_run(f"npm install failed: {done.stderr.strip()[-300:]}")
    return folder


@asynccontextmanager
async def node(folder, address):
    process = await asyncio.create_subprocess_exec(
        "node", "service.js", address, str(PROTO), cwd=folder, stdout=subprocess.PIPE
    )
    try:
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.stdout.read()
        await process.wait()


def charge(order):
    return {"amount": order["amount"], "charged": True}


async def scenario(folder, store):
    async with Flow(store=store, rpc=WorkerRouter()) as flow:
        server = FlowServer(flow)
        await server.start()
        address = server.address
        async with connect(server.url, service="billing") as client, node(folder, address) as process:
            with pytest.raises(errors.UnresolvedSteps):  # it came first: its step waits for one that nobody knows
                await client.execute("checkout", {"amount": 5})
            async with client.serve("checkout", Step("charge", charge)):
                assert await client.owners("checkout") == {"label": "shipping", "charge": "billing"}
                done = await client.execute("checkout", {"amount": 5}, id="order-1")
                assert json.loads(done.response) == {"amount": 5, "charged": True, "label": "LBL-order-1"}
                with pytest.raises(errors.StepFailed) as failed:
                    await client.execute("checkout", {"amount": -1})
                assert failed.value.step == "label" and "negative amount" in failed.value.__cause__.message

                process.kill()  # it vanishes ...
                await until(lambda: client.unavailable("checkout"))
                waiting = await client.execute("checkout", {"amount": 6}, id="order-2", async_=True)
                await until(lambda: _explained(client, "order-2", "waits for service 'shipping', away for"))
                async with node(folder, address) as process:  # ... and comes back
                    assert json.loads(await waiting)["label"] == "LBL-order-2"

                    await server.stop()  # the server vanishes ...
                    server = FlowServer(flow, address=address)
                    await server.start()  # ... and comes back: both services find it
                    done = await client.execute("checkout", {"amount": 7}, id="order-3")
                    assert done.status is Status.SUCCESS

                    process.send_signal(signal.SIGTERM)
                    assert await process.wait() == 0
                assert [step.id for step in await client.lookup("checkout")] == ["charge"]
        await server.stop()


async def _explained(client, id, text):
    return text in str(await client.executor.explain("checkout", id))


def test_a_node_service_joins_is_called_vanishes_and_comes_back(installed, tmp_path):
    async def main():
        async with asyncio.timeout(100):
            await scenario(installed, f"sqlite:///{tmp_path}/flow.db")

    aio.run(main())

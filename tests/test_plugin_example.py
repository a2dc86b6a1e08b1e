"""The example plug-in is installed by pip into a folder of its own, and what it brings is used by name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "plugin"

pytestmark = pytest.mark.skipif(not EXAMPLE.exists(), reason="the examples are not beside the tests")

USE = """
import asyncio, sys
from flow_core import ClientCallOperation, Flow, Step
from flow_core.urls import rpc_client, store
from flow_core.operations import OperationRegistry
from flow_core.proto.encoding import encode_operation
from flow_core.model.records import ExecutionStarted

registry = OperationRegistry()
assert "acme_shout" in registry.types()
assert not any(name.startswith("acme_flow") for name in sys.modules), "listing imports nothing"
Shout = registry.resolve("acme_shout")
shout = registry.decode(encode_operation(Shout(3)))
assert shout == Shout(3)

async def greet(data, headers):
    return b"hello " + data + b" at " + headers["flow-step"].encode()

async def main(folder):
    rpc = rpc_client({"shop": f"unix://{folder}/shop.sock"})  # made before anybody listens
    from acme_flow.rpc import serve
    server = await serve(f"{folder}/shop.sock", {("shop", "greet"): greet})
    async with server, Flow(rpc=rpc) as flow:
        await flow.create_step("f", Step("greet", ClientCallOperation("shop", "greet")))
        await flow.create_step("f", Step("shout", shout, after="greet"))
        print((await flow.call("f", b"ann")).decode())
    async with store(f"audit://{folder}/log.jsonl") as audit:
        epoch = await audit.begin("here", 60)
        await audit.commit(epoch, [ExecutionStarted("e1", "f", 1, b"ann")])
    print("e1" in open(f"{folder}/log.jsonl").read())

asyncio.run(main(sys.argv[1]))
"""


def test_it_is_installed_and_used(tmp_path):
    pytest.importorskip("setuptools", reason="the example is built with setuptools")
    source = shutil.copytree(EXAMPLE, tmp_path / "source")  # a build leaves files behind
    place = tmp_path / "place"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index", "--no-deps"]
    pip += ["--no-build-isolation", "--target", str(place), str(source)]
    ran = subprocess.run(pip, capture_output=True, text=True, timeout=110, check=False)
    assert ran.returncode == 0, ran.stderr
    root = Path(__file__).resolve().parents[1]
    path = os.pathsep.join([str(place), str(root)])
    use = [sys.executable, "-W", "error", "-c", USE, str(tmp_path)]
    ran = subprocess.run(
        use, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": path}
    )
    assert (ran.returncode, ran.stdout) == (0, "HELLO ANN AT GREET!!!\nTrue\n"), ran.stderr

"""SIGTERM while clients keep a durable server busy: it exits 0 within the drain time, and nothing acknowledged is lost.

FLOW_SIGTERM_EPISODES=50 makes as many episodes, on one database; a few without.
"""

import asyncio
import os
import signal
import sqlite3
import sys
from time import monotonic

import pytest

pytest.importorskip("cyclopts")
pytest.importorskip("grpc")

from flow_core import Step, connect, errors
from flow_core.model.status import Status
from flow_core.operations import EmptyOperation
from tests.aio import run
from tests.cli.kit import Server

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

EPISODES = int(os.environ.get("FLOW_SIGTERM_EPISODES", "2"))
CLIENTS = 16
DRAIN = 5.0
#: Executions that are acknowledged in an episode before the signal.
ENOUGH = 60


async def keep_busy(client, acknowledged, finished, enough):
    """Start executions, every other one without waiting for its end, until the server is gone."""
    for number in range(1_000_000):
        try:
            if number % 2:
                execution = await client.execute("chain", b"x", async_=True)
            else:
                execution = await client.execute("chain", b"x")
                finished.add(execution.id)
        except (errors.AdapterError, errors.ExecutorStopped, errors.ExecutionStopped):
            return
        acknowledged.add(execution.id)
        if len(acknowledged) >= ENOUGH:
            enough.set()


async def episode(server):
    acknowledged, finished, enough = set(), set(), asyncio.Event()
    async with connect(server.url) as client:
        await client.create_steps(
            "chain", [Step("a", EmptyOperation()), Step("b", EmptyOperation(), after="a"),
                      Step("c", EmptyOperation(), after="b")],
        )  # fmt: skip
        busy = [asyncio.create_task(keep_busy(client, acknowledged, finished, enough)) for _ in range(CLIENTS)]
        await enough.wait()
        begun = monotonic()
        code = await asyncio.to_thread(server.stop)
        took = monotonic() - begun
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
    return acknowledged, finished, code, took


def recorded(path):
    """Execution -> its status number, None when it has not ended."""
    db = sqlite3.connect(path)
    try:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return dict(db.execute("SELECT id, CASE WHEN ended IS NULL THEN NULL ELSE status END FROM execution"))
    finally:
        db.close()


def test_nothing_acknowledged_is_lost(tmp_path):
    acknowledged, finished = set(), set()
    arguments = ["--store", "sqlite:///flow.db", "--drain", f"{DRAIN}s", "--name", "here"]
    for number in range(EPISODES):
        server = Server(tmp_path, arguments)
        try:
            said, ended, code, took = run(episode(server))
        finally:
            server.stop(signal.SIGKILL)
        acknowledged |= said
        finished |= ended
        assert code == 0, (number, server.log.read_text()[-2000:])
        assert took < DRAIN + 20, f"episode {number}: {took:.1f} s"  # far above: the drain plus the start of a thread
        found = recorded(tmp_path / "flow.db")
        assert acknowledged <= found.keys(), f"episode {number}: {len(acknowledged - found.keys())} lost"
        assert all(found[id_] == Status.SUCCESS for id_ in finished)
    last = Server(tmp_path, arguments)  # goes on with whatever did not end
    assert last.stop() == 0
    found = recorded(tmp_path / "flow.db")
    assert {found[id_] for id_ in acknowledged} == {Status.SUCCESS}

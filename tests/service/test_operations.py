"""/healthz, /readyz and /metrics: what they say while it serves, drains, and is stuck."""

import asyncio
import threading
import urllib.error
import urllib.request

import pytest

pytest.importorskip("grpc")
pytest.importorskip("cyclopts")

from flow_core import Flow, Step
from flow_core.cli.serve import metrics_of
from flow_core.errors import InvalidOption
from flow_core.service.server import FlowServer, health_http
from flow_core.service.server.health_http import Operations
from tests.aio import run


def ask(url, path, method="GET"):
    request = urllib.request.Request(url + path, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def play(scenario):
    async def main():
        async with FlowServer(Flow(), address="127.0.0.1:0") as server:
            pages = Operations(server, "127.0.0.1:0", metrics_of(server.flow))
            pages.start()
            try:
                await scenario(server, pages.url)
            finally:
                await asyncio.to_thread(pages.stop)

    run(main())


def test_alive_and_ready_until_it_drains():
    async def scenario(server, url):
        assert await asyncio.to_thread(ask, url, "/healthz") == (200, "ok\n")
        assert await asyncio.to_thread(ask, url, "/readyz") == (200, "ready\n")
        await server.drain(1)
        assert await asyncio.to_thread(ask, url, "/readyz") == (503, "not ready\n")
        assert (await asyncio.to_thread(ask, url, "/healthz"))[0] == 200

    play(scenario)


def test_metrics_are_those_of_the_executor():
    pytest.importorskip("prometheus_client")

    async def scenario(server, url):
        await server.flow.create_step("f", Step("a", lambda: 1))
        await server.flow.execute("f")
        status, text = await asyncio.to_thread(ask, url, "/metrics")
        assert status == 200
        assert any(line.startswith("flow_core_executions_started_total") and line.endswith(" 1.0")
                   for line in text.splitlines())  # fmt: skip

    play(scenario)


def test_a_loop_that_is_stuck_shows(monkeypatch):
    monkeypatch.setattr(health_http, "PATIENCE", 0.05)

    async def scenario(server, url):
        told, asked = [], threading.Event()

        def outside():
            told.append(ask(url, "/healthz"))
            asked.set()

        threading.Thread(target=outside).start()
        assert asked.wait(30)  # holds the loop up until it was asked
        assert told == [(503, "the loop is stuck\n")]

    play(scenario)


@pytest.mark.parametrize(("path", "method", "status"), [("/", "GET", 404), ("/healthz", "POST", 405)])
def test_what_is_not_there(path, method, status):
    async def scenario(server, url):
        assert (await asyncio.to_thread(ask, url, path, method))[0] == status

    play(scenario)


@pytest.mark.parametrize("address", ["", "9464", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", ":9464"])
def test_a_wrong_address_is_named(address):
    with pytest.raises(InvalidOption, match="host:port"):
        Operations(None, address)

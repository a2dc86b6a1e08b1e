"""Other people's libraries inside steps: anyio, aiohttp, sniffio.

Lives here: that they find the world they expect. Does not live here: asyncio itself (``test_asyncio_world.py``).
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import anyio
import anyio.to_thread
import pytest

from tests.core.kit import Main, World, fan, in_a_step, line


def test_anyio(run: Main) -> None:
    async def step(_: Any) -> list[str]:
        seen = []
        with anyio.move_on_after(0.001) as scope:
            await anyio.sleep_forever()
        seen.append(f"moved on: {scope.cancelled_caught}")
        with pytest.raises(TimeoutError):
            with anyio.fail_after(0.001):
                await anyio.Event().wait()
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 0)
            group.start_soon(anyio.sleep_forever)
            await anyio.sleep(0)
            group.cancel_scope.cancel()
        with anyio.CancelScope() as outer:
            outer.cancel()
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0)
                seen.append("shielded")
            await anyio.sleep(0)
            seen.append("not here")
        assert await anyio.to_thread.run_sync(threading.get_ident) != threading.get_ident()
        seen.append(anyio.get_current_task().name)
        assert asyncio.current_task().cancelling() == 0
        return seen

    assert in_a_step(run, step) == ["moved on: True", "shielded", "kit/s0"]


def test_anyio_in_steps_that_do_not_suspend(run: Main) -> None:
    async def step(_: Any) -> int:
        with anyio.CancelScope() as scope:
            scope.cancel()
        return 1

    async def main() -> None:
        assert (await World().run(fan(50, step))).counts[2] == 50

    run(main())


def test_sniffio_knows_where_it_is(run: Main) -> None:
    sniffio = pytest.importorskip("sniffio")

    async def step(_: Any) -> str:
        return sniffio.current_async_library()

    assert in_a_step(run, step) == "asyncio"


def test_aiohttp_client_and_server_in_steps(run: Main) -> None:
    aiohttp = pytest.importorskip("aiohttp")
    from aiohttp import web

    async def main() -> None:
        async def hello(request: Any) -> Any:
            return web.Response(text=f"hello {await request.text()}")

        application = web.Application()
        application.router.add_post("/", hello)
        runner = web.AppRunner(application)

        async def serve(_: Any) -> int:
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            return runner.addresses[0][1]

        async def call(port: Any) -> str:
            timeout = aiohttp.ClientTimeout(total=30)
            url = f"http://127.0.0.1:{port}/"
            async with aiohttp.ClientSession(timeout=timeout) as session, session.post(url, data="steps") as response:
                return await response.text()

        async def stop(text: Any) -> Any:
            await runner.cleanup()
            return text

        ended = await World().run(line(serve, call, stop))
        assert ended.output(2) == "hello steps"

    run(main())

"""The service with a `KeyGuard`: roles, owners, quotas and revocation where they meet the handlers and the streams."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest

from flow_core import ClientCallOperation, Flow, Step, connect
from flow_core.errors import PermissionDenied, QuotaExceeded, Unauthenticated
from flow_core.operations import EmptyOperation
from flow_core.service.security.key_file import KeyFile
from flow_core.service.security.key_guard import KeyGuard
from flow_core.service.security.quotas import Limits, steps_owned
from flow_core.service.server import FlowServer
from tests.aio import run
from tests.service.kit import Clock, add_key


class World:
    """A guarded server with a store, its keys, and clients by role; all of one test."""

    def __init__(self, folder: Any, stack: AsyncExitStack, limits: Limits | None) -> None:
        self.clock = Clock()
        self.keys = KeyFile(folder / "keys.json", clock=self.clock)
        self._folder, self._stack, self._limits = folder, stack, limits

    async def open(self) -> None:
        flow = Flow(store=f"sqlite:///{self._folder / 'flow.db'}")
        owned = partial(steps_owned, flow)
        guard = KeyGuard(self.keys, limits=self._limits, owned=owned, clock=self.clock)
        self.flow = await self._stack.enter_async_context(flow)
        self.server = await self._stack.enter_async_context(FlowServer(flow, guard=guard))

    async def client(self, name: str, role: str) -> Any:
        key = add_key(self.keys, name, role)
        self.clock.at += 1  # the file is looked at again
        return await self._stack.enter_async_context(connect(self.server.url, service=name, key=key))

    def revoke(self, name: str) -> None:
        self.keys.change(lambda ring, _: ring.revoke(name))
        self.clock.at += 1


def play(folder: Any, story: Any, limits: Limits | None = None) -> None:
    """Run a test's story in a world of its own."""

    async def main() -> None:
        async with asyncio.timeout(60), AsyncExitStack() as stack:
            world = World(folder, stack, limits)
            await world.open()
            await story(world)

    run(main())


def call(step: str, service: str) -> Step:
    return Step(step, ClientCallOperation(service, "e"))


def test_a_service_changes_what_it_owns_and_only_that(tmp_path):
    async def story(world: World) -> None:
        payment, shipping = await world.client("payment", "service"), await world.client("shipping", "service")
        author = await world.client("alice", "author")
        await payment.create_step("shop", call("pay", "payment"))
        with pytest.raises(PermissionDenied):
            await shipping.delete_step("shop", "pay")
        with pytest.raises(PermissionDenied):
            await shipping.replace_step("shop", "pay", call("pay", "shipping"))
        with pytest.raises(PermissionDenied, match="steps that call itself"):
            await shipping.create_step("shop", call("refund", "payment"))
        assert await payment.owners("shop") == {"pay": "payment"}
        await author.replace_step("shop", "pay", call("pay", "payment"))
        assert await payment.owners("shop") == {"pay": "payment"}, "it stays whose it was"
        await payment.delete_step("shop", "pay")

    play(tmp_path, story)


def test_nobody_serves_as_another(tmp_path):
    async def story(world: World) -> None:
        shipping, author = await world.client("shipping", "service"), await world.client("alice", "author")
        for client in (shipping, author):
            with pytest.raises(PermissionDenied, match="may not serve as 'payment'"):
                async with client.serve(handlers={"e": lambda data, headers: data}, service="payment"):
                    pass

    play(tmp_path, story)


def test_a_revoked_key_ends_a_stream_of_executions(tmp_path):
    async def story(world: World) -> None:
        author, operator = await world.client("alice", "author"), await world.client("bob", "operator")
        await author.create_step("echo", Step("s", EmptyOperation()))
        ended = asyncio.Event()

        async def requests():
            yield b"1"
            await ended.wait()
            world.revoke("bob")
            yield b"2"

        outcomes = operator.execute_many("echo", requests(), batch=1)
        assert (await anext(outcomes)).value == b"1"
        ended.set()
        with pytest.raises(Unauthenticated):
            await anext(outcomes)

    play(tmp_path, story)


def test_a_service_with_a_revoked_key_is_given_no_calls(tmp_path):
    async def story(world: World) -> None:
        operator, payment = await world.client("bob", "operator"), await world.client("payment", "service")
        called = []

        def handler(data: bytes, headers: Any) -> bytes:
            called.append(data)
            return data

        async with payment.serve("shop", call("pay", "payment"), handlers={"e": handler}, keep=True):
            assert await operator.call("shop", b"1") == b"1"
            world.revoke("payment")
            execution = await operator.execute("shop", b"2", async_=True)
            explained = str(await operator.executor.explain("shop", execution.id))
            while "payment" not in explained:
                explained = str(await operator.executor.explain("shop", execution.id))
            assert called == [b"1"]
            await world.flow.executor.abort("shop", execution.id)

    play(tmp_path, story)


def test_a_watcher_with_a_revoked_key_hears_no_more(tmp_path):
    async def story(world: World) -> None:
        author, viewer = await world.client("alice", "author"), await world.client("eve", "viewer")
        await author.create_step("f", Step("a", EmptyOperation()))
        changes = viewer.watch("f", since=0)
        assert (await anext(changes)).created == ("a",)
        hearing = asyncio.create_task(anext(changes, None))
        world.revoke("eve")
        await author.create_step("f", Step("b", EmptyOperation()))
        assert await hearing is None

    play(tmp_path, story)


def test_executions_under_way_are_limited_for_each_principal(tmp_path):
    async def story(world: World) -> None:
        author = await world.client("alice", "author")
        bob, carol = await world.client("bob", "operator"), await world.client("carol", "operator")
        await author.create_step("slow", call("wait", "never"), owner="never")
        first, _ = [await bob.execute("slow", async_=True) for _ in range(2)]
        with pytest.raises(QuotaExceeded, match="the limit executions is 2") as caught:
            await bob.execute("slow", async_=True)
        assert caught.value.retry_after == 0.1
        await carol.execute("slow", async_=True)
        await first.abort()
        world.clock.at += 1
        await bob.execute("slow", async_=True)
        await world.flow.executor.stop(0)

    play(tmp_path, story, Limits(executions=2))

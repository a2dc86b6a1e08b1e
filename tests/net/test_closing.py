"""The life of a client by itself; what closing does to calls and messages is in the contracts of rpc and pubsub."""

import asyncio

import pytest

from flow_core.net.closing import Client
from tests.aio import run_virtual


class Noted(Client):
    def __init__(self):
        super().__init__()
        self.notes = []

    async def _end(self):
        self.notes.append(("end", self._closed))
        await asyncio.sleep(1)

    async def _close(self):
        self.notes.append("close")


ONCE = [("end", True), "close"]


def test_work_ends_before_what_it_needs_is_freed_and_both_once():
    async def main():
        client = Noted()
        await asyncio.gather(client.close(), client.close())
        await client.close()
        return client.notes

    assert run_virtual(main()) == ONCE


def test_the_end_of_the_block_closes_whatever_happened_in_it():
    async def main():
        client = Noted()

        async def block():
            async with client as same:
                assert same is client
                raise KeyError("stock")

        with pytest.raises(KeyError, match="stock"):
            await block()
        return client.notes

    assert run_virtual(main()) == ONCE


def test_a_client_that_holds_nothing_needs_no_hooks():
    async def main():
        async with Client() as client:
            assert not client._closed
        return client._closed

    assert run_virtual(main()) is True

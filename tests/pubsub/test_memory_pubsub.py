"""The in-memory broker against the contract, and the table of replies by itself."""

import asyncio

import pytest

from flow_core.errors import Unavailable
from flow_core.pubsub import MemoryPubSubClient
from flow_core.pubsub.replies import REMEMBERED, Replies
from tests.aio import run_virtual
from tests.pubsub.contract import PubSubContract, Setup


class MemorySetup(Setup):
    def run(self, main):
        return run_virtual(main)

    async def client(self):
        return MemoryPubSubClient()


@pytest.fixture(params=[MemorySetup])
def setup(request):
    return request.param()


class TestContract(PubSubContract):
    """All promises of ``contract.py``."""


def test_a_near_miss_is_suggested():
    async def main():
        client = MemoryPubSubClient()
        await client.subscribe("orders.paid", lambda message: None)
        await client.publish("order.paid", b"")

    with pytest.raises(Unavailable, match=r"did you mean 'orders\.paid'"):
        run_virtual(main())


def test_a_handler_may_close_its_own_subscription_and_client():
    async def main():
        client = MemoryPubSubClient()
        closed = asyncio.Event()

        async def once(message):
            await subscription.close()
            await client.close()
            closed.set()

        subscription = await client.subscribe("t", once)
        await client.publish("t", b"")
        await closed.wait()
        return client.statistics()

    statistics = run_virtual(main())
    assert (statistics.delivered, statistics.handler_errors) == (1, 0)


def test_a_reply_in_the_moment_of_giving_up_is_late():
    async def main():
        replies = Replies()
        replies.expect("r").cancel()
        assert replies.deliver("r", b"")
        replies.release("r", taken=False)
        assert replies.deliver("r", b"")
        return replies.taken, replies.late, replies.duplicate

    assert run_virtual(main()) == (0, 2, 0)


def test_a_reply_that_came_and_was_not_taken_in_time_is_late():
    async def main():
        replies = Replies()
        replies.expect("r")
        assert replies.deliver("r", b"before the confirmation")
        replies.release("r", taken=False)
        replies.expect("again")
        replies.deliver("again", b"reply")
        replies.release("again", taken=True)
        return replies.taken, replies.late, replies.duplicate

    assert run_virtual(main()) == (1, 1, 0)


def test_what_is_remembered_of_old_requests_is_bounded():
    async def main():
        replies = Replies()
        for n in range(REMEMBERED + 1):
            replies.expect(f"r.{n}").set_result(b"")
            replies.release(f"r.{n}", taken=True)
        return replies.deliver("r.0", b""), replies.deliver("r.1", b""), replies.duplicate

    assert run_virtual(main()) == (False, True, 1)

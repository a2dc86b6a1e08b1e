"""What every pubsub client promises, as tests that any client can be put through.

A new client needs one `Setup` subclass and a ``setup`` fixture beside `PubSubContract`; see ``test_memory_pubsub.py``.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from contextvars import ContextVar
from dataclasses import FrozenInstanceError

import pytest

from flow_core.errors import AdapterError, InvalidOption, NoReply, PayloadError, Unavailable
from flow_core.model.ids import MAX_PAYLOAD
from flow_core.pubsub import PubSubClient


class Setup(ABC):
    """How to test one client. ``run`` drives a coroutine, in virtual time where the client allows it."""

    #: Whether the broker keeps messages for those who come later. Then nothing is unroutable.
    keeps = False

    @abstractmethod
    def run(self, main): ...

    @abstractmethod
    async def client(self) -> PubSubClient: ...


class Inbox:
    """A handler that collects messages and lets a test wait for them."""

    def __init__(self):
        self.messages = []
        self._queue = asyncio.Queue()

    async def __call__(self, message):
        self.messages.append(message)
        self._queue.put_nowait(message)

    async def next(self):
        async with asyncio.timeout(5):
            return await self._queue.get()


class Never:
    """A handler that never ends: ``entered`` is set once it has a message, ``ended`` when it is cancelled."""

    def __init__(self):
        self.entered, self.ended = asyncio.Event(), asyncio.Event()

    async def __call__(self, message):
        self.entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


async def eventually(look, wanted):
    """Wait until ``look()`` gives what is wanted: counters of what a broker says later."""
    for _ in range(5000):
        if look() == wanted:
            return
        await asyncio.sleep(0.001)
    assert look() == wanted


def counted(client, *names):
    """Those counters of a client."""
    return tuple(getattr(client.statistics(), name) for name in names)


async def answer(message):
    await message.reply(b"re " + message.data)


async def shared(first, second, topic):
    """Two members of a group get 100 messages: the numbers that arrived, in order, and how many each of them got."""
    inbox = Inbox()
    for member in (first, second):
        await member.subscribe(topic, inbox)
    await asyncio.gather(*(first.publish(topic, b"%d" % n) for n in range(100)))
    numbers = sorted([int((await inbox.next()).data) for _ in range(100)])
    return numbers, (first.statistics().delivered, second.statistics().delivered)


class PubSubContract:
    """The tests. Times are short enough for a client that needs real ones."""

    def play(self, setup, scenario):
        async def main():
            async with asyncio.timeout(20), await setup.client() as client:
                return await scenario(client)

        return setup.run(main())

    @pytest.mark.parametrize("confirm", [True, False])
    @pytest.mark.parametrize("data", [b"", bytes(range(256)), b"z" * MAX_PAYLOAD])
    def test_any_bytes_and_headers_arrive(self, setup, data, confirm):
        async def scenario(client):
            inbox = Inbox()
            async with await client.subscribe("t", inbox):
                await client.publish("t", data, headers={"flow-step": "s"}, confirm=confirm)
                message = await inbox.next()
            with pytest.raises(TypeError):
                message.headers["x"] = "y"
            return message.topic, message.data, message.headers["flow-step"]

        assert self.play(setup, scenario) == ("t", data, "s")

    def test_every_subscription_gets_the_message_and_only_of_its_topic(self, setup):
        async def scenario(client):
            first, second, other = Inbox(), Inbox(), Inbox()
            for topic, inbox in (("t", first), ("t", second), ("u", other)):
                await client.subscribe(topic, inbox)
            await client.publish("t", b"1")
            await client.publish("u", b"2")
            return [(await inbox.next()).data for inbox in (first, second, other)], client.statistics()

        received, statistics = self.play(setup, scenario)
        assert received == [b"1", b"1", b"2"]
        assert (statistics.published, statistics.delivered, statistics.unroutable) == (2, 3, 0)

    def test_messages_start_in_order(self, setup):
        async def scenario(client):
            inbox = Inbox()
            await client.subscribe("t", inbox)
            for n in range(20):
                await client.publish("t", b"%d" % n)
            return [(await inbox.next()).data for _ in range(20)]

        assert self.play(setup, scenario) == [b"%d" % n for n in range(20)]

    def test_confirmed_to_nobody_is_an_error(self, setup):
        async def scenario(client):
            if setup.keeps:
                assert await client.publish("t", b"", confirm=True)  # a receipt
            else:
                with pytest.raises(Unavailable, match="unroutable"):
                    await client.publish("t", b"", confirm=True)
            return counted(client, "published", "unroutable")

        assert self.play(setup, scenario) == ((1, 0) if setup.keeps else (0, 1))

    def test_fire_and_forget_to_nobody_is_counted(self, setup):
        async def scenario(client):
            await client.publish("t", b"", confirm=False)
            await eventually(lambda: counted(client, "published", "unroutable"), (1, 0 if setup.keeps else 1))
            await client.subscribe("t", inbox := Inbox())
            await client.publish("t", b"last")
            assert (await inbox.next()).data == b"last"  # not what came before the subscription
            return counted(client, "published", "unroutable", "lost")

        assert self.play(setup, scenario) == (2, 0 if setup.keeps else 1, 0)

    def test_a_closed_subscription_gets_nothing(self, setup):
        async def scenario(client):
            inbox, witness = Inbox(), Inbox()
            subscription = await client.subscribe("t", inbox)
            await subscription.close()
            await subscription.close()
            if not setup.keeps:
                with pytest.raises(AdapterError):
                    await client.publish("t", b"")
            await client.subscribe("t", witness)
            await client.publish("t", b"")
            await witness.next()
            return inbox.messages

        assert self.play(setup, scenario) == []

    def test_request_gives_the_reply(self, setup):
        async def scenario(client):
            await client.subscribe("t", answer)
            reply = await client.request("t", b"x", reply_to="t.reply.1")
            return reply, client.statistics()

        reply, statistics = self.play(setup, scenario)
        assert reply == b"re x"
        assert (statistics.published, statistics.replies, statistics.late_replies) == (1, 1, 0)

    def test_requests_side_by_side_get_each_their_own(self, setup):
        async def scenario(client):
            await client.subscribe("t", answer)
            return await asyncio.gather(*(client.request("t", b"%d" % n, reply_to=f"r.{n}") for n in range(20)))

        assert self.play(setup, scenario) == [b"re %d" % n for n in range(20)]

    def test_the_first_reply_wins_and_the_others_are_counted(self, setup):
        async def scenario(client):
            done = asyncio.Event()

            async def twice(message):
                await message.reply(b"first")
                await message.reply(b"second")
                done.set()

            await client.subscribe("t", twice)
            reply = await client.request("t", b"", reply_to="r")
            await done.wait()
            await eventually(lambda: counted(client, "replies", "duplicate_replies", "late_replies"), (1, 1, 0))
            return reply

        assert self.play(setup, scenario) == b"first"

    def test_a_late_reply_is_counted(self, setup):
        async def scenario(client):
            gate, done = asyncio.Event(), asyncio.Event()

            async def late(message):
                await gate.wait()
                await message.reply(b"")
                done.set()

            await client.subscribe("t", late)
            with pytest.raises(NoReply) as caught:
                await client.request("t", b"", reply_to="r", timeout=0.05)
            assert isinstance(caught.value, TimeoutError)
            gate.set()
            await done.wait()
            await eventually(lambda: counted(client, "replies", "late_replies", "handler_errors"), (0, 1, 0))

        self.play(setup, scenario)

    def test_a_request_to_nobody_does_not_wait(self, setup):
        async def scenario(client):
            if setup.keeps:  # somebody may still come
                with pytest.raises(NoReply):
                    await client.request("t", b"", reply_to="r", timeout=0.05)
            else:
                with pytest.raises(Unavailable):
                    await client.request("t", b"", reply_to="r")

        self.play(setup, scenario)

    def test_reply_subjects_are_used_once(self, setup):
        async def scenario(client):
            await client.subscribe("t", answer)
            await client.request("t", b"", reply_to="r")
            with pytest.raises(AdapterError, match="not new"):
                await client.request("t", b"", reply_to="r")

        self.play(setup, scenario)

    def test_a_reply_nobody_asked_for_is_an_error_of_the_handler(self, setup):
        async def scenario(client):
            inbox = Inbox()
            await client.subscribe("t", inbox)
            await client.publish("t", b"")
            message = await inbox.next()
            with pytest.raises(AdapterError, match="asks for no reply"):
                await message.reply(b"")

        self.play(setup, scenario)

    def test_handler_errors_are_counted_and_logged_and_end_nothing(self, setup, caplog):
        async def scenario(client):
            inbox = Inbox()

            async def broken(message):
                raise ValueError("boom")

            await client.subscribe("t", broken)
            await client.subscribe("t", inbox)
            for data in (b"1", b"2"):
                await client.publish("t", data)
            received = [(await inbox.next()).data for _ in range(2)]
            return received, client.statistics()

        with caplog.at_level(logging.ERROR, "flow_core.pubsub"):
            received, statistics = self.play(setup, scenario)
        assert received == [b"1", b"2"]
        assert statistics.handler_errors == 2
        assert "boom" in caplog.text

    def test_handlers_run_in_the_context_of_the_subscriber(self, setup):
        variable = ContextVar("variable", default="none")

        async def scenario(client):
            seen = asyncio.get_running_loop().create_future()
            variable.set("subscriber")
            await client.subscribe("t", lambda message: seen.set_result(variable.get()))
            variable.set("publisher")
            await client.publish("t", b"")
            return await seen

        assert self.play(setup, scenario) == "subscriber"

    @pytest.mark.parametrize("left", [0, -1.0])
    def test_no_time_left_sends_nothing(self, setup, left):
        async def scenario(client):
            inbox = Inbox()
            await client.subscribe("t", inbox)
            with pytest.raises(NoReply):
                await client.publish("t", b"", timeout=left)
            with pytest.raises(NoReply):
                await client.request("t", b"", reply_to="r", timeout=left)
            published = client.statistics().published
            await client.publish("t", b"first")
            return (await inbox.next()).data, published

        assert self.play(setup, scenario) == (b"first", 0)

    @pytest.mark.parametrize("data", ["text", None, b"z" * (MAX_PAYLOAD + 1)])
    def test_bad_payloads_are_refused(self, setup, data):
        async def scenario(client):
            await client.subscribe("t", answer)
            for work in (client.publish("t", data), client.request("t", data, reply_to="r")):
                with pytest.raises(PayloadError):
                    await work

        self.play(setup, scenario)

    def test_a_handler_must_be_callable(self, setup):
        async def scenario(client):
            with pytest.raises(InvalidOption):
                await client.subscribe("t", b"not callable")

        self.play(setup, scenario)

    def test_close_ends_requests_and_handlers_and_refuses_new_ones(self, setup):
        async def scenario(client):
            await client.subscribe("t", never := Never())
            request = asyncio.create_task(client.request("t", b"", reply_to="r"))
            await never.entered.wait()
            await client.close()
            await client.close()
            with pytest.raises(Unavailable, match="closed"):
                await request
            assert never.ended.is_set()
            for work in (
                client.publish("t", b""),
                client.request("t", b"", reply_to="s"),
                client.subscribe("t", never),
            ):
                with pytest.raises(Unavailable, match="closed"):
                    await work

        self.play(setup, scenario)

    def test_statistics_are_a_snapshot(self, setup):
        async def scenario(client):
            before = client.statistics()
            await client.publish("t", b"", confirm=False)
            with pytest.raises(FrozenInstanceError):
                before.published = 9
            return before.published, client.statistics().published

        assert self.play(setup, scenario) == (0, 1)

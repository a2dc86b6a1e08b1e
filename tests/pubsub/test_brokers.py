"""What holds for every network broker: the contract, load, loss, recovery, and secrets that stay secret."""

import asyncio
import logging
import traceback

import pytest

from flow_core.errors import AuthError, InvalidOption, NoReply, Unavailable
from tests.aio import run
from tests.pubsub import brokers, load
from tests.pubsub.contract import Inbox, Never, PubSubContract, Setup, answer, eventually
from tests.servers.process import free_port
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.server

SECRETS = ("s3cr3t", "wr0ng")


def started(request, kind):
    return kind(request.getfixturevalue(kind.server))


@pytest.fixture(params=brokers.ALL, ids=lambda kind: kind.name)
def broker(request):
    return started(request, request.param)


@pytest.fixture(params=brokers.KEEPING, ids=lambda kind: kind.name)
def keeping(request):
    return started(request, request.param)


@pytest.fixture(params=[brokers.Core, brokers.JetStream, brokers.RabbitMq], ids=lambda kind: kind.name)
def forgetful(request):
    """Those whose replies are lost with the connection."""
    return started(request, request.param)


@pytest.fixture(params=brokers.QUEUEING, ids=lambda kind: kind.name)
def queueing(request):
    return started(request, request.param)


class BrokerSetup(Setup):
    def __init__(self, broker):
        self.broker = broker
        self.keeps = broker.keeps

    def run(self, main):
        async def with_topics():
            async with self.broker.keeping("t", "u"):
                return await main

        return run(with_topics())

    async def client(self):
        return self.broker.client()


@pytest.fixture
def setup(broker):
    return BrokerSetup(broker)


class TestContract(PubSubContract):
    """All promises of ``contract.py``."""


@pytest.fixture
def no_secrets(caplog):
    """All that is logged, at every level and by every library, is free of passwords."""
    caplog.set_level(logging.DEBUG)
    yield
    assert not [record.getMessage() for record in caplog.records if any(s in record.getMessage() for s in SECRETS)]


def told(error):
    """Everything that an error can say."""
    return "".join(traceback.format_exception(error)) + repr(error) + repr(error.__cause__)


def test_duplicates_and_late_replies_give_no_wrong_result(broker):
    counts = run(load.replies(broker, "load", 200))
    assert counts["wrong"] == 0, counts
    assert counts["replies"] == 200
    assert counts["duplicate"] == counts["duplicate expected"] == 20
    assert counts["late"] >= counts["late expected"] == 10
    assert counts["handler errors"] == 0


def test_what_was_confirmed_survives_a_killed_broker(keeping):
    counts = run(load.restart(keeping, "restart", 150))
    assert counts["confirmed"] == 150
    assert counts["confirmed before the kill"] < 150
    assert counts["missing"] == 0, counts


def test_that_test_sees_what_is_missing(tmp_path):
    """The same with a Redis that writes nothing down: what was confirmed before the kill is gone."""
    server = RedisServer(tmp_path, durable=False)
    server.start()
    try:
        counts = run(load.restart(brokers.Redis(server), "restart", 150))
    finally:
        server.stop()
    assert counts["missing"] >= 50


def test_subscriptions_and_requests_come_back_after_a_restart(broker):
    async def main():
        async with broker.keeping("again"), broker.client() as client, broker.client() as service:
            inbox = Inbox()
            await service.subscribe("again", answer)
            await service.subscribe("again", inbox)
            assert await client.request("again", b"1", reply_to="again.1") == b"re 1"
            await inbox.next()
            await asyncio.to_thread(broker.process.kill)
            with pytest.raises(Unavailable):
                await client.publish("again", b"lost")
            await asyncio.to_thread(broker.process.start)
            replies, attempt = set(), 0
            # Each subscription comes back by itself, and not both in the same moment.
            while not (replies and any(message.data == b"2" for message in inbox.messages)):
                attempt += 1
                try:
                    replies.add(await client.request("again", b"2", reply_to=f"again.2.{attempt}", timeout=1.0))
                except (Unavailable, NoReply) as error:
                    await asyncio.sleep(error.retry_after or 0.01)
            assert replies == {b"re 2"}

    run(main())


def test_a_request_whose_broker_dies_does_not_wait_for_ever(forgetful):
    broker = forgetful

    async def main():
        async with broker.keeping("dies"):
            entered = asyncio.Event()
            async with broker.client() as client, broker.client() as service:
                await service.subscribe("dies", lambda message: entered.set())
                request = asyncio.create_task(client.request("dies", b"", reply_to="dies.1"))
                await entered.wait()
                await asyncio.to_thread(broker.process.kill)
                with pytest.raises(Unavailable):
                    await request
            await asyncio.to_thread(broker.process.start)

    run(main())


def test_a_broker_that_does_not_answer_costs_the_timeout_and_no_more(broker):
    async def main():
        async with broker.keeping("stall"), broker.client() as client:
            await client.subscribe("stall", inbox := Inbox())
            await client.publish("stall", b"before")
            await inbox.next()
            broker.process.pause()
            try:
                results = await asyncio.gather(
                    *(client.publish("stall", b"x" * 100_000, timeout=0.2) for _ in range(100)), return_exceptions=True
                )
            finally:
                broker.process.resume()
            assert {type(result) for result in results} <= {NoReply, Unavailable}
            await client.publish("stall", b"after", timeout=10)
            while (await inbox.next()).data != b"after":
                pass

    run(main())


def test_nobody_at_the_port_is_unavailable_at_once(broker, no_secrets):
    url = broker.process.url().replace(str(broker.process.port), str(free_port()))

    async def main():
        async with broker.client(url) as client:
            assert not any(secret in repr(client) for secret in SECRETS)
            with pytest.raises(Unavailable) as first:
                await client.publish("t", b"", timeout=10)
            with pytest.raises(Unavailable) as second:
                await client.subscribe("t", answer)
            return first.value, second.value

    for error in run(main()):
        assert error.retry_after > 0
        assert not any(secret in told(error) for secret in SECRETS)


def test_a_wrong_password_is_an_auth_error_without_the_password(broker, no_secrets):
    async def main():
        async with broker.client(broker.process.url(password="wr0ng-p4ssword")) as client:
            with pytest.raises(AuthError) as caught:
                await client.publish("t", b"", timeout=10)
            return caught.value

    assert not any(secret in told(run(main())) for secret in SECRETS)


def test_fire_and_forget_that_a_lost_connection_took_is_counted_or_refused(broker):
    async def main():
        async with broker.keeping("gone"), broker.client() as client:
            await client.publish("gone", b"", confirm=False)
            await asyncio.to_thread(broker.process.kill)

            async def refused():
                try:
                    await client.publish("gone", b"", confirm=False)
                except Unavailable:
                    return True
                return client.statistics().lost > 0

            async with asyncio.timeout(20):
                while not await refused():
                    await asyncio.sleep(0.001)
            await asyncio.to_thread(broker.process.start)

    run(main())


def test_a_reply_that_was_sent_while_the_asker_was_away_arrives(request):
    """Redis only: its stream of replies outlives the connection."""
    broker = started(request, brokers.Redis)

    async def main():
        asked = asyncio.Event()
        async with broker.client() as client, broker.client() as service:
            message = None

            def take(one):
                nonlocal message
                message = one
                asked.set()

            await service.subscribe("away", take)
            waiting = asyncio.create_task(client.request("away", b"", reply_to="away.1"))
            await asked.wait()
            await eventually(lambda: client.statistics().published, 1)
            client._connection.lost(client._connection.current, "a test says so")
            await message.reply(b"still here")
            assert await waiting == b"still here"

    run(main())


def test_what_a_closing_member_did_not_finish_goes_to_another(queueing):
    async def main():
        async with queueing.client(group="heirs", **queueing.heir) as first:
            await first.subscribe("estate", never := Never())
            await first.publish("estate", b"left behind")
            await never.entered.wait()
        async with queueing.client(group="heirs", **queueing.heir) as second:
            await second.subscribe("estate", inbox := Inbox())
            return (await inbox.next()).data

    assert run(main()) == b"left behind"


def test_a_closed_client_leaves_no_task(broker):
    async def main():
        async with broker.client() as client:
            await client.subscribe("t", answer)
            await client.publish("t", b"", confirm=False)
            await client.request("t", b"", reply_to="r") if not broker.keeps else None
        await eventually(lambda: len(asyncio.all_tasks()), 1)

    run(main())


@pytest.mark.parametrize("kind", brokers.ALL, ids=lambda kind: kind.name)
def test_a_bad_url_is_refused_at_once(kind):
    for url in ("ftp://u:s3cr3t@h", "nonsense", 7):
        with pytest.raises(InvalidOption) as caught:
            kind(None).client(url)
        assert "PubSubClient" in str(caught.value)
        assert "s3cr3t" not in told(caught.value).replace(repr(url), "")

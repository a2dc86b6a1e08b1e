"""The NATS rpc client against the contract and a real server, and what is its own."""

import asyncio
import contextlib
import logging
import traceback

import pytest

from flow_core.errors import (
    AdapterError,
    AuthError,
    FlowError,
    InvalidOption,
    MissingInput,
    NoReply,
    PayloadError,
    Permanent,
    RegistrationError,
    Unavailable,
)
from flow_core.rpc.nats import NatsRpcClient, ServiceError
from tests.aio import run
from tests.rpc.contract import Never, RpcContract, Setup, echo
from tests.servers.nats import arrived

pytestmark = pytest.mark.server


class NatsSetup(Setup):
    """The services are at the other end of a second connection."""

    def __init__(self, server):
        self.server = server
        self.services = None

    def run(self, main):
        async def with_services():
            async with NatsRpcClient(self.server.url()) as self.services:
                return await main

        return run(with_services())

    async def client(self):
        return NatsRpcClient(self.server.url())

    async def serve(self, client, service, endpoint, handler):
        await self.services.serve(service, endpoint, handler)

    async def withdraw(self, client, service, endpoint):
        assert await self.services.withdraw(service, endpoint)


@pytest.fixture(params=[NatsSetup])
def setup(request, nats_server):
    return request.param(nats_server)


class TestContract(RpcContract):
    """All promises of ``contract.py``."""


# --- what is its own ------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def pair(server, **options):
    """A client and a service at two connections."""
    async with NatsRpcClient(server.url(), **options) as client, NatsRpcClient(server.url(), **options) as service:
        yield client, service


class Stock(Exception):
    retry_after = 0.25


@pytest.mark.parametrize(
    ("raised", "kind", "retry_after"),
    [
        (Stock("busy"), AdapterError, 0.25),
        (AdapterError("busy", retry_after=1.5), AdapterError, 1.5),
        (Unavailable("busy"), Unavailable, None),
        (NoReply("busy"), AdapterError, None),
        (AuthError("busy"), AuthError, None),
        (PayloadError("busy"), PayloadError, None),
        (Permanent("busy"), Permanent, None),
        (MissingInput("busy"), AdapterError, None),
        (ValueError("busy\r\nflow-error: x \u00e4"), AdapterError, None),
    ],
)
def test_errors_keep_their_meaning(nats_server, raised, kind, retry_after):
    def handler(data, headers):
        raise raised

    async def main():
        async with pair(nats_server) as (client, service):
            await service.serve("shop", "buy", handler)
            with pytest.raises(FlowError) as caught:
                await client.call("shop", "buy", b"")
            return caught.value

    error = run(main())
    assert type(error) is kind
    assert "busy" in error.message and "shop.buy" in error.message
    assert isinstance(error.__cause__, ServiceError)
    assert getattr(error, "retry_after", None) == retry_after


def test_a_caller_who_gives_up_cancels_the_handler(nats_server):
    async def main():
        async with pair(nats_server) as (client, service):
            await service.serve("shop", "wait", never := Never())
            (await never.called(client)).cancel()
            async with asyncio.timeout(5):
                await never.ended.wait()

    run(main())


def test_the_deadline_travels_and_ends_the_handler(nats_server):
    async def main():
        async with pair(nats_server) as (client, service):
            client._give_up = lambda *_: asyncio.sleep(0)  # so that only the deadline is left
            await service.serve("shop", "wait", never := Never())
            with pytest.raises(NoReply):
                await client.call("shop", "wait", b"", timeout=0.1)
            async with asyncio.timeout(5):
                await never.ended.wait()
            return float(never.headers["flow-timeout"])

    assert run(main()) == 0.1


def test_services_share_the_calls_and_groups_get_each_their_own(nats_server):
    async def main():
        served = []
        async with (
            pair(nats_server, prefix="prod.") as (client, first),
            NatsRpcClient(nats_server.url(), prefix="prod.") as second,
        ):
            for name, service in (("first", first), ("second", second)):
                await service.serve("shop", "buy", lambda data, headers, name=name: served.append(name) or data)
            replies = await asyncio.gather(*(client.call("shop", "buy", b"%d" % n) for n in range(50)))
            assert await first.withdraw("shop", "buy")
            assert not await first.withdraw("shop", "buy")
            served_by_both = set(served)
            del served[:]
            await asyncio.gather(*(client.call("shop", "buy", b"") for _ in range(10)))
            async with NatsRpcClient(nats_server.url()) as stranger:
                with pytest.raises(Unavailable, match=r"nobody serves shop\.buy"):
                    await stranger.call("shop", "buy", b"")
            return replies, served_by_both, set(served)

    assert run(main()) == ([b"%d" % n for n in range(50)], {"first", "second"}, {"second"})


def test_who_withdraws_answers_what_it_was_given(nats_server):
    async def main():
        async with pair(nats_server) as (client, first), NatsRpcClient(nats_server.url()) as second:
            await second.serve("shop", "buy", echo_of)
            for _ in range(5):
                await first.serve("shop", "buy", echo_of)
                calls = asyncio.gather(*(client.call("shop", "buy", b"%d" % n, timeout=30) for n in range(300)))
                await asyncio.sleep(0)  # on their way
                await first.withdraw("shop", "buy")
                assert await calls == [b"%d" % n for n in range(300)]

    run(main())


def echo_of(data, headers):
    return data


def test_only_so_many_calls_are_handled_at_a_time(nats_server):
    async def main():
        async with (
            NatsRpcClient(nats_server.url()) as client,
            NatsRpcClient(nats_server.url(), concurrency=3) as service,
        ):
            running, most, gate = 0, 0, asyncio.Event()

            async def handler(data, headers):
                nonlocal running, most
                running += 1
                most = max(most, running)
                if running == 3:
                    asyncio.get_running_loop().call_soon(gate.set)
                await gate.wait()
                running -= 1
                return data

            await service.serve("shop", "buy", handler)
            await asyncio.gather(*(client.call("shop", "buy", b"") for _ in range(20)))
            return most

    assert run(main()) == 3


def test_other_nats_programs_call_and_serve(nats_server):
    import nats

    async def main():
        other = await nats.connect(nats_server.url())
        async with pair(nats_server) as (client, service):
            await service.serve("ours", "echo", lambda data, headers: data)
            await service.serve("ours", "fail", lambda data, headers: 1 / 0)
            echoed = await other.request("ours.echo", b"x", timeout=5)
            failed = await other.request("ours.fail", b"", timeout=5)
            await other.publish("ours.echo", b"no reply is asked for")

            async def refuse(message):
                await message._client.publish(
                    message.reply, b"closed on Sundays", headers={"flow-error": "permanent", "flow-retry-after": "nan"}
                )

            await other.subscribe("theirs.open", cb=refuse)
            await arrived(other)
            with pytest.raises(Permanent, match="closed on Sundays"):
                await client.call("theirs", "open", b"")
            assert await client.call("ours", "echo", b"still there") == b"still there"
        await other.close()
        return echoed.data, failed.data, failed.headers

    echoed, failed, headers = run(main())
    assert echoed == b"x"
    assert failed.startswith(b"ZeroDivisionError") and headers == {"flow-error": "retryable"}


def test_calls_end_when_the_server_dies_and_services_come_back(nats_server):
    async def main():
        async with pair(nats_server) as (client, service):
            await service.serve("shop", "wait", never := Never())
            await service.serve("shop", "buy", echo)
            call = await never.called(client)
            await asyncio.to_thread(nats_server.kill)
            with pytest.raises(Unavailable, match="lost"):
                await call
            with pytest.raises(Unavailable):
                await client.call("shop", "buy", b"")
            await asyncio.to_thread(nats_server.start)
            async with asyncio.timeout(20):
                while True:
                    try:
                        return await client.call("shop", "buy", b"again", timeout=1)
                    except (Unavailable, NoReply) as error:
                        await asyncio.sleep(error.retry_after or 0.01)

    assert run(main()) == b"again"


def test_a_server_that_does_not_answer_costs_the_timeout(nats_server):
    async def main():
        async with pair(nats_server) as (client, service):
            await service.serve("shop", "buy", echo)
            await client.call("shop", "buy", b"")
            nats_server.pause()
            try:
                calls = (client.call("shop", "buy", b"x" * 1_000_000, timeout=0.2) for _ in range(50))
                results = await asyncio.gather(*calls, return_exceptions=True)
            finally:
                nats_server.resume()
            assert {type(result) for result in results} == {NoReply}
            return await client.call("shop", "buy", b"after", timeout=20)

    assert run(main()) == b"after"


def test_a_closed_client_leaves_no_task(nats_server):
    async def main():
        async with pair(nats_server) as (client, service):
            await service.serve("shop", "wait", never := Never())
            call = await never.called(client)
            await client.close()
            with pytest.raises(Unavailable, match="closed"):
                await call
        for _ in range(1000):
            if len(asyncio.all_tasks()) == 1:
                return True
            await asyncio.sleep(0.001)
        return asyncio.all_tasks()

    assert run(main()) is True


def test_passwords_stay_out_of_errors_and_logs(nats_server, caplog):
    caplog.set_level(logging.DEBUG)

    async def main():
        async with NatsRpcClient(nats_server.url(password="wr0ng-p4ss")) as client:
            with pytest.raises(AuthError) as caught:
                await client.call("shop", "buy", b"")
            return repr(client) + "".join(traceback.format_exception(caught.value))

    assert "wr0ng" not in run(main())
    assert not [record for record in caplog.records if "wr0ng" in record.getMessage()]


def test_serving_is_checked(nats_server):
    async def main():
        async with NatsRpcClient(nats_server.url()) as client:
            with pytest.raises(InvalidOption):
                await client.serve("a", "b", b"reply")
            await client.serve("a", "b", echo)
            with pytest.raises(RegistrationError, match="served already"):
                await client.serve("a", "b", echo)
            with pytest.raises(Permanent, match="no subject"):
                await client.serve("a b", "c", echo)
            with pytest.raises(Permanent, match="no subject"):
                await client.call("a b", "c", b"")

    run(main())


def test_bad_options_are_refused_at_once():
    with pytest.raises(InvalidOption, match="NatsRpcClient"):
        NatsRpcClient("http://h")
    with pytest.raises(InvalidOption, match="concurrency"):
        NatsRpcClient("nats://h", concurrency=0)

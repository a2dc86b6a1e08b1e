"""The talk on one stream of Serve, as a client in another language has it: hello, calls, answers, the end."""

import asyncio
from contextlib import asynccontextmanager

import grpc.aio
import pytest

from flow_core import Step, errors
from flow_core.client.channel import failure
from flow_core.proto import flow_pb2 as pb
from tests.service.test_serving import CALL, play


@asynccontextmanager
async def stream(client, hello=None):
    """A stream that has said hello."""
    call = client.channel.stream("Serve")
    if hello is not None:
        await call.write(pb.ServeRequest(hello=hello))
        assert (await call.read()).welcome
    try:
        yield call
    finally:
        call.cancel()


def test_a_broken_stream_fails_the_calls_under_way_and_they_are_retried():
    async def scenario(server, client):
        await client.create_step("shop", Step("charge", CALL.operation, retry=1), owner="payment")
        async with stream(client, pb.Hello(service="payment", endpoints=["charge"])) as call:
            run = await client.execute("shop", b"x", async_=True)
            assert (await call.read()).call.headers["flow-attempt"] == "1"
        async with client.serve(handlers={"charge": lambda data, headers: headers["flow-attempt"].encode()}):
            assert await run == b"2"

    play(scenario)


def test_a_call_that_nobody_waits_for_is_cancelled_over_the_stream():
    async def scenario(server, client):
        cancelled, started = asyncio.Event(), asyncio.Event()

        async def handler(data, headers):
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

        async with client.serve("shop", CALL, handler=handler):
            run = await client.execute("shop", async_=True)
            await started.wait()
            await run.abort()
            await cancelled.wait()

    play(scenario)


def test_a_late_answer_and_one_to_nothing_change_nothing():
    async def scenario(server, client):
        await client.create_step("shop", CALL, owner="payment")
        async with stream(client, pb.Hello(service="payment", endpoints=["charge"])) as call:
            run = await client.execute("shop", b"x", async_=True)
            number = (await call.read()).call.number
            for answer in (
                pb.CallAnswer(number=number + 7, data=b"no"),
                pb.CallAnswer(number=number, data=b"yes"),
                pb.CallAnswer(number=number, data=b"late"),
            ):
                await call.write(pb.ServeRequest(answer=answer))
            assert await run == b"yes"

    play(scenario)


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (pb.ServeRequest(), errors.InvalidOption),
        (pb.ServeRequest(draining=True), errors.InvalidOption),
        (pb.ServeRequest(hello=pb.Hello(service="no name", endpoints=["e"])), errors.InvalidId),
        (pb.ServeRequest(hello=pb.Hello(service="s", endpoints=["e e"])), errors.InvalidStep),
        (pb.ServeRequest(hello=pb.Hello(service="s", concurrency=-1)), errors.InvalidOption),
        (pb.ServeRequest(hello=pb.Hello(service="s", concurrency=2**31 - 1)), errors.InvalidOption),
        (pb.ServeRequest(hello=pb.Hello(service="s", endpoints=map(str, range(1_001)))), errors.InvalidOption),
    ],
)
def test_a_stream_has_to_begin_with_a_proper_hello(first, kind):
    async def scenario(server, client):
        async with stream(client) as call:
            await call.write(first)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call.read()
        assert type(failure("", refused.value)) is kind

    play(scenario)

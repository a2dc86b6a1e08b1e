"""Many executions over one stream."""

import asyncio

import grpc.aio
import pytest

from flow_core import ClientCallOperation, Flow, Status, Step, errors
from flow_core.proto import flow_pb2 as pb
from tests import aio
from tests.service.loopback import local, serving, until


def play(scenario, flow=None):
    async def main():
        async with serving(flow, service="slow") as (server, client):
            server.flow.bind("same", lambda value: value)
            await client.create_step("f", local("same"))
            await scenario(server, client)

    aio.run(main())


@pytest.mark.parametrize("store", [None, "sqlite"])
@pytest.mark.parametrize(("count", "batch", "window"), [(0, 1, 1), (1, 256, 1), (1_000, 64, 100), (300, 1, 7)])
def test_every_request_is_answered_once_with_its_own_value(tmp_path, store, count, batch, window):
    async def scenario(server, client):
        many = client.execute_many("f", ({"n": n} for n in range(count)), batch=batch, window=window)
        outcomes = {outcome.number: outcome async for outcome in many}
        assert len(outcomes) == count
        for number, outcome in outcomes.items():
            assert (outcome.status, outcome.value, outcome.error) == (Status.SUCCESS, {"n": number}, None)
        assert len({outcome.id for outcome in outcomes.values()}) == count
        if count == 1:
            assert await client.executor.status("f", outcomes[0].id) is Status.SUCCESS

    play(scenario, Flow(store=f"sqlite:///{tmp_path}/flow.db") if store else None)


def test_what_can_not_start_and_what_fails_are_outcomes_of_their_own():
    async def scenario(server, client):
        def odd(value):
            if value % 2:
                raise ValueError(value)
            return value

        server.flow.bind("odd", odd)
        await client.create_step("g", local("odd"))
        outcomes = [outcome async for outcome in client.execute_many("g", range(4))]
        assert {o.number: (o.status, o.value) for o in outcomes} == {
            0: (Status.SUCCESS, 0), 1: (Status.FAILURE, None), 2: (Status.SUCCESS, 2), 3: (Status.FAILURE, None),
        }  # fmt: skip
        assert {type(o.error) for o in outcomes if o.number % 2} == {errors.StepFailed}
        (unknown,) = [outcome async for outcome in client.execute_many("nowhere", [b""])]
        assert type(unknown.error) is errors.UnknownFlow and unknown.status is Status.UNKNOWN

    play(scenario)


def test_executions_that_wait_do_not_keep_others_back():
    async def scenario(server, client):
        gate = asyncio.Event()

        async def handler(data, headers):
            if data == b"0":
                await gate.wait()
            return data

        async with client.serve("g", Step("s", ClientCallOperation("slow", "s")), handler=handler):
            many = client.execute_many("g", [b"0", b"1", b"2"])
            seen = [(await anext(many)).value, (await anext(many)).value]
            assert sorted(seen) == [b"1", b"2"]
            gate.set()
            assert (await anext(many)).value == b"0"
            with pytest.raises(StopAsyncIteration):
                await anext(many)

    play(scenario)


def test_requests_may_come_slowly():
    async def scenario(server, client):
        gates = [asyncio.Event() for _ in range(3)]

        async def requests():
            for number, gate in enumerate(gates):
                yield number
                await gate.wait()

        many = client.execute_many("f", requests())
        for number, gate in enumerate(gates):
            assert (await anext(many)).value == number
            gate.set()
        with pytest.raises(StopAsyncIteration):
            await anext(many)

    play(scenario)


def test_an_error_of_the_requests_reaches_the_caller():
    async def scenario(server, client):
        def requests():
            yield 1
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            [outcome async for outcome in client.execute_many("f", requests())]
        with pytest.raises(errors.PayloadError):
            [outcome async for outcome in client.execute_many("f", [object()])]

    play(scenario)


def test_options_hold_for_each_and_without_waiting_the_start_is_told():
    async def scenario(server, client):
        await client.create_step("late", local("same", after="never"))
        async for outcome in client.execute_many("late", [b""], unresolved="fail"):
            assert type(outcome.error) is errors.UnresolvedSteps

        async def stuck(value):
            await asyncio.Event().wait()

        server.flow.bind("stuck", stuck)
        await client.create_step("g", local("stuck"))
        started = [outcome async for outcome in client.execute_many("g", [b"", b""], async_=True, timeout=600)]
        assert [outcome.status for outcome in started] == [Status.RUNNING] * 2
        for outcome in started:
            await client.executor.abort("g", outcome.id)

    play(scenario)


def test_who_goes_away_leaves_nothing_behind_and_what_was_started_goes_on():
    async def scenario(server, client):
        gate = asyncio.Event()

        async def slow(value):
            await gate.wait()

        server.flow.bind("slow", slow)
        await client.create_step("g", local("slow"))
        many = client.execute_many("g", range(100))
        coming = asyncio.ensure_future(anext(many))
        await until(lambda: server.flow.executor.statistics().executions_live == 100)
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        await many.aclose()
        gate.set()
        await until(lambda: server.flow.executor.statistics().executions_live == 0)

    play(scenario)


def test_a_message_of_too_many_requests_ends_the_stream():
    async def scenario(server, client):
        call = client.channel.stream("ExecuteMany")
        await call.write(pb.ExecuteBatch(requests=[pb.TaggedRequest()] * 10_001))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call.read()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    play(scenario)

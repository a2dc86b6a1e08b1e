"""Services that offer steps over their own stream: calls, presence, waiting, coming back, leaving."""

import asyncio

import pytest

from flow_core import ClientCallOperation, Executor, Fallback, Flow, Permanent, Status, Step, connect, errors
from flow_core.rpc import MemoryRpcClient
from flow_core.service.workers.router import WorkerRouter
from tests import aio
from tests.service.loopback import serving, until


def play(scenario, flow=None, **options):
    async def main():
        async with serving(flow() if flow else None, service="payment", **options) as (server, client):
            await scenario(server, client)

    aio.run(main())


async def charge(order):
    return {"paid": order}


CALL = Step("charge", ClientCallOperation("payment", "charge"))


def test_a_step_with_a_function_runs_in_the_service():
    def total(prices):
        return sum(prices)

    async def tell(ctx, value):
        return [ctx.flow, ctx.step, ctx.attempt, ctx.endpoint, ctx.idempotency_key.endswith("/tell"), value]

    async def scenario(server, client):
        async with client.serve("shop", Step("total", total), Step("tell", tell, after="total")) as offer:
            assert offer.connected and await client.owners("shop") == {"total": "payment", "tell": "payment"}
            assert [step.operation for step in await client.lookup("shop")] == [
                ClientCallOperation("payment", "total"), ClientCallOperation("payment", "tell"),
            ]  # fmt: skip
            assert await client.call("shop", [1, 2, 3]) == b'["shop","tell",1,"tell",true,6]'

    play(scenario)


def test_a_handler_of_bytes_gets_the_headers():
    async def scenario(server, client):
        seen = []

        def handler(data, headers):
            seen.append(headers)
            return data[::-1]

        async with client.serve("shop", CALL, handler=handler):
            assert await client.call("shop", b"abc", id="e1") == b"cba"
        assert seen[0]["flow-execution"] == "e1" and seen[0]["flow-idempotency-key"] == "e1/charge"

    play(scenario)


def test_fallback_and_compensation_run_there_too():
    async def scenario(server, client):
        undone, broken = [], lambda value: 1 / 0
        first = Step("first", lambda value: "done", compensation=undone.append)
        second = Step("second", broken, after="first", fallback=Fallback(lambda value: "saved"))
        async with client.serve("shop", first, second):
            assert await client.call("shop") == b'"saved"'
        async with client.serve("other", first, Step("last", broken, after="first")):
            with pytest.raises(errors.StepFailed):
                await client.call("other")
        assert undone == ["done"]

    play(scenario)


@pytest.mark.parametrize(
    ("raised", "attempts", "text"),
    [
        (ValueError("no stock"), 3, "ValueError: no stock"),
        (errors.AdapterError("later", retry_after=0.001), 3, "later"),
        (Permanent("never"), 1, "never"),
        (errors.PayloadError("too much"), 1, "too much"),
    ],
)
def test_what_a_handler_raises_decides_about_retries(raised, attempts, text):
    async def scenario(server, client):
        calls = []

        async def handler(data, headers):
            calls.append(headers["flow-attempt"])
            raise raised

        async with client.serve("shop", Step("charge", CALL.operation, retry=2, timeout=60), handler=handler):
            with pytest.raises(errors.StepFailed) as failed:
                await client.call("shop")
        assert text in failed.value.__cause__.message
        assert calls == [str(n + 1) for n in range(attempts)]

    play(scenario)


def test_calls_are_shared_by_instances_and_none_gets_more_than_it_takes():
    async def scenario(server, client):
        most, now, gate = {0: 0, 1: 0}, {0: 0, 1: 0}, asyncio.Event()

        def handler_of(which):
            async def handler(data, headers):
                now[which] += 1
                most[which] = max(most[which], now[which])
                await gate.wait()
                now[which] -= 1
                return b""

            return handler

        async with (
            client.serve("shop", CALL, handler=handler_of(0), concurrency=3),
            client.serve("shop", CALL, handler=handler_of(1), concurrency=3),
        ):
            runs = [await client.execute("shop", async_=True) for _ in range(20)]
            await until(lambda: now == {0: 3, 1: 3})
            explained = [str(await client.executor.explain("shop", run.id)) for run in runs]
            assert (
                sum("step 'charge' waits for service 'payment', busy with 6 calls" in text for text in explained) == 14
            )
            gate.set()
            for run in runs:
                await run
        assert most == {0: 3, 1: 3}

    play(scenario)


def test_while_a_service_is_away_its_steps_wait_and_explain_names_it():
    async def scenario(server, client):
        async with client.serve("shop", Step("charge", charge), keep=True):
            assert await client.unavailable("shop") == {}
        assert await client.unavailable("shop") == {"charge": "payment"}
        run = await client.execute("shop", 1, async_=True)
        text = str(await client.executor.explain("shop", run.id))
        assert "step 'charge' waits for service 'payment', away for " in text
        async with client.serve("shop", Step("charge", charge)):
            assert await run == b'{"paid":1}'
        assert await client.lookup("shop") == []

    play(scenario)


def test_calls_that_wait_for_a_service_hold_up_no_other_flow():
    async def scenario(server, client):
        async with client.serve("shop", Step("charge", charge), keep=True):
            pass
        runs = [await client.execute("shop", 1, async_=True) for _ in range(2)]
        async with asyncio.timeout(30):
            assert await client.call("other", 1) == {"paid": 1}
        async with client.serve("shop", Step("charge", charge)):
            assert [await run for run in runs] == [b'{"paid":1}'] * 2

    def two_slots():
        flow = Flow(executor=Executor(concurrency=2))
        asyncio.get_running_loop().create_task(flow.create_step("other", Step("here", charge)))
        return flow

    play(scenario, two_slots)


def test_or_they_fail_at_once_when_that_is_wanted():
    async def scenario(server, client):
        async with client.serve("shop", Step("charge", charge), keep=True):
            pass
        with pytest.raises(errors.StepFailed) as failed:
            await client.call("shop")
        assert type(failed.value.__cause__) is errors.Unavailable and "is away for" in failed.value.__cause__.message

    play(scenario, unavailable="fail")


def test_a_step_may_be_registered_before_its_service_comes():
    async def scenario(server, client):
        await client.create_step("shop", CALL, owner="payment")
        run = await client.execute("shop", b"2", async_=True)
        async with client.serve(handlers={"charge": lambda data, headers: data}):
            assert await run == b"2"

    play(scenario)


def test_nobody_waits_for_a_service_that_is_unknown_nor_for_an_endpoint_that_is():
    async def scenario(server, client):
        await client.create_step("shop", Step("s", ClientCallOperation("paymnet", "charge")), owner="other")
        await client.create_step("mall", Step("s", ClientCallOperation("payment", "chrage")), owner="other")
        async with client.serve("else", Step("charge", charge)):
            for flow, fix in (("shop", "'payment'"), ("mall", "'charge'")):
                with pytest.raises(errors.StepFailed) as failed:
                    await client.call(flow)
                assert type(failed.value.__cause__) is errors.Unavailable and fix in failed.value.__cause__.fix

    play(scenario)


def test_a_fallback_client_calls_services_without_streams():
    async def scenario(server, client):
        await client.create_step("shop", Step("s", ClientCallOperation("mail", "send")), owner="mail")
        assert await client.call("shop", b"x") == b"sent x"

    rpc = MemoryRpcClient()
    rpc.serve("mail", "send", lambda data, headers: b"sent " + data)
    play(scenario, lambda: Flow(rpc=rpc))


def test_a_service_comes_back_to_a_server_that_was_away(tmp_path):
    from flow_core.service.server import FlowServer

    async def main():
        store, address = f"sqlite:///{tmp_path}/flow.db", f"unix:{tmp_path}/s"
        async with connect(address, service="payment") as client:
            async with Flow(store=store, rpc=WorkerRouter()) as flow, FlowServer(flow, address=address):
                offer = client.serve("shop", Step("charge", charge))
                await offer.__aenter__()
                assert await client.call("shop", 1) == b'{"paid":1}'
            await until(lambda: not offer.connected)
            async with Flow(store=store, rpc=WorkerRouter()) as flow, FlowServer(flow, address=address):
                assert await client.call("shop", 2) == b'{"paid":2}'  # it waits for the service, which comes back
                assert offer.connected and await client.revision("shop") == 1
                await offer.__aexit__(None, None, None)
                assert await client.revision("shop") == 2

    aio.run(main())


def test_what_a_durable_flow_left_unfinished_waits_for_its_service(tmp_path):
    from flow_core.service.server import FlowServer

    async def main():
        store = f"sqlite:///{tmp_path}/flow.db"
        async with Flow(store=store, rpc=WorkerRouter()) as flow, FlowServer(flow) as server:
            async with connect(server.url, service="payment") as client:
                await client.create_step("shop", CALL, owner="payment")
                run = await client.execute("shop", b"3", async_=True)
            await flow.executor.stop(0)
        async with (
            Flow(store=store, rpc=WorkerRouter()) as flow,
            FlowServer(flow) as server,
            connect(server.url, service="payment") as client,
        ):
            text = str(await client.executor.explain("shop", run.id))
            assert "waits for service 'payment', away for" in text
            async with client.serve(handlers={"charge": lambda data, headers: data}):
                assert await client.executor.wait("shop", run.id) is Status.SUCCESS

    aio.run(main())


def test_a_new_version_of_a_service_puts_its_steps_in_place_of_the_old_ones():
    async def scenario(server, client):
        async with client.serve("shop", Step("charge", charge), keep=True):
            pass
        async with client.serve("shop", Step("charge", charge, timeout=5.0), Step("more", charge)):
            assert [(step.id, step.timeout) for step in await client.lookup("shop")] == [
                ("charge", 5.0),
                ("more", None),
            ]

    play(scenario)


def test_the_last_instance_takes_the_steps_along():
    async def scenario(server, client):
        async with client.serve("shop", Step("charge", charge)):
            async with client.serve("shop", Step("charge", charge)):
                assert server.served.instances("payment") == 2
            assert len(await client.lookup("shop")) == 1
            assert await client.call("shop", 1) == b'{"paid":1}'
        assert await client.lookup("shop") == []

    play(scenario)


def test_leaving_lets_calls_under_way_end_and_takes_no_new_ones():
    async def scenario(server, client):
        started, gate = asyncio.Event(), asyncio.Event()

        async def handler(data, headers):
            started.set()
            await gate.wait()
            return b"done"

        offer = client.serve("shop", CALL, handler=handler, keep=True)
        await offer.__aenter__()
        under_way = await client.execute("shop", async_=True)
        await started.wait()
        leaving = asyncio.ensure_future(offer.__aexit__(None, None, None))
        await until(lambda: client.unavailable("shop"))
        later = await client.execute("shop", async_=True)
        assert "away for" in str(await client.executor.explain("shop", later.id))
        gate.set()
        await leaving
        assert await under_way == b"done" and later.status is Status.RUNNING
        await later.abort()

    play(scenario)


@pytest.mark.parametrize(
    "arguments",
    [
        {"steps": [CALL]},
        {"steps": []},
        {"steps": [Step("a", charge)], "handlers": {"a": charge}},
        {"steps": [CALL, Step("b", ClientCallOperation("payment", "b"))], "handler": charge},
        {"steps": [CALL], "handler": "charge"},
        {"steps": [Step("a", charge)], "concurrency": 0},
    ],
)
def test_an_offer_without_sense_is_refused_before_anything_is_sent(arguments):
    with pytest.raises(errors.InvalidOption):
        connect("grpc://127.0.0.1:1", service="payment").serve("shop", *arguments.pop("steps"), **arguments)


def test_a_service_needs_a_name():
    with pytest.raises(errors.InvalidOption, match="a service needs a name"):
        connect("grpc://127.0.0.1:1").serve("shop", Step("a", charge))

"""What every rpc client promises, as tests that any client can be put through.

A new client needs one `Setup` subclass: how to make the client, and how to serve an endpoint that it can reach. Its
test module sets ``setup`` as a fixture and inherits `RpcContract`; see ``test_memory_rpc.py``.
"""

import asyncio
from abc import ABC, abstractmethod

import pytest

from flow_core.errors import AdapterError, FlowError, NoReply, PayloadError, Permanent, Unavailable
from flow_core.model.ids import MAX_PAYLOAD
from flow_core.rpc import RpcClient, RpcStatistics


class Setup(ABC):
    """How to test one client. ``run`` drives a coroutine, in virtual time where the client allows it."""

    #: What a `Permanent` of the other end arrives as. A wire carries a status, not a class: there it is `Rejected`.
    permanent: type[Permanent] = Permanent

    @abstractmethod
    def run(self, main): ...

    @abstractmethod
    async def client(self) -> RpcClient: ...

    @abstractmethod
    async def serve(self, client, service, endpoint, handler): ...

    @abstractmethod
    async def withdraw(self, client, service, endpoint): ...


async def echo(data, headers):
    return data


class Never:
    """A handler that never answers: ``entered`` is set once it has got ``headers``, ``ended`` when it is cancelled."""

    def __init__(self):
        self.entered, self.ended = asyncio.Event(), asyncio.Event()
        self.headers = None

    async def __call__(self, data, headers):
        self.headers = headers
        self.entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()

    async def called(self, client, **options):
        """A call of ``shop.wait``, where this is served, once it is here."""
        task = asyncio.create_task(client.call("shop", "wait", b"", **options))
        await self.entered.wait()
        return task


class RpcContract:
    """The tests. Times are short enough for a client that needs real ones."""

    def play(self, setup, scenario, handler=None):
        async def main():
            async with await setup.client() as client:
                if handler is not None:
                    await setup.serve(client, "shop", "buy", handler)
                return await scenario(client)

        return setup.run(main())

    @pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)), b"z" * MAX_PAYLOAD])
    def test_any_bytes_go_there_and_back(self, setup, data):
        async def scenario(client):
            return await client.call("shop", "buy", data)

        assert self.play(setup, scenario, echo) == data

    def test_headers_arrive_and_are_read_only(self, setup):
        async def handler(data, headers):
            with pytest.raises(TypeError):
                headers["x"] = "y"
            return headers["flow-step"].encode()

        async def scenario(client):
            return await client.call("shop", "buy", b"", headers={"flow-step": "pay"})

        assert self.play(setup, scenario, handler) == b"pay"

    @pytest.mark.parametrize("endpoint", [("shop", "sell"), ("mall", "buy")])
    def test_nobody_there_is_unavailable(self, setup, endpoint):
        async def scenario(client):
            with pytest.raises(Unavailable):
                await client.call(*endpoint, b"")
            return client.statistics()

        assert self.play(setup, scenario, echo) == RpcStatistics(calls=1, failures=1)

    def test_a_withdrawn_endpoint_is_unavailable_and_may_come_back(self, setup):
        async def scenario(client):
            await setup.withdraw(client, "shop", "buy")
            with pytest.raises(Unavailable):
                await client.call("shop", "buy", b"")
            await setup.serve(client, "shop", "buy", echo)
            return await client.call("shop", "buy", b"again")

        assert self.play(setup, scenario, echo) == b"again"

    def test_a_timeout_is_an_adapter_error_and_a_timeout_error(self, setup):
        async def scenario(client):
            with pytest.raises(NoReply, match=r"shop\.buy") as caught:
                await client.call("shop", "buy", b"", timeout=0.05)
            assert isinstance(caught.value, AdapterError)
            assert isinstance(caught.value, TimeoutError)
            return client.statistics()

        assert self.play(setup, scenario, Never()) == RpcStatistics(calls=1, timeouts=1)

    @pytest.mark.parametrize("left", [0, 0.0, -1.0])
    def test_no_time_left_sends_nothing(self, setup, left):
        seen = []

        async def handler(data, headers):
            seen.append(data)
            return b""

        async def scenario(client):
            with pytest.raises(NoReply):
                await client.call("shop", "buy", b"", timeout=left)

        self.play(setup, scenario, handler)
        assert seen == []

    def test_what_the_other_end_raises_becomes_an_adapter_error(self, setup):
        async def handler(data, headers):
            raise KeyError("stock")

        async def scenario(client):
            with pytest.raises(AdapterError, match="stock") as caught:
                await client.call("shop", "buy", b"")
            assert not isinstance(caught.value, Unavailable)
            assert caught.value.__cause__ is not None
            return client.statistics()

        assert self.play(setup, scenario, handler) == RpcStatistics(calls=1, failures=1)

    def test_a_timeout_of_the_other_end_is_not_ours(self, setup):
        async def handler(data, headers):
            raise TimeoutError("their database")

        async def scenario(client):
            with pytest.raises(AdapterError) as caught:
                await client.call("shop", "buy", b"", timeout=5)
            return caught.value

        assert not isinstance(self.play(setup, scenario, handler), NoReply)

    def test_a_flow_error_passes(self, setup):
        async def handler(data, headers):
            raise Permanent("sold out")

        async def scenario(client):
            with pytest.raises(FlowError, match="sold out") as caught:
                await client.call("shop", "buy", b"")
            return type(caught.value)

        assert self.play(setup, scenario, handler) is setup.permanent

    @pytest.mark.parametrize("data", ["text", None, bytearray(b"x"), b"z" * (MAX_PAYLOAD + 1)])
    def test_bad_payloads_are_refused_before_they_are_sent(self, setup, data):
        async def scenario(client):
            with pytest.raises(PayloadError):
                await client.call("shop", "buy", data)
            return client.statistics().calls

        assert self.play(setup, scenario, echo) == 0

    def test_an_oversized_reply_is_refused(self, setup):
        async def handler(data, headers):
            return b"z" * (MAX_PAYLOAD + 1)

        async def scenario(client):
            with pytest.raises(PayloadError, match="MAX_PAYLOAD"):
                await client.call("shop", "buy", b"")

        self.play(setup, scenario, handler)

    def test_cancellation_reaches_the_call(self, setup):
        async def scenario(client):
            await setup.serve(client, "shop", "wait", never := Never())
            task = await never.called(client)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return client.statistics()

        assert self.play(setup, scenario) == RpcStatistics(calls=1)

    def test_calls_run_side_by_side(self, setup):
        async def scenario(client):
            gate = asyncio.Event()

            async def handler(data, headers):
                if data == b"2":
                    gate.set()
                await gate.wait()
                return data

            await setup.serve(client, "shop", "meet", handler)
            async with asyncio.timeout(5):
                return await asyncio.gather(*(client.call("shop", "meet", b"%d" % n) for n in (1, 2)))

        assert self.play(setup, scenario) == [b"1", b"2"]

    def test_a_closed_client_refuses_and_closes_twice(self, setup):
        async def scenario(client):
            assert await client.call("shop", "buy", b"x") == b"x"
            await client.close()
            await client.close()
            with pytest.raises(Unavailable, match="closed"):
                await client.call("shop", "buy", b"")
            return client.statistics()

        assert self.play(setup, scenario, echo) == RpcStatistics(calls=1, replies=1)

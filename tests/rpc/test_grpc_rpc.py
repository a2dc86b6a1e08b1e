"""What is the gRPC client's own, on a real server: statuses, metadata, deadlines. The rest: ``test_network_rpc.py``."""

import asyncio
import re

import grpc
import pytest

import flow_core.rpc.grpc as grpc_module
from flow_core.errors import (
    InvalidOption,
    NoReply,
    PayloadError,
    Permanent,
    Rejected,
    Unavailable,
)
from flow_core.model.ids import MAX_PAYLOAD
from flow_core.net.tls import Tls
from flow_core.rpc.grpc import STATUSES, GrpcRpcClient
from tests.aio import run
from tests.rpc.contract import echo
from tests.rpc.network import GRPC
from tests.servers.chaos import ChaosProxy, Fault
from tests.servers.grpc_server import GrpcServer, Status

play, caught = GRPC.play, GRPC.caught


def failing(code, details="why", trailers=()):
    async def handler(data, headers):
        raise Status(code, details, trailers)

    return handler


# --- statuses ---------------------------------------------------------------------------------------------------------


def drawn():
    """The table in the module's docstring: status -> (class, "retried" or "never")."""
    rows = re.findall(r"^ {4}([A-Z_]+) +(\w+) +(retried|never)", grpc_module.__doc__, re.MULTILINE)
    return {status: (kind, word) for status, kind, word in rows}


def test_the_table_has_every_status_and_is_the_one_drawn():
    assert set(STATUSES) == {code.name for code in grpc.StatusCode} - {"OK"}
    words = {True: "never", False: "retried"}
    assert drawn() == {name: (kind.__name__, words[issubclass(kind, Permanent)]) for name, kind in STATUSES.items()}


@pytest.mark.parametrize("name", sorted(STATUSES))
def test_every_status_becomes_what_the_table_says(name):
    error = caught(failing(grpc.StatusCode[name]))
    assert type(error) is STATUSES[name]
    assert "call of shop.buy at grpc://127.0.0.1:" in str(error)
    assert f"{name}: why" in str(error)
    assert error.__cause__ is not None
    assert error.retry_after is None


@pytest.mark.parametrize("name", sorted(STATUSES))
def test_the_engine_tries_again_after_what_is_retried_and_after_nothing_else(name):
    assert GRPC.tries(failing(grpc.StatusCode[name])) == (["1", "2"] if drawn()[name][1] == "retried" else ["1"])


@pytest.mark.parametrize(("value", "seconds"), [("0", 0.0), ("1500", 1.5), ("999999999999", 999999999.999)])
@pytest.mark.parametrize("name", ["UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED"])
def test_pushback_is_when_to_try_again(name, value, seconds):
    error = caught(failing(grpc.StatusCode[name], trailers=[("grpc-retry-pushback-ms", value)]))
    assert type(error) is STATUSES[name]
    assert error.retry_after == seconds


@pytest.mark.parametrize("value", ["-1", "soon", "", "1.5", "1_000", "9" * 13])
def test_pushback_that_is_no_time_means_never(value):
    error = caught(failing(grpc.StatusCode.UNAVAILABLE, trailers=[("grpc-retry-pushback-ms", value)]))
    assert type(error) is Rejected


@pytest.mark.parametrize("size", [MAX_PAYLOAD + 1, 2 * MAX_PAYLOAD])
def test_a_reply_over_the_limit_is_never_tried_again(size):
    async def handler(data, headers):
        return bytes(size)

    assert isinstance(caught(handler, PayloadError), PayloadError)


# --- what reaches the wire --------------------------------------------------------------------------------------------


def test_service_and_endpoint_are_the_path_and_headers_are_metadata():
    async def scenario(client, server):
        server.serve("shop.v1.Orders", "Place", echo)
        await client.call("shop.v1.Orders", "Place", b"x", headers={"Flow-Step": "pay", "traceparent": "00-1"})
        [(path, headers, _)] = server.calls
        return path, headers["flow-step"], headers["traceparent"], headers["authorization"]

    secret = {"Authorization": "Bearer s3cret"}
    assert play(scenario, headers=secret) == ("/shop.v1.Orders/Place", "pay", "00-1", "Bearer s3cret")


def test_the_path_of_the_url_names_the_service():
    async def main():
        async with GrpcServer() as server, GrpcRpcClient(server.url + "/shop.v1.Orders") as client:
            server.serve("shop.v1.Orders", "Place", echo)
            return await client.call("orders", "Place", b"x")

    assert run(main()) == b"x"


@pytest.mark.parametrize(
    ("headers", "match"),
    [
        ({"token-bin": "x"}, "belongs to the protocol"),
        ({"grpc-timeout": "1S"}, "belongs to the protocol"),
        ({"content-type": "text/plain"}, "belongs to the protocol"),
        ({"a b": "x"}, "no name of a header"),
        ({"": "x"}, "no name of a header"),
        ({"ключ": "x"}, "no name of a header"),
        ({"k": b"x"}, "must be a str, not bytes"),
        ({"k": "snow ☃"}, "printable ASCII"),
        ({"k": "a\r\nb: c"}, "printable ASCII"),
        ({"k": "x" * 4097}, "limit is 4096"),
        ({f"k{n}": "x" for n in range(65)}, "limit is 64"),
    ],
)
def test_headers_that_are_no_metadata_are_refused_before_they_are_sent(headers, match):
    async def scenario(client, server):
        with pytest.raises(Rejected, match=match) as error:
            await client.call("shop", "buy", b"", headers=headers)
        assert "☃" not in str(error.value)
        return server.calls

    assert play(scenario, echo) == []


@pytest.mark.parametrize(("service", "endpoint"), [("a/b", "c"), ("a", "b/c"), ("a", "ü"), ("a", "b c")])
def test_names_that_are_no_path_are_refused(service, endpoint):
    async def scenario(client, server):
        with pytest.raises(Rejected, match="no path"):
            await client.call(service, endpoint, b"")

    play(scenario)


def test_the_deadline_reaches_the_other_end():
    async def scenario(client, server):
        await client.call("shop", "buy", b"", timeout=60)
        await client.call("shop", "buy", b"")
        return [left for _, _, left in server.calls]

    first, second = play(scenario, echo)
    assert 0 < first <= 61  # gRPC rounds up
    assert second is None or second > 1e6


# --- the connection ---------------------------------------------------------------------------------------------------


def test_all_calls_share_one_connection():
    async def main():
        async with GrpcServer() as server, ChaosProxy(server.port) as proxy:
            server.serve("shop", "buy", echo)
            async with GrpcRpcClient(f"grpc://127.0.0.1:{proxy.port}") as client:
                assert proxy.accepted == 0
                await asyncio.gather(*(client.call("shop", "buy", b"%d" % n) for n in range(50)))
                await client.call("shop", "buy", b"")
            return proxy.accepted

    assert run(main()) == 1


def test_a_dead_target_is_not_hammered():
    async def main():
        async with GrpcServer() as server, ChaosProxy(server.port) as proxy:
            proxy.fault = Fault("refuse")
            async with GrpcRpcClient(f"grpc://127.0.0.1:{proxy.port}") as client:
                for _ in range(300):
                    with pytest.raises(Unavailable):
                        await client.call("shop", "buy", b"")
            return proxy.accepted

    assert run(main()) <= 5


def test_a_connection_that_has_gone_silent_is_replaced():
    async def main():
        async with GrpcServer() as server, ChaosProxy(server.port) as proxy:
            server.serve("shop", "buy", echo)
            proxy.fault = lambda number: Fault("half_open" if number == 1 else "pass")
            async with GrpcRpcClient(f"grpc://127.0.0.1:{proxy.port}") as client:
                for _ in range(3):
                    with pytest.raises(NoReply):
                        await client.call("shop", "buy", b"", timeout=0.1)
                return await client.call("shop", "buy", b"back", timeout=30)

    assert run(main()) == b"back"


# --- bad arguments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "options", "match"),
    [
        ("grpc://shop", {}, "has no port"),
        ("http://shop:1", {}, "must begin with grpc://"),
        ("grpcss://shop:1", {}, "did you mean 'grpcs'"),
        ("shop:50051", {}, "must begin with"),
        ("grpc://ann:s3cret@shop:1", {}, "holds credentials"),
        ("grpc://shop:99999", {}, "Port out of range"),
        ("grpc://shop:1/a/b", {}, "names no service"),
        ("grpc://shop:1?x=1", {}, "query"),
        ("grpc://shop:1", {"tls": Tls()}, "without TLS"),
        ("grpc://shop:1", {"headers": {"a b": "s3cret"}}, "no name of a header"),
        ("grpcs://shop:1", {"tls": Tls(ca="/no/such/file")}, "can't be read"),
    ],
)
def test_wrong_arguments_are_refused_without_telling_secrets(url, options, match):
    with pytest.raises(InvalidOption, match=match) as error:
        GrpcRpcClient(url, **options)
    assert "s3cret" not in str(error.value)

"""The HTTP client: what reaches the wire, the pool of connections, certificates, and arguments that are wrong."""

import asyncio

import pytest

from flow_core.errors import AdapterError, InvalidOption, NoReply, Permanent, Rejected, Unavailable
from flow_core.net.tls import Tls
from flow_core.rpc.http import HttpRpcClient
from tests.aio import run
from tests.rpc.contract import Never, echo
from tests.rpc.network import HTTP
from tests.servers.chaos import ChaosProxy, Fault
from tests.servers.http_server import HttpServer

play = HTTP.play

# --- what reaches the wire --------------------------------------------------------------------------------------------


def seen(client_options, **call):
    """The request that reached the server."""

    async def scenario(client, server):
        server.handlers = Everywhere()
        await client.call(call.pop("service", "shop"), call.pop("endpoint", "buy"), b"{}", **call)
        return server.requests[0]

    return play(scenario, **client_options)


class Everywhere(dict):
    def get(self, path):
        return echo


@pytest.mark.parametrize(
    ("options", "service", "endpoint", "path"),
    [
        ({}, "shop", "buy", "/shop/buy"),
        ({"base": "/api/"}, "shop", "orders/buy", "/api/shop/orders/buy"),
        ({"path": "{endpoint}"}, "shop", "buy", "/buy"),
        ({"path": "/v1/{service}:{endpoint}"}, "shop", "buy", "/v1/shop:buy"),
        ({"path": ""}, "shop", "buy", "/"),
        ({}, "a/b", "c?d=e#f%2F", "/a%2Fb/c%3Fd%3De%23f%252F"),
        ({}, "ü", "b", "/%C3%BC/b"),
    ],
)
def test_service_and_endpoint_are_the_path(options, service, endpoint, path):
    request = seen(options, service=service, endpoint=endpoint)
    assert (request.method, request.rel_url.raw_path_qs) == ("POST", path)


@pytest.mark.parametrize(
    ("service", "endpoint"), [("..", "admin"), ("a", "../../b"), ("a", "b//c"), (".", "b"), ("a", "b/")]
)
def test_a_path_that_leads_elsewhere_is_refused(service, endpoint):
    async def scenario(client, server):
        with pytest.raises(Rejected, match="no path of"):
            await client.call(service, endpoint, b"")
        return server.peers

    assert play(scenario) == set()


def test_headers_and_the_time_left_reach_the_other_end():
    request = seen(
        {"headers": {"Authorization": "Bearer s3cret"}, "content_type": "application/octet-stream"},
        headers={"flow-step": "pay", "traceparent": "00-1"},
        timeout=60,
    )
    given = request.headers
    assert (given["flow-step"], given["traceparent"], given["authorization"]) == ("pay", "00-1", "Bearer s3cret")
    assert given["content-type"] == "application/octet-stream"
    assert 0 < int(given["flow-timeout-ms"]) <= 60_000
    assert given["accept-encoding"] == "identity"
    assert "cookie" not in given


def test_without_a_timeout_none_is_told():
    request = seen({})
    assert "flow-timeout-ms" not in request.headers
    assert request.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "key", ["Host", "content-length", "Transfer-Encoding", "connection", "proxy-authorization", "a\r\nb"]
)
def test_headers_of_the_protocol_are_refused(key):
    async def scenario(client, server):
        with pytest.raises(Rejected, match=r"belongs to the protocol|no name of a header"):
            await client.call("shop", "buy", b"", headers={key: "x"})
        return server.peers

    assert play(scenario, echo) == set()


# --- connections ------------------------------------------------------------------------------------------------------


def test_connections_are_kept_and_limited():
    async def scenario(client, server):
        for n in range(20):
            await client.call("shop", "buy", b"%d" % n)
        assert len(server.peers) == 1
        await asyncio.gather(*(client.call("shop", "buy", b"%d" % n) for n in range(50)))
        return len(server.peers)

    assert play(scenario, echo, limit=4) <= 4


def test_waiting_for_a_connection_is_part_of_the_time():
    async def scenario(client, server):
        server.serve("shop", "wait", never := Never())
        holder = await never.called(client)
        with pytest.raises(NoReply):
            await client.call("shop", "buy", b"", timeout=0.05)
        holder.cancel()
        await asyncio.wait({holder})

    play(scenario, echo, limit=1)


def test_a_dead_target_is_not_hammered():
    async def main():
        async with HttpServer() as server, ChaosProxy(server.port) as proxy:
            await server.stop()
            dead = server.port
            async with HttpRpcClient(f"http://127.0.0.1:{dead}") as client:
                for _ in range(300):
                    with pytest.raises(Unavailable):
                        await client.call("shop", "buy", b"")
                hinted = []
                with pytest.raises(Unavailable) as error:
                    await client.call("shop", "buy", b"")
                hinted.append(error.value.retry_after)
            await server.start()
            assert proxy.accepted == 0
            return hinted, client._breaker.failures

    hinted, failures = run(main())
    assert 0 <= hinted[0] <= 5
    assert failures <= 5


def test_a_connection_lost_in_the_middle_is_no_reply_and_no_hang():
    async def main():
        async with HttpServer() as server, ChaosProxy(server.port) as proxy:
            server.serve("shop", "buy", echo)
            proxy.fault = Fault("reset", after=20)
            async with HttpRpcClient(f"http://127.0.0.1:{proxy.port}") as client:
                with pytest.raises(AdapterError, match="the connection was lost") as error:
                    await client.call("shop", "buy", b"x" * 1000)
                return error.value

    assert not isinstance(run(main()), Permanent)


# --- TLS --------------------------------------------------------------------------------------------------------------


def test_tls_needs_both_certificate_and_key_and_files_that_are_some(certificates, tmp_path):
    with pytest.raises(InvalidOption, match="only one of cert and key"):
        Tls(cert=certificates.client)
    (tmp_path / "junk.pem").write_text("junk")
    for wrong in (Tls(ca=tmp_path / "junk.pem"), Tls(cert=certificates.client, key=certificates.ca)):
        with pytest.raises(InvalidOption, match="unusable"):
            wrong.context()


# --- bad arguments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "options", "match"),
    [
        ("htp://shop", {}, "did you mean 'http'"),
        ("shop", {}, "must begin with http://"),
        ("http://ann:s3cret@shop", {}, "holds credentials"),
        ("http://shop?token=s3cret", {}, "query"),
        ("http://", {}, "no name of a machine"),
        ("http://a b", {}, "printable"),
        (None, {}, "must be a URL"),
        ("http://shop", {"tls": Tls()}, "without TLS"),
        ("http://shop", {"path": "{host}"}, "other fields"),
        ("http://shop", {"limit": 0}, "limit must be at least 1"),
        ("http://shop", {"idle": -1}, "idle must be positive"),
        ("http://shop", {"connect_timeout": 0}, "connect_timeout must be positive"),
        ("http://shop", {"headers": {"authorization": "s3cret\n"}}, "printable ASCII"),
    ],
)
def test_wrong_arguments_are_refused_without_telling_secrets(url, options, match):
    with pytest.raises(InvalidOption, match=match) as error:
        HttpRpcClient(url, **options)
    assert "s3cret" not in str(error.value)

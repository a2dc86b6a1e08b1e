"""What is the HTTP client's own, on a real server: statuses and payloads. The rest: ``test_network_rpc.py``."""

import re

import pytest
from aiohttp import web

import flow_core.rpc.http as http_module
from flow_core.errors import (
    PayloadError,
    Permanent,
    Rejected,
    Unavailable,
)
from flow_core.model.ids import MAX_PAYLOAD
from flow_core.rpc.http import HttpStatus, error_of
from tests.rpc.network import HTTP, buy

play, caught = HTTP.play, HTTP.caught


def answering(status, body=b"why", **headers):
    async def handler(data, given):
        return web.Response(status=status, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return handler


# --- statuses ---------------------------------------------------------------------------------------------------------


def drawn(status):
    """What the table in the module's docstring says of a status: (class, word), the first line that fits."""
    for line in http_module.__doc__.splitlines():
        row = re.match(r" {4}(other )?([0-9x, to]+?) {2,}(\w+) +(retried|never)", line)
        if row is None:
            continue
        numbers = row[2]
        if "to" in numbers:
            low, high = map(int, numbers.split(" to "))
            fits = low <= status <= high
        elif "xx" in numbers:
            fits = str(status)[0] == numbers[0]
        else:
            fits = str(status) in numbers.split(", ")
        if fits:
            return row[3], row[4]
    raise AssertionError(f"the table does not say what {status} becomes")


@pytest.mark.parametrize("status", range(300, 600))
def test_every_status_becomes_what_the_table_says(status):
    error = error_of("call of a.b", status, "why", {})
    word = "never" if isinstance(error, Permanent) else "retried"
    assert (type(error).__name__, word) == drawn(status)
    assert f"status {status}" in str(error)


@pytest.mark.parametrize("status", [400, 404, 408, 429, 500, 503])
def test_the_engine_tries_again_after_what_is_retried_and_after_nothing_else(status):
    assert HTTP.tries(answering(status)) == (["1", "2"] if drawn(status)[1] == "retried" else ["1"])


@pytest.mark.parametrize(("status", "body"), [(200, b"x"), (201, b"made"), (204, b""), (299, b"")])
def test_every_2xx_is_a_reply(status, body):
    assert play(buy, answering(status, body)) == body


def test_the_error_has_the_beginning_of_what_the_server_said():
    error = caught(answering(500, b"no\x00 stock\n" + b"z" * 10_000))
    assert "status 500: no  stock" in str(error)
    assert len(str(error)) < 700
    assert isinstance(error.__cause__, HttpStatus) and error.__cause__.status == 500


DATES = {"date": "Wed, 21 Oct 2026 07:28:00 GMT"}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2026 07:20:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("", None),
        ("9" * 30, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_in_seconds_and_as_a_date(status, value, seconds):
    assert error_of("call", status, "", {"retry-after": value, **DATES}).retry_after == seconds


def test_retry_after_comes_from_the_answer():
    assert caught(answering(503, Retry_After="3"), Unavailable).retry_after == 3.0
    assert caught(answering(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT")).retry_after == 0.0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed_and_told_without_their_secrets(status):
    there = []

    async def elsewhere(data, headers):
        there.append(data)
        return b"stolen"

    async def scenario(client, server):
        server.serve("shop", "moved", elsewhere)
        with pytest.raises(Rejected, match="redirects are not followed") as error:
            await client.call("shop", "buy", b"")
        return str(error.value)

    text = play(scenario, answering(status, Location="http://ann:s3cret@127.0.0.1:1/shop/moved?token=s3cret#s3cret"))
    assert "points to 'http://127.0.0.1:1/shop/moved'" in text
    assert "s3cret" not in text
    assert there == []


# --- payloads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [True, False])
def test_a_reply_over_the_limit_is_not_read_to_its_end(told, until):
    sent = []

    async def scenario(client, server):
        async def endless(data, headers):
            response = web.StreamResponse()
            if told:
                response.content_length = 1 << 40
            await response.prepare(server.requests[-1])
            while True:
                await response.write(bytes(65536))
                sent.append(65536)

        server.serve("shop", "endless", endless)
        with pytest.raises(PayloadError, match="MAX_PAYLOAD"):
            await client.call("shop", "endless", b"")
        await until(lambda: server.connections == 0)

    play(scenario)
    assert sum(sent) < 32 * MAX_PAYLOAD  # what the kernel's buffers took


def test_a_reply_in_pieces_is_put_together():
    async def scenario(client, server):
        async def pieces(data, headers):
            response = web.StreamResponse()
            await response.prepare(server.requests[-1])
            for n in range(5):
                await response.write(b"%d" % n * 100_000)
            return response

        server.serve("shop", "pieces", pieces)
        return await client.call("shop", "pieces", b"")

    assert play(scenario) == b"".join(b"%d" % n * 100_000 for n in range(5))


def test_a_compressed_reply_is_refused_not_blown_up():
    error = caught(answering(200, b"\x1f\x8b...", Content_Encoding="gzip"), Rejected)
    assert "encoded as 'gzip'" in str(error)

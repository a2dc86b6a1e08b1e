"""``demo``: the whole story on a virtual clock, the same for the same seed; and once as a command."""

from __future__ import annotations

import io
import re
from importlib.util import find_spec

import pytest

from flow_core import Status
from flow_core.cli.main import main
from flow_core.demo.demo import Demo
from flow_core.demo.screen import LiveScreen, PlainScreen
from tests.aio import run_virtual


def story(seed: int) -> str:
    told = io.StringIO()

    async def tell() -> None:
        with PlainScreen(told) as screen:
            await Demo(seed, 1.0, screen).tell()

    run_virtual(tell(), threads=True)
    return told.getvalue()


def test_the_story_is_the_same_for_the_same_seed():
    assert story(7) == story(7)
    assert story(7) != story(8)


@pytest.fixture(scope="module")
def told() -> str:
    return story(7)


@pytest.mark.parametrize(
    "events",
    [
        ["A step is still missing: shipping.book, named by order.receipt", "The shipping service joins late", "A-1"],
        [
            "the gateway hangs up",
            "step 'payment.charge' is retried in 0.4 s, attempt 2",
            "payment.charge   running (att",
        ],
        ["the flow is at revision 6 now, the order stays at 5", "Order A-1: success", '"paid":80,"parcel":"P-A-1"'],
        [
            "shipping.book, attempt 3: no carrier",
            "loyalty: 95 points",
            "payment: 950 given back",
            "inventory: anvil back",
        ],
        ["Order A-2: failure", "failed after 3 attempts: AdapterError: no carrier takes 900 kg"],
        ["flowchart TD", "Timeline of order A-1, success", "Timeline of order A-2, failure", "failure, 3 attempts"],
        ["2 executions, 20 steps, 4 retries."],
    ],
)
def test_it_tells(told: str, events: list[str]):
    at = 0
    for event in events:
        assert event in told[at:], f"{event!r} is not told, or too early"
        at = told.index(event, at)


def test_the_first_order_never_sees_the_step_that_came_while_it_ran(told: str):
    assert "loyalty.points" not in told.partition("Order A-1: success")[0]
    assert "loyalty.points" in told.partition("Order A-2: an anvil")[2]


def test_the_command_ends_well(capsys: pytest.CaptureFixture[str]):
    assert main(["demo", "--speed", "200", "--seed", "1"]) == 0
    assert "Order A-2: failure" in capsys.readouterr().out


@pytest.mark.skipif(find_spec("rich") is None, reason="rich is not installed")
def test_the_live_table_has_a_row_a_step_and_a_column_an_execution():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with LiveScreen(stream) as screen:
        screen.say("[bold]as it is[/]")
        screen.moved("A", "pay", Status.RUNNING, 1, 0.5)
        screen.moved("B", "pay", Status.FAILURE, 3, 1.25)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "[bold]as it is[/]" in text
    assert re.search(r"step\W+A\W+B", text)
    assert re.search(r"pay\W+\.\. 0\.50 s\W+failed x3 1\.25 s", text)

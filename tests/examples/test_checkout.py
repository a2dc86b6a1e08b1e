"""The shop of `examples/checkout`: one command, five processes and a broker, run as a user runs it.

Lives here: the command as a subprocess, its story by its lines, and that nothing of it is left. Does not live here: the
examples in one process (`tests/test_examples.py`).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers.process import Guard, need

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "checkout"
#: Seconds the command may take; it needs about five.
PATIENCE = 60

pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the examples are not beside the tests")


@contextmanager
def shop(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command, in a process group of its own, of which nothing is left in the end."""
    command = [sys.executable, "-W", "error", str(FOLDER / "main.py"), *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    guard = Guard(process.pid)
    try:
        yield process
        with pytest.raises(ProcessLookupError):  # nobody is in the group any more
            os.killpg(process.pid, 0)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        guard.release()


def play(*arguments: str) -> list[str]:
    """Run the command to its end; its lines."""
    with shop(*arguments) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, ""), out + err
    return out.splitlines()


def chapter(lines: list[str], number: int) -> list[str]:
    """The lines about one order, as ``who: what``."""
    told = [re.sub(r"\s+\| ", ": ", line) for line in lines if line]
    starts = [index for index, line in enumerate(told) if re.match(r"shop: \d\. ", line)]
    assert len(starts) == 5, "\n".join(lines)
    return told[starts[number - 1] : [*starts, len(told)][number]]


def said(lines: list[str], who: str) -> list[str]:
    return [line.removeprefix(f"{who}: ") for line in lines if line.startswith(f"{who}: ")]


def moves(lines: list[str]) -> list[str]:
    """The recorded moves, without their times."""
    return [found[1] for line in said(lines, "shop") if (found := re.match(r" +[0-9.]+ s +(.*)", line))]


@pytest.fixture(scope="module")
def lines(tmp_path_factory) -> list[str]:
    need("nats-server", "nats-server")
    store = tmp_path_factory.mktemp("checkout") / "shop.db"
    return play("--store", f"sqlite:///{store}")


@pytest.mark.server
def test_an_order_waits_for_the_service_that_registers_last(lines):
    told = chapter(lines, 1)
    assert told[0].endswith("missing: reserve, named by charge")
    assert [line for line in lines if "registered" in line] == [
        "mail      | registered confirm: flow 'checkout' is at revision 1",
        "payment   | registered charge: flow 'checkout' is at revision 2",
        "inventory | registered reserve: flow 'checkout' is at revision 3",
    ]
    assert said(told, "inventory")[0].startswith("registered reserve")
    assert said(told, "mail") == ["order 1: told ann@example.org: charged 80"]
    assert "result: order 1, charged" in said(told, "shop")


@pytest.mark.server
def test_an_outage_is_retried_with_the_same_key_and_explained_meanwhile(lines):
    told = chapter(lines, 2)
    charges = [re.fullmatch(r"order 2: charge 80, attempt (\d), key (.*)", line) for line in said(told, "payment")]
    assert [found and found[1] for found in charges] == ["1", "2", "3"]
    assert len({found and found[2] for found in charges}) == 1
    explained = "\n".join(said(told, "explain"))
    assert re.search(r"'charge' is retried in [01][.0-9]* s, attempt [23], .*status 503: the bank is back", explained)
    assert "step 'confirm' waits for 'charge'" in explained
    assert "result: order 2, charged" in said(told, "shop")
    ends = [f"charge, attempt {n}: {end}" for n, end in enumerate(("FAILURE", "FAILURE", "SUCCESS"), 1)]
    assert [move for move in moves(told) if "charge" in move and "RUNNING" not in move] == ends


@pytest.mark.server
def test_an_outage_that_stays_falls_back(lines):
    told = chapter(lines, 3)
    payment = said(told, "payment")
    assert [line.split(", ")[1] for line in payment[:-1]] == [f"attempt {n}" for n in (1, 2, 3, 4)]
    assert payment[-1] == "order 3: an invoice over 80 instead"
    assert said(told, "mail") == ["order 3: told ann@example.org: invoiced 80"]
    assert "result: order 3, invoiced" in said(told, "shop")


@pytest.mark.server
def test_a_refusal_without_fallback_rolls_the_reservation_back(lines):
    told = chapter(lines, 4)
    assert len(said(told, "payment")) == 1  # neither a retry nor an invoice
    reserved, released = said(told, "inventory")
    assert released == "released {'teapot': 1, 'cup': 4} of " + reserved.partition("key ")[2]
    assert said(told, "mail") == []
    assert any(line.startswith("failed: step 'charge'") and "status 402" in line for line in said(told, "shop"))
    charge, confirm, undone, order = moves(told)[-4:]
    assert (charge, confirm) == ("charge, attempt 1: FAILURE", "confirm, attempt 1: SKIPPED")
    assert undone == "reserve.compensation, attempt 1: SUCCESS"
    assert re.fullmatch(r"order \d+\.4: FAILURE", order)


@pytest.mark.server
def test_what_was_done_is_undone_in_reverse_order(lines):
    told = chapter(lines, 5)
    done = [line for line in told if line.startswith(("inventory: ", "payment: ", "mail: "))]
    at = done.index("mail: order 5: 'ann' is no address")
    charge, release = done[at + 1 :][:2]
    assert charge == "payment: order 5: gave back what was charged"
    assert re.fullmatch(r"inventory: released \{'teapot': 1, 'cup': 4\} of \d+\.5/reserve", release)


@pytest.mark.server
def test_the_effects_are_those_of_the_orders_that_succeeded(lines):
    assert [re.sub(r"\s+\| ", ": ", line) for line in lines[-5:]] == [
        "server: ends",
        "mail: ends; sent: order 1, charged; order 2, charged; order 3, invoiced",
        "payment: ends; order 1: charged, order 2: charged, order 3: invoiced",
        "inventory: ends; in stock: {'teapot': 7, 'cup': 38}",
        "shop: all processes have ended",
    ]


@contextmanager
def interrupted(how: signal.Signals, *arguments: str) -> Iterator[str]:
    """What the command says after it was ended while a charge is retried."""
    need("nats-server", "nats-server")
    with shop(*arguments) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "order 2: charge 80, attempt 1" in line:
                break
        process.send_signal(how)
        rest, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, err) == (130, ""), rest
        yield rest


@pytest.mark.server
def test_ctrl_c_ends_everything_in_good_order():
    with interrupted(signal.SIGINT) as rest:
        assert rest.splitlines()[-1].startswith("inventory | ends; in stock: ")


@pytest.mark.server
def test_the_next_run_goes_on_with_the_same_store(tmp_path):
    store = f"sqlite:///{tmp_path}/shop.db"
    with interrupted(signal.SIGTERM, "--store", store) as rest:
        assert "order 2, charged" in rest  # the server drained: the retry was made, with all services there
    lines = play("--store", store)
    assert chapter(lines, 1)[0].endswith("missing: nothing")
    assert "inventory | registered reserve: flow 'checkout' is at revision 3" in lines
    assert "payment   | ends; order 1: charged, order 2: charged, order 3: invoiced" in lines


def figures_aside(lines: list[str]) -> list[str]:
    """Lines in any order, with N for times, ports and ids."""
    return sorted(re.sub(r"sqlite:\S+", "URL", re.sub(r"[\d.]*\d", "N", line)) for line in lines if line)


@pytest.mark.server
def test_the_readme_shows_what_it_prints(lines):
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    shown = text.partition("```\nserver ")[2].partition("```")[0]
    assert figures_aside(f"server {shown}".splitlines()) == figures_aside(lines)


def test_without_a_broker_it_says_what_to_install():
    command = "import runpy, shutil; shutil.which = lambda *a, **k: None; runpy.run_path('main.py', None, '__main__')"
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", command], cwd=FOLDER, capture_output=True, text=True, check=False,
        timeout=PATIENCE,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == "nats-server is not installed: apt-get install nats-server\n"

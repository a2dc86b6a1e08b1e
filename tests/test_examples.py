"""Every file in examples/ runs, and prints what it promises."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from tests.aio import run

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

TOLD = {
    "hello": ["hello world"],
    "saga": ["car: attempt 2", "hotel: cancelled hotel-1", "flight: cancelled flight-1", "Permanent: no cars left"],
    "late_binding": ["missing: {'orders'", "report: ['orders', 'stock']", "at revision 3", "audited", "revision 4"],
    "fan_out": ["99 pages, ", "at most 8 at a time; failed: ['page-13']"],
    "pause_resume": ["is PAUSED", "'second' is ready, but the execution is paused", "undone: 2", "ABORTED", ": 4"],
}  # fmt: skip


@pytest.mark.skipif(not EXAMPLES.exists(), reason="the examples are not beside the tests")
def test_every_example_is_listed_here():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(TOLD)
    # Folders have tests of their own: test_plugin_example.py, examples/test_checkout.py, service/test_node.py.
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == {"plugin", "checkout", "node-service"}


@pytest.mark.skipif(not EXAMPLES.exists(), reason="the examples are not beside the tests")
@pytest.mark.parametrize("name", TOLD)
def test_example(name: str, capsys: pytest.CaptureFixture[str]):
    main = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]
    run(main())
    out, err = capsys.readouterr()
    assert err == ""
    at = 0
    for words in TOLD[name]:
        assert words in out[at:], f"{words!r} is missing or comes too early in:\n{out}"
        at = out.index(words, at)

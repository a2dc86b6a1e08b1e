"""Every Python block of README.md, and of the package's docstring, runs as it stands."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import types
from pathlib import Path
from typing import Any

import pytest

import flow_core
from flow_core import errors
from tests.aio import run

README = Path(__file__).resolve().parents[1] / "README.md"
TEXT = README.read_text(encoding="utf-8") if README.exists() else ""
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
PAGES = {page.name: page.read_text(encoding="utf-8") for page in sorted((README.parent / "docs").glob("*.md"))}
MORE = [
    (name, source)
    for name, text in PAGES.items()
    for source in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
]

pytestmark = pytest.mark.skipif(not TEXT, reason="the README is not beside the tests")


def names() -> dict[str, Any]:
    """What the README says is there: ``from flow_core import *``, and asyncio."""
    return {name: getattr(flow_core, name) for name in flow_core.__all__} | {"asyncio": asyncio, "__name__": "__main__"}


def perform(source: str) -> None:
    """Execute a block; one that awaits, inside a coroutine with a new flow."""
    code = compile(source, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if not code.co_flags & inspect.CO_COROUTINE:
        exec(code, names())
        return

    async def main() -> None:
        async with flow_core.Flow() as flow:
            await types.FunctionType(code, names() | {"flow": flow})()

    run(main())


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block(number: int):
    perform(BLOCKS[number])


@pytest.mark.parametrize(("page", "source"), MORE, ids=[f"{name}-{at}" for at, (name, _) in enumerate(MORE)])
def test_block_of_a_page(page: str, source: str):
    perform(source)


def test_the_first_example_is_short_and_says_what_it_says(capsys: pytest.CaptureFixture[str]):
    assert len(BLOCKS[0].splitlines()) <= 12
    perform(BLOCKS[0])
    assert capsys.readouterr().out == "hello world\n"


def test_the_docstring_of_the_package_has_the_same_example():
    assert flow_core.__doc__ is not None
    indented = re.search(r"(?:^    .*\n|^\n)+", flow_core.__doc__, re.MULTILINE)
    assert indented
    assert inspect.cleandoc(indented.group()).split() == BLOCKS[0].split()


def test_a_failing_block_fails():
    with pytest.raises(AssertionError):
        perform("await asyncio.sleep(0)\nassert False")


def test_the_tree_of_errors_names_every_class():
    tree = PAGES["errors.md"]
    classes = {name for name in errors.__all__ if isinstance(getattr(errors, name), type)}
    assert classes <= set(re.findall(r"\w+", tree))


def test_it_is_no_longer_than_somebody_reads():
    lines = TEXT.splitlines()
    assert len(lines) <= 300
    for text in (TEXT, *PAGES.values()):
        assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 120


def test_every_file_it_names_exists():
    root = README.parent
    for name in ("scripts/demo", "scripts/test", "examples", "CONTRIBUTING.md", "LICENSE", "benchmarks/README.md",
        "docs/durability.md", "docs/errors.md", "docs/speed.md"):  # fmt: skip
        assert name in TEXT
        assert (root / name).exists(), name

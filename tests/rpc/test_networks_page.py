"""Every Python block of docs/networks.md runs as it stands."""

import re
from pathlib import Path

import pytest

from tests.test_readme import perform

PAGE = Path(__file__).resolve().parents[2] / "docs" / "networks.md"
TEXT = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.skipif(not TEXT, reason="the page is not beside the tests")


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block(number):
    perform(BLOCKS[number])


def test_files_it_names_exist():
    names = re.findall(r"`((?:flow_core|examples)/[\w./]+)`", TEXT)
    assert names
    assert [name for name in names if not (PAGE.parents[1] / name).exists()] == []

"""``doctor``: what it says of a sound store, a damaged one, and of what is no store."""

import json

import pytest

from flow_core import Flow, Step
from flow_core.cli.main import main
from tests.aio import run


@pytest.fixture
def store(tmp_path):
    url = f"sqlite:///{tmp_path / 'flow.db'}"

    async def fill():
        async with Flow(store=url) as flow:
            await flow.create_step("tea", Step("boil", lambda: "water"))
            await flow.execute("tea")

    run(fill())
    return url


def test_a_sound_store(store, capsys):
    assert main(["doctor", store]) == 0
    said = capsys.readouterr().out
    assert "tea (revision 1)" in said and said.endswith("sound\n")


def test_as_json(store, capsys):
    assert main(["doctor", store, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {"problems": [], "unfinished": {}, "flows": {"tea": 1}, "owners": []}


def test_a_damaged_store(store, tmp_path, capsys):
    import sqlite3

    db = sqlite3.connect(tmp_path / "flow.db", isolation_level=None)
    db.execute("DELETE FROM execution")
    db.close()
    assert main(["doctor", store]) == 1
    assert "PROBLEM     1 rows of outcome belong to no execution" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("url", "code"), [("sqlite:////etc/passwd", 1), ("mongodb://me:secret@host/db", 2), ("nonsense", 2)]
)
def test_no_store(url, code, capsys):
    assert main(["doctor", url]) == code
    error = capsys.readouterr().err
    assert "fix:" in error and "secret" not in error

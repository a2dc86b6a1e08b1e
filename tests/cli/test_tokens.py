"""``token``: keys are made, listed without themselves, replaced, revoked."""

from __future__ import annotations

import json
import re

import pytest

pytest.importorskip("cyclopts")

from flow_core.service.security.key_file import KeyFile
from tests.cli.kit import command

KEY = r"fc_[0-9a-f]{12}_[A-Za-z0-9_-]{43}"


@pytest.fixture
def keys(tmp_path, monkeypatch):
    file = tmp_path / "keys.json"
    monkeypatch.setenv("FLOW_CORE_SERVE_KEYS", str(file))
    return file


def test_a_key_is_shown_once(keys, capfd):
    made = command(capfd, "token", "new", "payment", "--role", "service", "--expires", "30d")
    assert made.code == 0 and re.fullmatch(KEY + "\n", made.out)
    text = made.out.strip()
    assert "can't be shown again" in made.err and text not in made.err
    found = KeyFile(keys).find(text)
    assert found is not None and (found.name, found.role) == ("payment", "service")
    assert found.expires is not None and found.expires - found.created == 30 * 86400
    listed = command(capfd, "token", "ls")
    assert re.search(rf"^{found.id}  payment    service  valid", listed.out, re.MULTILINE)
    for part in (text.split("_", 2)[2], found.hash):
        assert part not in listed.out + command(capfd, "token", "ls", "--json").out


def test_as_json(keys, capfd):
    made = command(capfd, "token", "new", "payment", "--role", "viewer", "--json")
    assert re.fullmatch(KEY, made.json["key"]) and made.json["role"] == "viewer" and made.err == ""
    assert set(command(capfd, "token", "ls", "--json").json[0]) == {
        "id", "name", "role", "created", "expires", "rotated", "state",
    }  # fmt: skip


def test_rotated_and_revoked(keys, capfd):
    first = command(capfd, "token", "new", "payment", "--role", "service").out.strip()
    second = command(capfd, "token", "new", "payment", "--rotate", "--overlap", "1h").out.strip()
    ring = KeyFile(keys)
    old, new = ring.find(first), ring.find(second)
    assert old is not None and new is not None and old.rotated is not None
    assert old.expires == pytest.approx(old.rotated + 3600) and new.role == "service"
    assert [one["state"] for one in command(capfd, "token", "ls", "--json").json] == ["being replaced", "valid"]
    assert command(capfd, "token", "rm", old.id).out == f"revoked {old.id} of payment\n"
    assert KeyFile(keys).find(first) is None and KeyFile(keys).find(second) is not None
    assert command(capfd, "token", "rm", "payment", "--json").json[0]["id"] == new.id
    assert command(capfd, "token", "ls").out == f"no keys in {keys}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["new", "p"], "a first key needs --role"),
        (["new", "p", "--role", "viewer", "--rotate"], "a first key needs --role"),
        (["new", "p", "--role", "servise"], "servise"),
        (["new", "a b", "--role", "viewer"], "name of the principal"),
        (["new", "p", "--rotate"], "'p' has no valid key to rotate"),
        (["new", "p", "--role", "viewer", "--expires", "soon"], "--expires: 'soon' is no time"),
        (["rm", "p"], "there is no key, and no principal, 'p'"),
        (["rm", "fc_0123456789ab_hunter2"], "there is no key of that id"),
    ],
)
def test_what_is_no_key(keys, capfd, arguments, message):
    answer = command(capfd, "token", *arguments)
    assert answer.code == 2 and message in answer.err and answer.out == "" and "hunter" not in answer.err
    assert not keys.exists()


def test_a_file_has_to_be_named(capfd, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    answer = command(capfd, "token", "ls", "--json")
    assert answer.code == 2 and "FLOW_CORE_SERVE_KEYS" in json.loads(answer.err)["error"]["fix"]
    (tmp_path / "flow-core.toml").write_text('[serve]\nkeys = "here.json"')
    assert command(capfd, "token", "ls").out == f"no keys in {tmp_path / 'here.json'}\n"

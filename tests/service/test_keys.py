"""API keys: made, shown once, rotated, revoked; the file they live in, and who may touch it."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import re
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

import flow_core.service.security.keys as module
from flow_core.errors import InvalidId, InvalidOption
from flow_core.model.secret import Secret
from flow_core.service.security.key_file import LOOK_AGAIN, KeyFile
from flow_core.service.security.keys import Key, KeyRing

NOW = 1_000_000.0
DAY = 86_400.0


class Clock:
    def __init__(self, at: float = 0.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


def ring_of(*names: str, role: str = "service") -> tuple[KeyRing, dict[str, str]]:
    ring, texts = KeyRing(), {}
    for name in names:
        ring, _, secret = ring.new(name, role, NOW)
        texts[name] = secret.reveal()
    return ring, texts


# --- one key ----------------------------------------------------------------------------------------------------------


def test_a_key_is_prefix_id_and_32_random_bytes_and_only_its_hash_is_kept():
    ring, key, secret = KeyRing().new("payment", "service", NOW, NOW + DAY)
    text = secret.reveal()
    assert re.fullmatch(r"fc_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", text)
    assert key == Key(key.id, "payment", "service", module.hash_of(text), NOW, NOW + DAY, None)
    assert text.startswith(f"fc_{key.id}_")
    assert text.split("_", 2)[2] not in ring.to_json()  # which may hold an underscore itself
    assert len({KeyRing().new("p", "viewer", NOW)[2].reveal() for _ in range(100)}) == 100


def test_only_the_whole_key_is_found_and_only_while_it_lives():
    ring, key, secret = KeyRing().new("payment", "service", NOW, NOW + DAY)
    text = secret.reveal()
    assert ring.find(text, NOW) == key
    assert ring.find(text, NOW + DAY - 0.001) == key
    assert ring.find(text, NOW + DAY) is None
    wrong = text[:-1] + ("A" if text[-1] != "A" else "B")
    other = text.replace(key.id, "0" * 12)
    for bad in (
        "",
        wrong,
        other,
        text[:-1],
        text + "A",
        text.upper(),
        " " + text,
        text + "\n",
        key.id,
        "fc_",
        "\ud800",
    ):
        assert ring.find(bad, NOW) is None, bad


def test_whatever_is_wrong_the_same_is_done(monkeypatch: pytest.MonkeyPatch):
    ring, texts = ring_of("payment")
    expired = KeyRing([replace(key, expires=NOW - 1) for key in ring])
    text = texts["payment"]
    work: list[str] = []
    hash_of, compare = module.hash_of, module.hmac.compare_digest
    monkeypatch.setattr(module, "hash_of", lambda given: work.append("hash") or hash_of(given))

    def compared(one: str, other: str) -> bool:
        work.append(f"compare {len(one)} {len(other)}")
        return compare(one, other)

    monkeypatch.setattr(module.hmac, "compare_digest", compared)
    done = []
    for keys, given in [(ring, text), (ring, text[:-1] + "."), (KeyRing(), text), (expired, text), (ring, "x")]:
        work.clear()
        keys.find(given, NOW)
        done.append(tuple(work))
    assert set(done) == {("hash", "compare 64 64")}


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{0!r:>40}".format, lambda secret: "%s" % secret])  # noqa: UP031
def test_a_secret_shows_nothing(show):
    assert "hunter" not in show(Secret("hunter2")) and "***" in show(Secret("hunter2"))


def test_a_secret_is_not_written_down_nor_hashed():
    secret = Secret("hunter2")
    for write in (pickle.dumps, json.dumps, hash):
        with pytest.raises(TypeError) as caught:
            write(secret)
        assert "hunter" not in str(caught.value)
    assert copy.deepcopy(secret) is copy.copy(secret) is secret
    assert secret == Secret("hunter2") != Secret("hunter3")
    assert secret != "hunter2" and bool(secret) and not Secret("")


# --- changes ----------------------------------------------------------------------------------------------------------


def test_two_keys_are_valid_while_one_takes_the_place_of_the_other():
    ring, texts = ring_of("payment", "other")
    ring, second, new = ring.rotate("payment", NOW + 10, overlap=100, expires=NOW + DAY)
    assert ring.find(texts["payment"], NOW + 109).rotated == NOW + 10  # type: ignore[union-attr]
    assert ring.find(new.reveal(), NOW + 109) == second and second.role == "service" and second.rotated is None
    assert ring.find(texts["payment"], NOW + 110) is None
    assert ring.find(new.reveal(), NOW + 110) == second
    assert ring.find(texts["other"], NOW + 110) is not None


def test_a_third_one_ends_the_first_at_once():
    ring, texts = ring_of("payment")
    ring, _, second = ring.rotate("payment", NOW + 10, overlap=1000)
    ring, _, third = ring.rotate("payment", NOW + 20, overlap=1000)
    assert [ring.find(text, NOW + 20) is not None for text in (texts["payment"], second.reveal(), third.reveal())] == [
        False, True, True,
    ]  # fmt: skip
    assert len(ring) == 2


def test_an_overlap_never_makes_a_key_live_longer():
    ring, key, _ = KeyRing().new("payment", "service", NOW, NOW + 50)
    ring, _, _ = ring.rotate("payment", NOW + 10, overlap=1000)
    assert ring.get(key.id).expires == NOW + 50  # type: ignore[union-attr]


def test_revoked_by_id_or_by_name():
    ring, texts = ring_of("payment", "other")
    ring, _, new = ring.rotate("payment", NOW, overlap=100)
    first = next(key for key in ring if key.rotated is not None)
    alone, gone = ring.revoke(first.id)
    assert gone == [first] and alone.find(texts["payment"], NOW) is None and alone.find(new.reveal(), NOW) is not None
    none, gone = ring.revoke("payment")
    assert len(gone) == 2 and none.find(new.reveal(), NOW) is None and none.find(texts["other"], NOW) is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ring: ring.new("payment", "service", NOW), "'payment' has a valid key"),
        (lambda ring: ring.new("p", "servise", NOW), "did you mean 'service'"),
        (lambda ring: ring.new("p", "viewer", NOW, NOW), "expired from the start"),
        (lambda ring: ring.rotate("paymnet", NOW, 1), "did you mean 'payment'"),
        (lambda ring: ring.revoke("paymnet"), "did you mean 'payment'"),
    ],
)
def test_what_is_no_change(change, message):
    ring, _ = ring_of("payment")
    with pytest.raises(InvalidOption, match=message):
        change(ring)


def test_the_name_is_an_id():
    with pytest.raises(InvalidId, match="name of the principal"):
        KeyRing().new("pay ment\n", "service", NOW)


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.json"


def add(file: KeyFile, name: str, role: str = "service") -> str:
    def change(ring: KeyRing, now: float):
        made, _, secret = ring.new(name, role, now)
        return made, secret

    return file.change(change).reveal()


def test_a_file_is_what_was_written_and_nobody_else_can_read_it(path):
    text = add(KeyFile(path), "payment")
    add(KeyFile(path), "shop", "admin")
    found = KeyFile(path).find(text)
    assert found is not None and (found.name, found.role) == ("payment", "service")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [other.name for other in path.parent.iterdir()] == ["keys.json"]
    stored = json.loads(path.read_bytes())
    assert stored["format"] == 1 and {key["name"] for key in stored["keys"]} == {"payment", "shop"}
    assert text not in path.read_text() and text.split("_", 2)[2] not in path.read_text()


def test_no_file_is_no_keys(path):
    assert len(KeyFile(path).load()) == 0
    assert KeyFile(path).find("fc_" + "0" * 12 + "_" + "A" * 43) is None


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o666, 0o610])
def test_a_file_that_others_can_get_at_is_refused(path, mode):
    add(KeyFile(path), "payment")
    path.chmod(mode)
    with pytest.raises(InvalidOption, match=rf"others can get at the keys in {path} .*\n.*chmod 600 {path}"):
        KeyFile(path).load()
    with pytest.raises(InvalidOption, match="others can get at"):
        add(KeyFile(path), "more")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root, to give a file away")
def test_a_strangers_file_is_refused_and_root_does_not_take_a_file_away(path):
    add(KeyFile(path), "payment")
    os.chown(path, 65534, 65534)
    with pytest.raises(InvalidOption, match="belong to another user"):
        KeyFile(path).load()
    os.chown(path.parent, 65534, 65534)
    path.unlink()
    add(KeyFile(path, now=Clock(NOW)), "payment")  # for a server that runs as the folder's owner
    assert path.stat().st_uid == 65534


GOOD = {
    "id": "0" * 12, "name": "p", "role": "viewer", "hash": "a" * 64, "created": 1.0, "expires": None, "rotated": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("{hunter2", "is not JSON"),
        ("\udcff", "is not UTF-8|is not JSON"),
        ("[]", "not a file of keys in format 1"),
        ('{"format": 2, "keys": []}', "not a file of keys in format 1"),
        ('{"format": 1, "keys": {}}', "not a file of keys in format 1"),
        (json.dumps({"format": 1, "keys": [{**GOOD, "secret": "hunter2"}]}), r"keys\[0\] has other fields"),
        (json.dumps({"format": 1, "keys": [GOOD, {**GOOD, "id": "hunter2"}]}), r"keys\[1\]: id or hash is malformed"),
        (json.dumps({"format": 1, "keys": [{**GOOD, "hash": "hunter2"}]}), r"keys\[0\]: id or hash is malformed"),
        (json.dumps({"format": 1, "keys": [{**GOOD, "role": "hunter2"}]}), r"keys\[0\]: role is not one of"),
        (json.dumps({"format": 1, "keys": [{**GOOD, "role": 7}]}), r"keys\[0\]: id, name, role and hash"),
        (json.dumps({"format": 1, "keys": [{**GOOD, "expires": "hunter2"}]}), r"keys\[0\]: expires is not a number"),
        (json.dumps({"format": 1, "keys": [{**GOOD, "created": None}]}), r"keys\[0\]: created is not a number"),
        (json.dumps({"format": 1, "keys": [GOOD, GOOD]}), "one key id twice"),
    ],
)
def test_a_bad_file_is_named_and_its_text_is_not_shown(path, text, message):
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    path.chmod(0o600)
    with pytest.raises(InvalidOption, match=message) as caught:
        KeyFile(path).load()
    assert str(path) in str(caught.value) and "hunter" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_what_is_no_file_and_where_there_is_no_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidOption, match="is not a plain file"):
        KeyFile(tmp_path / "folder").load()
    with pytest.raises(InvalidOption, match=r"mkdir -m 700"):
        add(KeyFile(tmp_path / "no" / "keys.json"), "p")


def test_a_change_is_seen_within_a_second_and_the_file_is_not_asked_each_time(path, monkeypatch):
    clock, now = Clock(), Clock(NOW)
    server = KeyFile(path, clock=clock, now=now)
    server.load()
    text = add(KeyFile(path, now=now), "payment")
    assert server.find(text) is None
    clock.at += LOOK_AGAIN
    assert server.find(text) is not None
    KeyFile(path, now=now).change(lambda ring, _: ring.revoke("payment"))
    assert server.find(text) is not None
    asked = []
    monkeypatch.setattr(os, "stat", lambda *_: asked.append(1))
    server.find(text)
    assert not asked
    monkeypatch.undo()
    clock.at += LOOK_AGAIN
    assert server.find(text) is None


def test_a_file_that_turns_bad_is_told_of_once_and_counts_for_nothing(path, caplog):
    clock = Clock()
    server = KeyFile(path, clock=clock)
    text = add(KeyFile(path), "payment")
    server.load()
    with caplog.at_level(logging.ERROR):
        path.write_text("{hunter2")
        for _ in range(3):
            clock.at += LOOK_AGAIN
            assert server.find(text) is not None
    assert len(caplog.records) == 1 and str(path) in caplog.text and "hunter" not in caplog.text


def test_a_failed_write_leaves_the_old_file_and_no_other(path, monkeypatch):
    text = add(KeyFile(path), "payment")

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InvalidOption, match="can't be written: No space left"):
        add(KeyFile(path), "shop")
    monkeypatch.undo()
    assert KeyFile(path).find(text) is not None and [other.name for other in path.parent.iterdir()] == ["keys.json"]


@pytest.mark.skipif(sys.platform != "linux", reason="flock and /proc of Linux")
def test_it_is_on_the_disk_before_it_has_its_name(path, monkeypatch):
    told: list[str] = []
    fsync, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda n: (told.append("sync " + os.readlink(f"/proc/self/fd/{n}")), fsync(n))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (told.append("rename"), rename(a, b))[1])
    add(KeyFile(path), "payment")
    assert [line.split("/")[0].strip() for line in told] == ["sync", "rename", "sync"]
    assert told[0].endswith(".new") and told[2] == f"sync {path.parent}"


def test_changes_at_once_lose_nothing(path):
    def work(number: int) -> None:
        for one in range(5):
            add(KeyFile(path), f"p{number}-{one}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(KeyFile(path).load()) == 20


def test_no_secret_is_in_anything_that_is_shown(path, caplog):
    """Make, use, misuse, rotate and revoke keys with all logs on; then look for the secrets everywhere."""
    with caplog.at_level(logging.DEBUG):
        file = KeyFile(path)
        text = add(file, "payment")
        shown = [repr(file), repr(file.ring), str(list(file.ring)), repr(file.find(text)), path.read_text()]
        with pytest.raises(InvalidOption) as caught:  # part of a secret where an id belongs
            file.change(lambda ring, _: ring.revoke(text[:-1]))
        shown += [str(caught.value), str(file.change(lambda ring, _: ring.revoke(text)))]
    assert len(file.ring) == 0
    secret = text.split("_", 2)[2]
    for part in (secret[:12], secret[-12:]):
        assert all(part not in one for one in [*shown, caplog.text])


def test_the_service_is_not_pulled_in_by_the_package():
    script = "import sys, flow_core; sys.exit(any(name.startswith('flow_core.service') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0

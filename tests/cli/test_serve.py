"""``serve``: from settings to a server, what it refuses, and how it ends."""

from __future__ import annotations

import signal
import socket
import sqlite3
import sys
from pathlib import Path

import pytest

pytest.importorskip("cyclopts")
pytest.importorskip("grpc")

from flow_core import Step
from flow_core.cli.main import main
from flow_core.cli.serve import flow_of, guard_of, notify
from flow_core.cli.settings import ServeSettings
from flow_core.errors import InvalidOption
from flow_core.model.options import Author
from flow_core.model.secret import Secret
from flow_core.service.security.guard import OpenGuard
from flow_core.service.security.key_file import KeyFile
from flow_core.service.security.key_guard import KeyGuard
from flow_core.service.security.quotas import steps_owned
from tests.aio import run
from tests.cli.kit import Server, command
from tests.servers.certificates import Certificates
from tests.service.kit import add_key

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def start(tmp_path):
    """Starts servers, and ends those that a failed test left."""
    started: list[Server] = []

    def run_server(*arguments: str, **environment: str) -> Server:
        started.append(Server(tmp_path, arguments, **environment))
        return started[-1]

    yield run_server
    for server in started:
        server.stop(signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(start, number):
    server = start()
    assert server.facts["url"].startswith("grpc://127.0.0.1:") and server.facts["authentication"] is False
    assert server.stop(number) == 0
    log = server.log.read_text()
    assert (
        "authentication is off: listening on loopback only" in log
        and "draining" in log
        and log.rstrip().endswith("stopped")
    )


def test_sigterm_lets_what_runs_end_and_keeps_what_does_not(start, tmp_path, capfd):
    server = start("--store", "sqlite:///flow.db", "--drain", "0.2s")
    url = ["--url", server.url]
    wait = ["--service", "never", "--endpoint", "there", "--owner", "never"]
    assert command(capfd, "step", "add", "f", "s", *wait, *url).code == 0
    assert command(capfd, "exec", "f", "--id", "kept", *url).code == 0
    assert server.stop() == 0
    again = start("--store", "sqlite:///flow.db", "--drain", "0.2s")
    assert command(capfd, "status", "kept", "--url", again.url).out == "RUNNING\n"
    assert again.stop() == 0
    with sqlite3.connect(tmp_path / "flow.db") as db:
        assert db.execute("SELECT count(*) FROM execution WHERE ended IS NULL").fetchone() == (1,)
    db.close()


def test_tls_with_keys_and_certificates(start, made, tmp_path, capfd):
    keys = KeyFile(tmp_path / "keys.json")
    key = add_key(keys, "alice", "author")
    (tmp_path / "flow-core.toml").write_text(
        f'[serve]\ntls_cert = "{made.server}"\ntls_key = "{made.server_key}"\nclient_ca = "{made.ca}"\n'
        'keys = "keys.json"\n[serve.certificates]\nclient = "viewer:bob"\n'
    )
    server = start()
    assert server.facts["url"].startswith("grpcs://") and server.facts["authentication"] is True
    url = ["--url", server.url.replace("127.0.0.1", "localhost"), "--tls-ca", str(made.ca)]
    certified = [*url, "--tls-cert", str(made.client), "--tls-key", str(made.client_key)]
    step = ["step", "add", "f", "s", "--topic", "t"]
    assert command(capfd, "flows", "ls", *certified).out == "no flows\n"
    assert command(capfd, *step, *certified).code == 4
    assert command(capfd, *step, *certified, "--key", key).code == 0
    assert command(capfd, "flows", "ls", *url, "--timeout", "0.1").code == 4


def test_the_doctor_asks_a_server_whether_it_takes_work(start, capfd):
    server = start()
    assert command(capfd, "doctor", server.url).out == "serving\n"
    assert command(capfd, "doctor", server.url, "--json").json == {"url": server.url, "health": "SERVING"}
    assert server.stop() == 0
    assert command(capfd, "doctor", server.url).code == 4


def test_an_owner_may_have_so_many_steps(start, tmp_path, capfd):
    key = add_key(KeyFile(tmp_path / "keys.json"), "alice", "author")
    server = start("--keys", "keys.json", FLOW_CORE_SERVE_STEPS="2")
    asked = ["--topic", "t", "--url", server.url, "--key", key]
    assert [command(capfd, "step", "add", "f", name, *asked).code for name in ("a", "b", "c")] == [0, 0, 4]
    assert command(capfd, "step", "rm", "f", "a", *asked[2:]).code == 0
    assert command(capfd, "step", "add", "f", "c", *asked).code == 0


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--listen", "0.0.0.0:0"], "asks nobody who they are"),
        (["--listen", "[::]:0", "--keys", "{keys}"], "without TLS anybody on the way could read the keys"),
        (["--keys", "{folder}/none.json"], "there are no keys in"),
        (["--tls-cert", "x"], "only one of tls_cert and tls_key"),
        (["--tls-cert", "no.pem", "--tls-key", "no.key"], "tls_cert: "),
        (["--client-ca", "x"], "client_ca is set, and the server has no TLS"),
        (["--certificates", "a=viewer:a"], "certificates are set, and no client is asked for one"),
        (["--both", "--keys", "{keys}"], "both=True needs keys and certificates"),
        (["--both"], "nobody is known"),
        (["--drain", "soon"], "--drain: 'soon' is no time"),
        (["--unavailable", "wiat"], "did you mean 'wait'"),
        (["--store", "mongodb://me:hunter2@x"], "mongodb"),
        (["--rpc", "ftp://me:hunter2@x"], "ftp"),
        (["--config", "no.toml"], "no.toml can't be read"),
        (["--keep", "x"], "--keep: a whole number"),
    ],
)
def test_a_contradiction_is_told_before_anything_is_opened(tmp_path, capfd, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    add_key(KeyFile(tmp_path / "keys.json"), "alice", "author")
    places = {"keys": tmp_path / "keys.json", "folder": tmp_path}
    answer = command(capfd, "serve", *(argument.format(**places) for argument in arguments))
    assert answer.code == 2 and message in answer.err and answer.out == "" and "hunter" not in answer.err


def test_an_address_that_is_taken(start, capfd):
    server = start()
    answer = command(capfd, "serve", "--listen", server.url.removeprefix("grpc://"))
    assert answer.code == 4 and "can't be listened on" in answer.err


# --- its parts --------------------------------------------------------------------------------------------------------


def test_the_guard_of_the_settings(tmp_path):
    file = tmp_path / "keys.json"
    add_key(KeyFile(file), "alice", "author")
    assert isinstance(guard_of(ServeSettings()), OpenGuard)
    assert isinstance(guard_of(ServeSettings(keys=file, listen="0.0.0.0:1")), KeyGuard)
    certified = ServeSettings(certificates={"x": "viewer:x"}, client_ca=file, tls_cert=file, tls_key=file)
    assert isinstance(guard_of(certified), KeyGuard)
    with pytest.raises(InvalidOption, match="nobody is known"):
        guard_of(ServeSettings(client_ca=file, tls_cert=file, tls_key=file))
    file.chmod(0o644)
    with pytest.raises(InvalidOption, match="others can get at"):
        guard_of(ServeSettings(keys=file))


def test_the_steps_of_an_owner_are_counted_over_all_flows(tmp_path):
    async def main() -> list[int]:
        flow = flow_of(ServeSettings(store=Secret(f"sqlite:///{tmp_path / 'flow.db'}")))
        async with flow:
            for name, owner in (("f", "a"), ("g", "a"), ("h", "b")):
                await flow.create_step(name, Step("s", print), author=Author(owner, owner))
            return [steps_owned(flow, owner) for owner in ("a", "b", "c")]

    assert run(main()) == [2, 1, 0]


def test_systemd_is_told(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify("READY=1")
        assert systemd.recv(100) == b"READY=1"
    notify("READY=1")  # nobody listens any more
    monkeypatch.setenv("NOTIFY_SOCKET", "nonsense")
    notify("READY=1")


def test_a_server_tells_systemd_when_it_is_ready_and_when_it_stops(start, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        server = start(NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert systemd.recv(100) == b"READY=1"
        assert server.stop() == 0
        assert systemd.recv(100) == b"STOPPING=1"


def test_the_settings_are_options(capfd):
    assert main(["serve", "--help"]) == 0
    said = capfd.readouterr().out
    for option in ("--listen", "--store", "--keys", "--client-ca", "--both", "--drain", "--rate", "--config"):
        assert option in said
    assert Path.cwd().as_posix() not in said

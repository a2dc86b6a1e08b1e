"""The commands that talk to a server, against ``flow-core serve`` in another process, with keys of every role."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("cyclopts")
pytest.importorskip("grpc")

from flow_core.service.security.key_file import KeyFile
from tests.cli.kit import Answer, Server, command
from tests.service.kit import add_key

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

#: A flow that succeeds: its steps give back what they get.
ECHO = {"steps": [
    {"name": "first", "operation": {"type": "empty_operation", "name": "first"}},
    {"name": "last", "after": ["first"], "operation": {"type": "empty_operation", "name": "last"}},
]}  # fmt: skip
ROLES = ("viewer", "operator", "author", "admin", "service")


class World:
    """A server that asks for keys, and a key of each role in a file."""

    def __init__(self, folder: Path) -> None:
        keys = KeyFile(folder / "keys.json")
        for role in ROLES:
            file = folder / role
            file.write_text(add_key(keys, f"the-{role}", role))
            file.chmod(0o600)
        self.folder = folder
        self.server = Server(folder, ["--store", "sqlite:///flow.db", "--keys", "keys.json"])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    found = World(tmp_path_factory.mktemp("world"))
    yield found
    assert found.server.stop() == 0, found.server.log.read_text()


@pytest.fixture
def ask(world, capfd, monkeypatch):
    """Run a command as a role: ``ask("author", "flows", "ls")``."""
    monkeypatch.setenv("FLOW_CORE_URL", world.server.url)

    def run(role: str, *arguments: str) -> Answer:
        return command(capfd, *arguments, "--key-file", str(world.folder / role))

    return run


@pytest.fixture
def echo(ask, tmp_path):
    """The flow ``echo``, registered."""
    file = tmp_path / "steps.json"
    file.write_text(json.dumps(ECHO))
    assert ask("author", "step", "add", "echo", "--file", str(file)).code == 0
    return "echo"


# --- steps and flows --------------------------------------------------------------------------------------------------


def test_steps_come_change_and_go(ask):
    add = ["step", "add", "shop", "pay", "--service", "bank", "--endpoint", "charge", "--retries", "2"]
    assert ask("author", *add, "--attempt-timeout", "5s", "--json").json == {"flow": "shop", "revision": 1}
    assert ask("author", "step", "add", "shop", "ship", "--topic", "parcels", "--after", "pay", "gift").out == "2\n"
    shown = ask("viewer", "flows", "show", "shop")
    assert (
        shown.code == 0 and "flow shop, revision 2" in shown.out and "nobody registered it; named by ship" in shown.out
    )
    found = ask("viewer", "flows", "show", "shop", "--json").json
    pay, ship = found["steps"]
    assert (pay["step"], pay["owner"], pay["type"]) == ("pay", "the-author", "client_call_operation")
    assert (ship["after"], ship["available"]) == (["pay", "gift"], True) and found["unresolved"] == {"gift": ["ship"]}
    assert "n0 --> n1" in ask("viewer", "flows", "show", "shop", "--mermaid").out
    assert ask("viewer", "flows", "show", "shop", "--dot").out.startswith("digraph flow {")
    assert {"flow": "shop", "revision": 2, "steps": 2} in ask("viewer", "flows", "ls", "--json").json
    change = ["step", "replace", "shop", "ship", "--run-flow", "echo", "--revision"]
    assert ask("author", *change, "1").code == 3, "the flow has moved on"
    assert ask("author", *change, "2").out == "3\n"
    assert ask("author", "step", "rm", "shop", "ship").out == "4\n"
    gone = ask("author", "step", "rm", "shop", "ship", "--json")
    assert gone.code == 3 and json.loads(gone.err)["error"]["code"] == "unknown_step" and gone.out == ""


def test_a_service_changes_its_own_and_nothing_else(ask):
    call = ["--endpoint", "e", "--service"]
    assert ask("service", "step", "add", "owned", "mine", *call, "the-service").code == 0
    assert ask("author", "step", "add", "owned", "theirs", *call, "x").code == 0
    assert ask("service", "step", "rm", "owned", "theirs").code == 4
    assert ask("service", "step", "replace", "owned", "theirs", *call, "the-service").code == 4
    assert ask("service", "step", "add", "owned", "more", *call, "bank").code == 4
    assert ask("service", "step", "add", "owned", "more", *call, "the-service", "--owner", "the-author").code == 4
    owners = {one["step"]: one["owner"] for one in ask("viewer", "flows", "show", "owned", "--json").json["steps"]}
    assert owners == {"mine": "the-service", "theirs": "the-author"}
    assert ask("service", "step", "rm", "owned", "mine").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which step?"),
        (["s"], "a step does one thing"),
        (["s", "--topic", "t", "--run-flow", "f"], "a step does one thing"),
        (["s", "--service", "x"], "--service and --endpoint belong together"),
        (["s", "--file", "x.json"], "--file holds the whole steps"),
        (["--file", "x.json", "--topic", "t"], "--file holds the whole steps"),
        (["--file", "no.json"], "no.json can't be read: No such file"),
        (["s", "--topic", "t", "--attempt-timeout", "soon"], "--attempt-timeout: 'soon' is no time"),
        (["a b", "--topic", "t"], "' '"),
    ],
)
def test_what_is_no_step(ask, arguments, message):
    answer = ask("author", "step", "add", "bad", *arguments)
    assert answer.code == 2 and message in answer.err and answer.out == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no steps"),
        ('[{"nmae": "x"}]', r'steps[0]: Message type "go.micro.flow.Step" has no field named "nmae"'),
        ('[{"name": "x"}, 7]', "steps[0]"),
        ('[{"name": "x"}]', "field operation is missing"),
        ('[{"name": "x", "operation": {"type": "rm -rf"}}]', "rm -rf"),
    ],
)
def test_a_file_that_holds_no_steps_is_named(ask, tmp_path, text, message):
    file = tmp_path / "steps.json"
    file.write_text(text)
    answer = ask("author", "step", "add", "bad", "--file", str(file))
    assert answer.code == 2 and str(file) in answer.err and "Traceback" not in answer.err


# --- executions -------------------------------------------------------------------------------------------------------


def test_an_execution_from_its_start_to_its_end(ask, echo, world):
    done = ask("operator", "exec", echo, "-d", '{"a": [1]}', "--wait", "--id", "order-1")
    assert done.code == 0 and json.loads(done.out) == {"a": [1]}
    assert ask("viewer", "status", "order-1").out == "SUCCESS\n"
    assert ask("viewer", "status", "order-1", "--flow", echo, "--json").json == {"id": "order-1", "status": "SUCCESS"}
    assert ask("viewer", "status", "order-1", "--flow", "other").code == 3
    assert ask("viewer", "result", "order-1").out == done.out
    assert json.loads(ask("viewer", "result", "order-1", "first").out) == {"a": [1]}
    moves = ask("viewer", "history", "order-1", "--json").json
    assert [(move["step"], move["status"]) for move in moves if move["status"] != "RUNNING"] == [
        ("first", "SUCCESS"), ("last", "SUCCESS"), (None, "SUCCESS"),
    ]  # fmt: skip
    assert "it is over" in ask("viewer", "explain", "order-1").out
    listed = ask("viewer", "ls", echo, "--status", "success", "--since", "1h", "--json").json
    assert "order-1" in [one["id"] for one in listed["executions"]]
    again = ask("operator", "restart", "order-1", "--step", "last", "--wait", "--json").json
    assert again["status"] == "SUCCESS" and again["id"] != "order-1" and json.loads(again["result"]) == {"a": [1]}
    same = ask("operator", "exec", echo, "-d", '{"a": [2]}', "--id", "order-1", "--json")
    assert same.code == 3 and json.loads(same.err)["error"]["code"] == "execution_conflict"


def test_data_from_a_file_and_from_stdin(ask, echo, tmp_path, monkeypatch):
    file = tmp_path / "data.json"
    file.write_text("[1]")
    assert ask("operator", "exec", echo, "-d", f"@{file}", "--wait").out == "[1]"
    monkeypatch.setattr(sys, "stdin", io.StringIO("-7"))
    assert ask("operator", "exec", echo, "-d", "-", "--wait").out == "-7"
    assert ask("operator", "exec", echo, "-d", "-3", "--wait").out == "-3"


def test_a_failed_execution_is_exit_code_1(ask):
    ask("author", "step", "add", "broken", "tell", "--topic", "nowhere")
    failed = ask("operator", "exec", "broken", "--wait", "--id", "broken-1")
    assert failed.code == 1 and failed.out == "" and "execution broken-1: FAILURE" in failed.err
    failed = ask("operator", "exec", "broken", "--wait", "--json")
    assert failed.code == 1 and failed.json["status"] == "FAILURE" and failed.json["error"]["step"] == "tell"
    assert ask("viewer", "result", "broken-1").code == 1
    assert ask("operator", "exec", "broken").code == 0, "it was started, and that is what was asked for"


def test_an_execution_is_paused_and_aborted(ask):
    ask("author", "step", "add", "waiting", "wait", "--service", "never", "--endpoint", "there", "--owner", "never")
    begun = ask("operator", "exec", "waiting", "--json").json
    assert begun["status"] in ("RUNNING", "PENDING")
    id_ = begun["id"]
    over = ask("viewer", "result", id_)
    assert over.code == 3 and "is not over: it is RUNNING" in over.err and "--wait" in over.err
    assert "never" in ask("viewer", "explain", id_).out
    assert ask("operator", "pause", id_).out == "PAUSED\n"
    assert ask("operator", "resume", id_, "--json").json == {"id": id_, "status": "RUNNING"}
    assert ask("operator", "restart", id_).code == 3
    assert ask("operator", "abort", id_).out == "ABORTED\n"
    assert ask("operator", "pause", id_).code == 3


def test_a_list_goes_on_where_it_ended(ask, echo):
    for number in range(3):
        ask("operator", "exec", echo, "--wait", "--id", f"page-{number}")
    first = ask("viewer", "ls", echo, "--limit", "2")
    cursor = first.out.splitlines()[-1].removeprefix("more: --cursor ")
    assert "page-2" in first.out and "page-1" in first.out and "page-0" not in first.out
    assert "page-0" in ask("viewer", "ls", echo, "--limit", "1", "--cursor", cursor).out
    assert ask("viewer", "ls", "none-of-this-name").out == "no executions\n"


# --- who may, and who is there ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "arguments"),
    [
        ("viewer", ["exec", "echo"]), ("viewer", ["abort", "x"]), ("operator", ["step", "rm", "echo", "first"]),
        ("service", ["ls"]), ("service", ["pause", "x"]),
    ],
)  # fmt: skip
def test_who_may_not_is_exit_code_4(ask, role, arguments):
    answer = ask(role, *arguments)
    assert answer.code == 4 and f"role '{role}' may not" in answer.err and answer.out == ""


def test_without_a_key_and_with_a_bad_one(ask, world, capfd, tmp_path):
    answer = command(capfd, "flows", "ls", "--url", world.server.url)
    assert answer.code == 4 and "authorization: Bearer" in answer.err
    bad = command(capfd, "flows", "ls", "--url", world.server.url, "--key", "fc_hunter2")
    assert bad.code == 4 and "unknown or expired key" in bad.err and "hunter" not in bad.err


def test_a_revoked_key_is_refused_within_a_second(ask, world, capfd, tmp_path):
    keys = str(world.folder / "keys.json")
    text = command(capfd, "token", "new", "short", "--role", "viewer", "--keys", keys).out.strip()
    asked = ["flows", "ls", "--url", world.server.url, "--key", text]
    refused = 0
    while command(capfd, *asked).code != 0:  # until the server has looked again
        refused += 1
        assert refused < 10_000
    assert command(capfd, "token", "rm", "short", "--keys", keys).code == 0
    while command(capfd, *asked).code != 4:
        refused += 1
        assert refused < 20_000


def test_nobody_there(capfd):
    answer = command(capfd, "ls", "--url", "grpc://127.0.0.1:1", "--timeout", "0.1", "--json")
    assert answer.code == 4 and json.loads(answer.err)["error"]["code"] == "unavailable"


# --- the store without the server -------------------------------------------------------------------------------------


def test_the_store_says_the_same_and_is_not_written(ask, echo, world, capfd):
    ask("operator", "exec", echo, "-d", "1", "--wait", "--id", "stored")
    url = f"sqlite:///{world.folder / 'flow.db'}"
    with_server = ask("viewer", "ls", echo, "--json").json
    alone = command(capfd, "ls", echo, "--store", url, "--json").json
    assert alone["executions"] == with_server["executions"]
    assert command(capfd, "status", "stored", "--store", url).out == "SUCCESS\n"
    assert command(capfd, "status", "stored", "--store", url, "--flow", "other").code == 3
    assert command(capfd, "status", "none", "--store", url).code == 3
    moves = command(capfd, "history", "stored", "--store", url, "--json").json
    assert [(move["step"], move["status"]) for move in moves if move["status"] == "SUCCESS"] == [
        ("first", "SUCCESS"), ("last", "SUCCESS"), (None, "SUCCESS"),
    ]  # fmt: skip
    flows = command(capfd, "flows", "ls", "--store", url, "--json").json
    assert {"flow": "echo", "revision": 1, "steps": 2} in flows
    nothing = world.folder / "nothing.db"
    assert command(capfd, "ls", "--store", f"sqlite:///{nothing}").code == 4 and not nothing.exists()


# --- usage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["exec", "f", "-d", "{bad"], "--data is not JSON"),
        (["exec", "f", "-d", "@no.json"], "no.json can't be read"),
        (["exec", "f", "--within", "soon"], "--within: 'soon' is no time"),
        (["exec"], "requires an argument"),
        (["exec", "f", "--wiat"], "Unknown option"),
        (["ls", "--status", "sucess"], "did you mean 'success'"),
        (["ls", "--limit", "0"], "--limit must be at least 1"),
        (["flows", "show", "f", "--mermaid", "--dot"], "exclude each other"),
        (["flows", "shwo"], "shwo"),
        (["ls", "--url", "http://x:1"], "grpc://host:port"),
        (["ls", "--url", "grpc://10.0.0.1:1", "--key", "hunter2"], "anybody on the way could read it"),
        (["ls", "--url", "grpc://127.0.0.1:1", "--tls-ca", "x"], "write grpcs://"),
        (["ls", "--timeout", "never"], "--timeout: 'never' is no time"),
    ],
)
def test_bad_usage_is_exit_code_2(capfd, arguments, message):
    answer = command(capfd, *arguments)
    assert answer.code == 2 and message in answer.err and answer.out == "" and "hunter" not in answer.err

"""Settings: which place wins, what a mistake in each place says, and that no secret is shown."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from flow_core.cli.settings import DEFAULT_URL, ClientSettings, ServeSettings, duration, load, names, read_key
from flow_core.errors import InvalidOption
from flow_core.model.secret import Secret
from flow_core.service.security.quotas import Limits

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture
def project(tmp_path):
    """Writes a pyproject.toml, and loads from a folder below it."""

    def write(text: str, kind=ClientSettings, arguments=None, **environment: str):
        (tmp_path / "pyproject.toml").write_text(text)
        below = tmp_path / "a" / "b"
        below.mkdir(parents=True, exist_ok=True)
        return load(kind, arguments, environment=environment, folder=below)

    return write


def test_nothing_set_is_loopback_and_no_key(tmp_path):
    client = load(ClientSettings, environment={}, folder=tmp_path)
    assert client == ClientSettings() and client.url == DEFAULT_URL and read_key(client) is None
    assert load(ServeSettings, environment={}, folder=tmp_path).listen.startswith("127.0.0.1:")


def test_arguments_go_before_the_environment_and_that_before_the_file(project):
    text = '[tool.flow-core]\nurl = "grpc://file:1"\ntimeout = "5m"\n[tool.flow-core.serve]\nlisten = "127.0.0.1:1"\n'
    assert project(text).url == "grpc://file:1"
    assert project(text).timeout == 300
    assert project(text, FLOW_CORE_URL="grpc://env:1").url == "grpc://env:1"
    assert project(text, FLOW_CORE_URL="").url == "grpc://file:1", "an empty variable is none"
    both = project(text, arguments={"url": "grpc://argument:1", "timeout": None}, FLOW_CORE_URL="grpc://env:1")
    assert (both.url, both.timeout) == ("grpc://argument:1", 300)
    assert project(text, ServeSettings, FLOW_CORE_SERVE_LISTEN="[::1]:2").listen == "[::1]:2"
    assert project(text, ServeSettings).listen == "127.0.0.1:1"


def test_every_kind_of_value_from_every_place(project, tmp_path):
    text = """
    [tool.flow-core.serve]
    store = "postgresql://me:hunter2@db/flow"
    keep = 5
    drain = 1.5
    both = true
    rate = 0.5
    client-ca = "ca.pem"
    certificates = { "payment.internal" = "service:payment" }
    """
    found = project(text, ServeSettings)
    assert found.store is not None and found.store.reveal() == "postgresql://me:hunter2@db/flow"
    assert (found.keep, found.drain, found.both, found.rate) == (5, 1.5, True, 0.5)
    assert found.client_ca == tmp_path / "ca.pem", "paths in a file are relative to it"
    assert found.certificates == {"payment.internal": "service:payment"}
    environment = {
        "FLOW_CORE_SERVE_KEEP": "7", "FLOW_CORE_SERVE_DRAIN": "2m", "FLOW_CORE_SERVE_BOTH": "no",
        "FLOW_CORE_SERVE_CERTIFICATES": "a=viewer:a, b=author:b", "FLOW_CORE_SERVE_CLIENT_CA": "ca.pem",
    }  # fmt: skip
    found = project(text, ServeSettings, **environment)
    assert (found.keep, found.drain, found.both) == (7, 120.0, False)
    assert found.certificates == {"a": "viewer:a", "b": "author:b"} and found.client_ca == Path.cwd() / "ca.pem"


def test_the_nearest_file_wins_and_a_file_can_be_named(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.flow-core]\nurl = "grpc://far:1"')
    near = tmp_path / "near"
    near.mkdir()
    (near / "pyproject.toml").write_text('[project]\nname = "x"')
    assert load(ClientSettings, environment={}, folder=near).url == "grpc://far:1"
    (near / "flow-core.toml").write_text('url = "grpc://near:1"\n[serve]\nkeep = 3')
    assert load(ClientSettings, environment={}, folder=near).url == "grpc://near:1"
    assert load(ServeSettings, environment={}, folder=near).keep == 3
    named = {"FLOW_CORE_CONFIG": str(tmp_path / "pyproject.toml")}
    assert load(ClientSettings, environment=named, folder=near).url == "grpc://far:1"
    with pytest.raises(InvalidOption, match=r"no\.toml can't be read: No such file"):
        load(ClientSettings, environment={}, folder=near, file=tmp_path / "no.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[tool.flow-core]\nulr = "x"', r"pyproject.toml, \[tool.flow-core\]: there is no setting 'ulr'\n.*mean 'url'"),
        ('[tool.flow-core.serve]\nclient_cert = "x"', r"\[tool.flow-core.serve\]: there is no setting 'client_cert'"),
        ("[tool.flow-core.serve]\ndrain = -1", r"\[tool.flow-core.serve\] drain: -1 is no time"),
        ('[tool.flow-core.serve]\nkeep = "many"', r"keep: a whole number of at least 1 is needed, not 'many'"),
        ("[tool.flow-core.serve]\nkeep = true", r"keep: a whole number"),
        ("[tool.flow-core.serve]\nrate = 0", r"rate: a number above 0"),
        ('[tool.flow-core.serve]\nboth = "maybe"', r"both: 'maybe' is neither true nor false"),
        (
            '[tool.flow-core.serve]\nunavailable = "wiat"',
            r"unavailable: 'wiat' is not one of its values\n.*mean 'wait'",
        ),
        ("[tool.flow-core.serve]\nlisten = 7400", r"listen: a text is needed, not int"),
        ("[tool.flow-core.serve]\ncertificates = { a = 1 }", r"certificates: a table of texts"),
        ("[tool.flow-core]\nserve = 1", r"\[tool.flow-core.serve\] is not a table"),
        ("[tool]\nflow-core = 1", r"tool.flow-core is not a table"),
        ('[tool.flow-core]\nkey = "hunter2"', r"a key does not belong into a file that others read\n.*use key_file"),
        ('[tool.flow-core]\nkey = "hunter2', r"pyproject.toml is not TOML \(at "),
    ],
)
@pytest.mark.parametrize("kind", [ClientSettings, ServeSettings])
def test_a_mistake_in_the_file_is_named_whoever_reads_it(project, text, message, kind):
    with pytest.raises(InvalidOption, match=message) as caught:
        project(text, kind)
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("FLOW_CORE_ULR", "x", "there is no setting FLOW_CORE_ULR\n.*mean 'FLOW_CORE_URL'"),
        ("FLOW_CORE_SERVE_DRIAN", "x", "mean 'FLOW_CORE_SERVE_DRAIN'"),
        ("FLOW_CORE_SERVE_DRAIN", "soon", "FLOW_CORE_SERVE_DRAIN: 'soon' is no time"),
        ("FLOW_CORE_SERVE_CERTIFICATES", "payment", "FLOW_CORE_SERVE_CERTIFICATES: no pairs"),
    ],
)
def test_a_mistake_in_the_environment(project, variable, value, message):
    with pytest.raises(InvalidOption, match=message):
        project("", ServeSettings, **{variable: value})


def test_what_kubernetes_puts_there_is_no_mistake(project):
    project("", FLOW_CORE_SERVICE_HOST="10.0.0.1", FLOW_CORE_PORT="tcp://10.0.0.1:1", FLOW_CORE_PORT_50051_TCP_ADDR="x")


def test_a_broken_file_of_somebody_else_is_not_ours(project):
    assert project("[tool.other\n") == ClientSettings()


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30), ("30s", 30), (" 5m ", 300), ("1.5h", 5400), ("90d", 7776000), (2, 2), (0.5, 0.5)]
)
def test_times(text, seconds):
    assert duration(text, "x") == seconds


@pytest.mark.parametrize("text", ["", "-1", "1w", "1e9999", "nan", "inf", True, None, "1 2", -3, float("inf")])
def test_no_times(text):
    with pytest.raises(InvalidOption, match=r"x: .* is no time"):
        duration(text, "x")


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_a_key_from_its_file(tmp_path):
    file = tmp_path / "key"
    file.write_text("  fc_key\n")
    file.chmod(0o600)
    found = read_key(load(ClientSettings, {"key_file": str(file)}, environment={}, folder=tmp_path))
    assert found == Secret("fc_key")
    given = load(ClientSettings, {"key": "fc_argument", "key_file": str(file)}, environment={}, folder=tmp_path)
    assert read_key(given) == Secret("fc_argument")


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_a_key_file_that_is_no_use(tmp_path):
    file = tmp_path / "key"
    for prepare, message in [
        (lambda: None, "can't be read: No such file"),
        (lambda: (file.write_text("fc_hunter2"), file.chmod(0o604)), "others can read the key"),
        (lambda: (file.write_text("\n"), file.chmod(0o600)), "there is no key in"),
    ]:
        prepare()
        with pytest.raises(InvalidOption, match=message) as caught:
            read_key(ClientSettings(key_file=file))
        assert str(file) in str(caught.value) and "hunter" not in str(caught.value)


def test_no_secret_is_in_a_repr(tmp_path):
    client = load(ClientSettings, {"key": "hunter2"}, environment={}, folder=tmp_path)
    urls = dict.fromkeys(("store", "rpc", "pubsub"), "nats://me:hunter2@x")
    serve = load(ServeSettings, urls, environment={}, folder=tmp_path)
    assert "hunter" not in f"{client!r} {client} {serve!r} {serve}"


# --- drawn from the table ---------------------------------------------------------------------------------------------


def test_the_defaults_of_the_limits_are_said_once():
    settings, limits = ServeSettings(), Limits()
    assert {name: getattr(settings, name) for name in Limits.__slots__} == {
        name: getattr(limits, name) for name in Limits.__slots__
    }


@pytest.mark.skipif(not DOCS.is_dir(), reason="about the checkout, not about the wheel")
@pytest.mark.parametrize(("kind", "title"), [(ClientSettings, ""), (ServeSettings, "serve")])
def test_the_page_lists_every_setting_and_no_other(kind, title):
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    heading = f"[tool.flow-core{title and '.'}{title}]"
    table = page[page.index(f"### `{heading}`") :]
    table = table[: table.index("\n\n", table.index("|---"))]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(names(kind))
    assert all(about.help in table for about in names(kind).values())

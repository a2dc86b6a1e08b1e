"""TLS of the server, client certificates, renewal; and where a server may listen at all."""

from __future__ import annotations

import logging
import shutil
import socket

import pytest

from flow_core.errors import InvalidOption
from flow_core.net import loopback
from flow_core.net.loopback import is_loopback
from flow_core.service.security.binding import check_binding
from flow_core.service.security.guard import OpenGuard
from flow_core.service.security.key_file import KeyFile
from flow_core.service.security.key_guard import KeyGuard, read_certificates
from flow_core.service.security.tls import Reloader, ServerTls
from tests.aio import run
from tests.servers.certificates import Certificates
from tests.service.kit import add_key, channel_credentials, guarded_server, whoami


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("others"))


GUARD = KeyGuard(certificates=read_certificates({"client": "operator:bob"}))


def test_a_client_certificate_is_a_principal(made):
    async def main() -> list[str]:
        credentials = ServerTls(made.server, made.server_key, made.ca).credentials()
        async with guarded_server(GUARD, credentials) as port:
            known = channel_credentials(made.ca, made.client, made.client_key)
            nameless = channel_credentials(made.ca, made.server, made.server_key)
            return [
                await whoami(port, "Execute", credentials=known),
                await whoami(port, "Execute", credentials=nameless),
                await whoami(port, "Execute", credentials=channel_credentials(made.ca)),
            ]

    known, nameless, none = run(main())
    assert known == "bob"
    assert nameless == "UNAUTHENTICATED: nothing proves who calls"
    assert none.startswith("UNAVAILABLE"), "TLS itself refuses a client without a certificate"


def test_a_certificate_of_another_authority_is_refused_by_tls(made, others):
    async def main() -> list[str]:
        async with guarded_server(GUARD, ServerTls(made.server, made.server_key, made.ca).credentials()) as port:
            stranger = channel_credentials(made.ca, others.client, others.client_key)
            deceived = channel_credentials(others.ca, made.client, made.client_key)
            return [await whoami(port, "Execute", credentials=one) for one in (stranger, deceived)]

    assert all(answer.startswith("UNAVAILABLE") for answer in run(main()))


def test_keys_over_tls_without_client_certificates(made, tmp_path):
    keys = KeyFile(tmp_path / "keys.json")
    text = add_key(keys, "payment", "service")

    async def main() -> str:
        async with guarded_server(KeyGuard(keys), ServerTls(made.server, made.server_key).credentials()) as port:
            return await whoami(port, "Execute", text, credentials=channel_credentials(made.ca))

    assert run(main()) == "payment"


def test_a_renewed_certificate_is_used_from_the_next_connection_on(made, others, tmp_path, caplog):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def install(source: Certificates) -> None:
        for file, target in ((source.server, cert), (source.server_key, key)):
            fresh = target.with_suffix(".new")
            shutil.copy(file, fresh)
            fresh.replace(target)

    install(made)

    async def main() -> list[str]:
        async with guarded_server(GUARD, ServerTls(cert, key, made.ca).credentials()) as port:

            async def ask(ca: Certificates) -> str:
                return await whoami(
                    port, "Execute", credentials=channel_credentials(ca.ca, made.client, made.client_key)
                )

            answers = [await ask(made)]
            with caplog.at_level(logging.ERROR):
                shutil.copy(others.server, cert)  # half of it
                answers.append(await ask(made))
            install(others)
            return [*answers, await ask(others), await ask(made)]

    before, half, after, outdated = run(main())
    assert (before, half, after) == ("bob", "bob", "bob") and outdated.startswith("UNAVAILABLE")
    assert "could not reload the certificate, keeping the old one" in caplog.text and str(cert) in caplog.text


def test_the_reloader_reads_nothing_when_nothing_changed(made, tmp_path):
    cert = tmp_path / "cert.pem"
    shutil.copy(made.server, cert)
    reloader = Reloader(ServerTls(cert, made.server_key))
    assert reloader() is None
    shutil.copy(made.server, tmp_path / "other")
    (tmp_path / "other").replace(cert)
    assert reloader() is not None
    assert reloader() is None
    cert.unlink()
    assert reloader() is None


def test_errors_name_the_file(made, others, tmp_path):
    empty = tmp_path / "empty.pem"
    empty.write_text("hunter2")
    for tls, message in [
        (ServerTls(tmp_path / "no.pem", made.server_key), r"tls_cert: .*no\.pem can't be read: No such file"),
        (ServerTls(made.server, tmp_path), r"tls_key: .* can't be read: Is a directory"),
        (ServerTls(made.server, others.server_key), r"server\.pem and the key .*others.*can't be used together: KEY"),
        (ServerTls(empty, made.server_key), r"the certificate .*empty\.pem and the key .*can't be used together"),
        (ServerTls(made.server, made.server_key, empty), r"client_ca .*empty\.pem holds no certificates"),
    ]:
        with pytest.raises(InvalidOption, match=message) as caught:
            tls.credentials()
        assert "hunter" not in str(caught.value) and caught.value.__cause__ is None


def test_an_encrypted_key_is_refused_and_asks_no_terminal(made, tmp_path):
    from cryptography.hazmat.primitives import serialization as s

    key = s.load_pem_private_key(made.server_key.read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"x")))
    with pytest.raises(InvalidOption, match="unencrypted PEM key"):
        ServerTls(made.server, locked).check()


# --- where ------------------------------------------------------------------------------------------------------------

LOCAL = [
    "127.0.0.1:7233", "127.8.9.1:0", "[::1]:7233", "localhost:7233", "unix:/run/flow.sock", "unix-abstract:flow",
    "unix:///run/flow.sock", "ipv4:127.0.0.1:7233", "ipv6:[::1]:7233", "dns:///localhost:7233", "[::ffff:127.0.0.1]:1",
    "127.0.0.1", "::1",
]  # fmt: skip
WIDE = [
    "0.0.0.0:7233", "[::]:7233", ":7233", "*:7233", "10.0.0.1:7233", "192.168.1.1:7233", "ipv4:0.0.0.0:7233",
    "ipv6:[::]:7233", "[fe80::1%eth0]:7233", "[::ffff:10.0.0.1]:1", "", "0:7233", "::", "vsock:3:7233",
    "nobody.invalid:7233", "127.0.0.1,0.0.0.0:7233",
]  # fmt: skip


@pytest.fixture
def no_names(monkeypatch):
    """Names that resolve without a network."""
    known = {"localhost": ["127.0.0.1", "::1"], "0": ["0.0.0.0"], "mixed": ["127.0.0.1", "10.0.0.1"]}

    def look_up(host, port, **_):
        if host not in known:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in known[host]]

    monkeypatch.setattr(loopback.socket, "getaddrinfo", look_up)


@pytest.mark.usefixtures("no_names")
@pytest.mark.parametrize("address", LOCAL)
def test_on_loopback_everything_goes(address):
    assert is_loopback(address)
    check_binding(address, OpenGuard(), encrypted=False)


@pytest.mark.usefixtures("no_names")
@pytest.mark.parametrize("address", [*WIDE, "mixed:7233"])
def test_beyond_it_only_with_authentication_and_encryption(address):
    assert not is_loopback(address)
    with pytest.raises(InvalidOption, match=r"asks nobody who they are\n  fix: listen on 127\.0\.0\.1; or set keys"):
        check_binding(address, OpenGuard(), encrypted=True, plain=True)
    with pytest.raises(InvalidOption, match="without TLS anybody on the way could read the keys\n  fix: set tls_cert"):
        check_binding(address, GUARD, encrypted=False)
    check_binding(address, GUARD, encrypted=True)
    check_binding(address, GUARD, encrypted=False, plain=True)
    check_binding(address, GUARD)

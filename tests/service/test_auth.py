"""`KeyGuard`: who is let in, who is not, and that those who are not learn nothing."""

from __future__ import annotations

import asyncio
import logging

import pytest

from flow_core.errors import InvalidId, InvalidOption, PermissionDenied, QuotaExceeded, Unauthenticated
from flow_core.proto import flow_pb2 as pb
from flow_core.service.security import key_guard as auth
from flow_core.service.security.guard import OpenGuard, Principal
from flow_core.service.security.key_file import KeyFile
from flow_core.service.security.key_guard import KeyGuard, read_certificates
from flow_core.service.security.quotas import Limits
from tests.aio import run, run_virtual
from tests.service.kit import Clock, Context, add_key, guarded_server, whoami

PAYMENT = {"x509_common_name": [b"payment"], "x509_subject_alternative_name": [b"payment.internal", b"127.0.0.1"]}
CERTIFICATES = {"payment.internal": "service:payment", "alice": "author:alice"}


@pytest.fixture
def now() -> Clock:
    return Clock(1_000_000.0)


@pytest.fixture
def keys(tmp_path, now) -> KeyFile:
    return KeyFile(tmp_path / "keys.json", clock=Clock(), now=now)


def allow(guard: KeyGuard, context: Context, verb: str = "Lookup", request: object = None) -> Principal:
    return run_virtual(guard.allow(context, verb, request))


# --- by key -----------------------------------------------------------------------------------------------------------


def test_a_key_is_a_principal_with_its_role(keys):
    text = add_key(keys, "payment", "service")
    principal = allow(KeyGuard(keys), Context(text))
    assert principal == Principal("payment", "service", f"key {text[3:15]}")
    for scheme in ("bearer", "BEARER"):
        assert allow(KeyGuard(keys), Context(metadata=[("authorization", f"{scheme} {text}")])).name == "payment"


def test_whatever_is_wrong_with_a_key_the_answer_is_the_same(keys, now):
    text = add_key(keys, "payment", "service")
    expired = add_key(keys, "shop", "service", lives=10)
    gone = add_key(keys, "gone", "service")
    keys.change(lambda ring, _: ring.revoke("gone"))
    now.at += 10
    sent = [
        Context(text[:-4] + "AAAA"), Context(expired), Context(gone), Context(""), Context("x" * 100_000),
        Context(f"fc_{'0' * 12}_{'A' * 43}"), Context(metadata=[("authorization", text)]),
        Context(metadata=[("authorization", f"Basic {text}")]), Context(metadata=[("authorization", text.encode())]),
        Context(text, metadata=[("authorization", f"Bearer {text}")]), Context("\ud800é"),
    ]  # fmt: skip
    told = set()
    for number, context in enumerate(sent):
        context._peer = f"ipv4:10.0.1.{number}:1"
        with pytest.raises(Unauthenticated) as caught:
            allow(KeyGuard(keys), context)
        told.add((str(caught.value), caught.value.fix, type(caught.value), caught.value.__cause__))
    assert told == {("unknown or expired key", None, Unauthenticated, None)}


def test_no_key_is_told_what_to_send(keys):
    with pytest.raises(Unauthenticated, match="nothing proves who calls\n  fix: send metadata authorization: Bearer"):
        allow(KeyGuard(keys), Context())


def test_a_known_caller_without_the_right_is_told_who_has_it(keys):
    guard = KeyGuard(keys)
    viewer = add_key(keys, "v", "viewer")
    with pytest.raises(PermissionDenied, match="role 'viewer' may not Execute: operator"):
        allow(guard, Context(viewer), "Execute", pb.ExecuteRequest(flow="f"))
    with pytest.raises(PermissionDenied, match="not in the table"):
        allow(guard, Context(add_key(keys, "a", "admin")), "Shutdown")


def test_steps_in_the_name_of_another(keys):
    guard = KeyGuard(keys)
    service, author = Context(add_key(keys, "payment", "service")), Context(add_key(keys, "alice", "author"))
    own = pb.CreateStepRequest(flow="f", owner="payment")
    foreign = pb.CreateStepRequest(flow="f", owner="shipping")
    assert allow(guard, service, "CreateStep", own).name == "payment"
    assert allow(guard, author, "CreateStep", foreign).name == "alice"
    with pytest.raises(PermissionDenied, match="may CreateStep its own only"):
        allow(guard, service, "CreateStep", foreign)
    with pytest.raises(PermissionDenied, match="may Heartbeat its own only"):
        allow(guard, author, "Heartbeat", pb.HeartbeatRequest(owner="shipping"))


def test_a_service_registers_steps_that_call_itself(keys):
    guard = KeyGuard(keys)
    service = Context(add_key(keys, "payment", "service"))

    def create(name: str) -> pb.CreateStepRequest:
        operation = pb.Operation(type="client_call_operation", options={"service": name, "endpoint": "refund"})
        return pb.CreateStepRequest(flow="f", steps=[pb.Step(name="s", operation=operation)])

    assert allow(guard, service, "CreateStep", create("payment"))
    with pytest.raises(PermissionDenied, match="steps that call itself, 'payment', not 'bank'"):
        allow(guard, service, "CreateStep", create("bank"))
    assert allow(guard, Context(add_key(keys, "alice", "author")), "CreateStep", create("bank"))
    assert allow(KeyGuard(keys, foreign_calls=True), service, "CreateStep", create("bank"))


def test_a_stream_hears_when_its_key_is_gone(keys, now):
    guard = KeyGuard(keys, limits=Limits(executions=5))
    principal = allow(guard, Context(add_key(keys, "payment", "service", lives=10)), "ExecuteMany")
    assert guard.valid(principal)
    guard.charge(principal, 5)
    with pytest.raises(QuotaExceeded, match="executions"):
        guard.charge(principal, 6)
    now.at += 10
    assert not guard.valid(principal)
    with pytest.raises(Unauthenticated):
        guard.charge(principal, 1)
    assert guard.valid(Principal("alice", "author", "certificate"))


# --- how much ---------------------------------------------------------------------------------------------------------


def test_quotas_hold_for_each_principal(keys):
    owned = {"payment": 0}
    clock = Clock()
    limits = Limits(rate=1, burst=4, steps=2, executions=1, message=60)
    guard = KeyGuard(keys, limits=limits, owned=lambda name: owned.get(name, 0), clock=clock)
    context = Context(add_key(keys, "payment", "operator"))
    author = Context(add_key(keys, "alice", "author"))

    class Handle:
        over = False

    handle = Handle()
    guard.started(allow(guard, context, "Execute", pb.ExecuteRequest(flow="f")), handle)
    for verb, request in (
        ("Execute", pb.ExecuteRequest(flow="f")),
        ("Restart", pb.RestartRequest()),
        ("ExecuteMany", None),
    ):
        with pytest.raises(QuotaExceeded, match="the limit executions is 1"):
            allow(guard, context, verb, request)
    with pytest.raises(QuotaExceeded, match="the limit rate is 1 a second") as caught:
        allow(guard, context)
    assert caught.value.retry_after == 1.0
    with pytest.raises(QuotaExceeded, match="its limit message is 60"):
        allow(guard, author, "Execute", pb.ExecuteRequest(data=b"x" * 60))
    with pytest.raises(QuotaExceeded, match="adds 3: the limit steps is 2"):
        allow(guard, author, "CreateStep", pb.CreateStepRequest(steps=[pb.Step()] * 3))


# --- failures are slowed, and told of ---------------------------------------------------------------------------------


def test_failures_are_answered_ever_later_and_a_good_key_never(keys):
    good = add_key(keys, "payment", "service")
    guard = KeyGuard(keys, clock=lambda: asyncio.get_running_loop().time())

    async def attempt(context: Context) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await guard.allow(context, "Lookup", None)
        except Unauthenticated:
            pass
        return loop.time() - began

    async def main() -> None:
        waits = [await attempt(Context("bad")) for _ in range(10)]
        assert waits == [0] * 10
        waits = await asyncio.gather(*(attempt(Context("bad")) for _ in range(50)))
        assert sorted(waits)[:4] == pytest.approx([1, 2, 3, 4]) and max(waits) == pytest.approx(5)
        assert await attempt(Context(good)) == 0
        assert await attempt(Context("bad", peer="ipv4:10.9.9.9:1")) == 0

    run_virtual(main())


def test_answers_kept_back_are_bounded(keys, monkeypatch):
    monkeypatch.setattr(auth, "MOST_WAITING", 3)
    guard = KeyGuard(keys, clock=Clock())

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        ends: list[float] = []

        async def attempt() -> None:
            with pytest.raises(Unauthenticated):
                await guard.allow(Context("bad"), "Lookup", None)
            ends.append(loop.time())

        await asyncio.gather(*(attempt() for _ in range(20)))
        return ends

    ends = run_virtual(main())
    assert sum(end > 0 for end in ends) == 3
    assert guard._waiting == 0


def test_denials_are_in_the_log_without_what_was_sent(keys, caplog):
    text = add_key(keys, "payment", "viewer")
    guard = KeyGuard(keys, clock=Clock())
    with caplog.at_level(logging.INFO):
        with pytest.raises(PermissionDenied):
            allow(guard, Context(text), "Abort")
        with pytest.raises(Unauthenticated):
            allow(guard, Context("hunter2", metadata=[("cookie", "hunter2")]), "Abort")
    known, unknown = caplog.records
    assert known.levelno == logging.WARNING
    assert (
        known.getMessage().startswith("refused Abort to 'payment' (viewer, key ") and "10.0.0.1" in known.getMessage()
    )
    assert (known.flow_principal, known.flow_verb, known.flow_code) == ("payment", "Abort", "permission_denied")
    assert "an unknown caller at ipv4:10.0.0.1:5000: unknown or expired key" in unknown.getMessage()
    assert text not in caplog.text and text[-20:] not in caplog.text and "hunter" not in caplog.text


def test_a_flood_does_not_fill_the_log(keys, caplog):
    async def at_once(_: float) -> None:
        return None

    guard = KeyGuard(keys, clock=Clock(), sleep=at_once)
    for _ in range(1000):
        with pytest.raises(Unauthenticated):
            allow(guard, Context("bad"))
    assert len(caplog.records) <= 10 + 10


# --- by certificate ---------------------------------------------------------------------------------------------------


def test_a_certificate_stands_for_a_principal(keys):
    guard = KeyGuard(certificates=read_certificates(CERTIFICATES))
    assert allow(guard, Context(certificate=PAYMENT)) == Principal("payment", "service", "certificate")
    assert allow(guard, Context(certificate={"x509_common_name": [b"alice"]})).role == "author"


@pytest.mark.parametrize(
    "facts",
    [
        None,
        {},
        {"x509_common_name": [b"Alice"]},
        {"x509_common_name": [b"alice"], "x509_subject_alternative_name": [b"bob.internal"]},  # SANs go before the name
        {"x509_subject_alternative_name": [b"payment.internal", b"alice"]},  # two principals in one
        {"x509_common_name": [b"\xff"]},
        {"x509_common_name": [b"alice"], "transport_security_type": [b"insecure"]},
    ],
)
def test_who_has_no_certificate_that_is_known(facts):
    guard = KeyGuard(certificates=read_certificates(CERTIFICATES))
    with pytest.raises(Unauthenticated, match="connect with a client certificate"):
        allow(guard, Context(certificate=facts))


def test_a_key_goes_before_the_certificate_and_a_bad_one_is_not_made_up_for(keys):
    guard = KeyGuard(keys, certificates=read_certificates(CERTIFICATES))
    alice = add_key(keys, "alice", "author")
    assert allow(guard, Context(alice, certificate=PAYMENT)).name == "alice"
    assert allow(guard, Context(certificate=PAYMENT)).name == "payment"
    with pytest.raises(Unauthenticated, match="unknown or expired key"):
        allow(guard, Context("bad", certificate=PAYMENT))
    with pytest.raises(Unauthenticated, match="Bearer <key> or connect"):
        allow(guard, Context())


def test_both(keys):
    guard = KeyGuard(keys, certificates=read_certificates(CERTIFICATES), both=True)
    alice, payment = add_key(keys, "alice", "author"), add_key(keys, "payment", "service")
    assert allow(guard, Context(payment, certificate=PAYMENT)).via.startswith("key ")
    for context in (Context(payment), Context(certificate=PAYMENT), Context()):
        with pytest.raises(Unauthenticated, match="Bearer <key> and connect"):
            allow(guard, context)
    with pytest.raises(Unauthenticated, match="different principals"):
        allow(guard, Context(alice, certificate=PAYMENT))


@pytest.mark.parametrize(
    ("pairs", "error", "message"),
    [
        ({"x": "payment"}, InvalidOption, "the certificate 'x' stands for 'payment'"),
        ({"x": "root:payment"}, InvalidOption, "write role:principal"),
        ({"x": "service:"}, InvalidId, "principal of certificate 'x' is empty"),
        ({"x": "service:a b"}, InvalidId, "principal of certificate 'x'"),
    ],
)
def test_what_is_no_principal(pairs, error, message):
    with pytest.raises(error, match=message):
        read_certificates(pairs)


def test_a_guard_that_lets_nobody_in_or_needs_what_is_not_there(keys):
    with pytest.raises(InvalidOption, match="lets nobody in"):
        KeyGuard()
    with pytest.raises(InvalidOption, match="needs keys and certificates"):
        KeyGuard(keys, both=True)


# --- with gRPC --------------------------------------------------------------------------------------------------------


def test_over_the_wire(keys):
    text = add_key(keys, "payment", "viewer")

    async def main() -> list[str]:
        async with guarded_server(KeyGuard(keys)) as port:
            return [
                await whoami(port, "Lookup", text),
                await whoami(port, "Execute", text),
                await whoami(port, "Lookup", "bad"),
                await whoami(port, "Lookup"),
            ]

    good, denied, bad, none = run(main())
    assert good == "payment"
    assert denied.startswith("PERMISSION_DENIED: role 'viewer' may not Execute")
    assert bad == "UNAUTHENTICATED: unknown or expired key"
    assert none == "UNAUTHENTICATED: nothing proves who calls"


def test_the_open_guard_lets_everybody_do_everything():
    guard = OpenGuard()
    local = run(guard.allow(Context(), "Abort", None))
    assert (local.name, local.role) == ("local", "admin") and not guard.authenticates
    assert guard.may_change(local, "x") and guard.may_serve(local, "x") and guard.valid(local)
    guard.charge(local, 10**9)
    guard.started(local, object())

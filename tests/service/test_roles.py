"""Who may do what: every verb, every role, own and foreign, pinned as one picture; and what has to hold of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flow_core.proto import flow_pb2 as pb
from flow_core.service.security.guard import Principal
from flow_core.service.security.key_guard import KeyGuard, read_certificates
from flow_core.service.security.request_facts import foreign_calls, is_own, steps_added
from flow_core.service.security.roles import ROLES, VERBS, decide

PAGE = Path(__file__).resolve().parents[2] / "docs" / "security.md"
#: B: both what is its own and what is another's, o: its own only, -: neither.
TABLE = """
verb            viewer operator author admin service
Lookup            B       B       B      B      B
ListFlows         B       B       B      B      B
Unresolved        B       B       B      B      B
WatchFlows        B       B       B      B      B
Audit             -       B       B      B      -
CreateStep        -       -       B      B      o
DeleteStep        -       -       B      B      o
ReplaceStep       -       -       B      B      o
Serve             -       -       o      B      o
Heartbeat         -       -       o      B      o
Execute           -       B       B      B      B
ExecuteMany       -       B       B      B      B
Wait              B       B       B      B      B
GetStatus         B       B       B      B      B
WatchExecution    B       B       B      B      B
Result            B       B       B      B      -
ListExecutions    B       B       B      B      -
History           B       B       B      B      -
Explain           B       B       B      B      -
Pause             -       B       B      B      -
Resume            -       B       B      B      -
Abort             -       B       B      B      -
Restart           -       B       B      B      -
"""
HEAD, *ROWS = [line.split() for line in TABLE.strip().splitlines()]
MEANING = {"B": (True, True), "o": (True, False), "-": (False, False)}
CELLS = [(row[0], role, cell) for row in ROWS for role, cell in zip(HEAD[1:], row[1:], strict=True)]
METHODS = [
    method.name
    for service in ("FlowService", "ExecutorService")
    for method in pb.DESCRIPTOR.services_by_name[service].methods
]


@pytest.mark.parametrize(("verb", "role", "cell"), CELLS)
def test_the_table(verb: str, role: str, cell: str):
    assert (decide(role, verb, True).allowed, decide(role, verb, False).allowed) == MEANING[cell]


def test_every_method_of_the_schema_has_a_row_here_and_there_and_no_other_has():
    assert len(METHODS) == len(set(METHODS)), "two services share a name of a method: verbs have to tell them apart"
    assert set(VERBS) == set(METHODS)
    assert sorted(row[0] for row in ROWS) == sorted(METHODS)
    assert tuple(HEAD[1:]) == ROLES


def test_what_is_not_in_the_table_is_denied():
    for role in (*ROLES, "root", "", "Admin"):
        for verb in ("Shutdown", "", "lookup", "Lookup "):
            decision = decide(role, verb, True)
            assert not decision.allowed and "not in the table" in decision.reason
    assert not any(
        decide(role, verb, own).allowed for role in ("root", "", "Admin") for verb in VERBS for own in (0, 1)
    )


def test_more_power_never_takes_anything_away_and_foreign_is_never_easier_than_own():
    ladder = [role for role in ROLES if role != "service"]
    for verb in VERBS:
        for own in (True, False):
            may = [decide(role, verb, own).allowed for role in ladder]
            assert may == sorted(may), (verb, own)
        for role in ROLES:
            assert decide(role, verb, True).allowed or not decide(role, verb, False).allowed


def test_a_denial_says_who_may():
    assert decide("viewer", "Pause", True).reason == "role 'viewer' may not Pause: operator, author, admin may"
    assert "its own only" in decide("service", "DeleteStep", False).reason
    assert "'root' is not a role" in decide("root", "Pause", True).reason
    assert decide("admin", "Pause", False) == (True, "")


# --- whose it is ------------------------------------------------------------------------------------------------------


def call(service: str) -> pb.Operation:
    return pb.Operation(type="client_call_operation", options={"service": service, "endpoint": "e"})


def test_a_request_speaks_for_its_sender_unless_it_names_another():
    for verb, kind in (("CreateStep", pb.CreateStepRequest), ("Heartbeat", pb.HeartbeatRequest)):
        assert is_own(verb, kind(), "shop")
        assert is_own(verb, kind(owner="shop"), "shop")
        assert not is_own(verb, kind(owner="Shop"), "shop")
    assert is_own("DeleteStep", pb.DeleteStepRequest(step="x"), "shop")
    assert is_own("Serve", None, "shop")


def test_steps_that_call_others_are_found_wherever_they_hide():
    own, other = call("shop"), call("bank")
    for part in ("operation", "fallback", "compensation"):
        step = pb.Step(name="s", operation=own)
        getattr(step, part).CopyFrom(other)
        assert foreign_calls("CreateStep", pb.CreateStepRequest(steps=[pb.Step(operation=own), step]), "shop") == "bank"
        request = pb.ReplaceStepRequest(step="s")
        getattr(request, "with").CopyFrom(step)
        assert foreign_calls("ReplaceStep", request, "shop") == "bank"
    nameless = pb.Step(operation=pb.Operation(type="client_call_operation"))
    assert foreign_calls("CreateStep", pb.CreateStepRequest(steps=[nameless]), "shop") == ""
    publishes = pb.Step(operation=pb.Operation(type="client_publish_operation", options={"topic": "t"}))
    assert foreign_calls("CreateStep", pb.CreateStepRequest(steps=[pb.Step(operation=own), publishes]), "shop") is None
    assert foreign_calls("CreateStep", None, "shop") is None
    assert foreign_calls("Execute", pb.ExecuteRequest(flow="f"), "shop") is None


def test_steps_are_counted_where_a_flow_grows():
    assert steps_added("CreateStep", pb.CreateStepRequest(steps=[pb.Step(), pb.Step()])) == 2
    assert steps_added("ReplaceStep", pb.ReplaceStepRequest(step="x")) == 0


@pytest.mark.parametrize(("verb", "role", "cell"), [cell for cell in CELLS if cell[0] in ("ReplaceStep", "Serve")])
def test_the_guard_asks_the_same_table(verb: str, role: str, cell: str):
    guard = KeyGuard(certificates=read_certificates({"x": "viewer:x"}))
    ask = guard.may_change if verb == "ReplaceStep" else guard.may_serve
    assert (ask(Principal("me", role), "me"), ask(Principal("me", role), "other")) == MEANING[cell]
    assert ask(Principal("me", role), "") == MEANING[cell][1], "what belongs to nobody known is not one's own"


@pytest.mark.skipif(not PAGE.exists(), reason="about the checkout, not about the wheel")
def test_the_page_shows_the_same_table():
    assert TABLE.strip() in PAGE.read_text(encoding="utf-8")

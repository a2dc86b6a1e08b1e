"""Who may do what: one table, and the decision that reads it. What is not in the table is denied.

The roles: a ``viewer`` reads; an ``operator`` also starts and controls executions; an ``author`` also changes flows,
whoever owns the steps; an ``admin`` may also act under the name of another service. A ``service`` offers endpoints: it
registers, replaces and deletes what it owns itself, serves under its own name, starts executions and waits for those
whose id it knows; it lists nothing, controls nothing, and reads no records of what others executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

__all__ = ["ROLES", "VERBS", "Decision", "Permission", "decide"]

#: All roles; the first four in order of power, each may all that the one before may.
ROLES: Final = ("viewer", "operator", "author", "admin", "service")

NOBODY: Final[frozenset[str]] = frozenset()
ADMIN: Final = frozenset({"admin"})
AUTHORS: Final = ADMIN | {"author"}
OPERATORS: Final = AUTHORS | {"operator"}
READERS: Final = OPERATORS | {"viewer"}
#: The role that stands beside the others.
SERVICE: Final = frozenset({"service"})


class Permission(NamedTuple):
    """Which roles may do something: with what belongs to the caller, and with what belongs to another."""

    own: frozenset[str]
    foreign: frozenset[str]


def _all(roles: frozenset[str]) -> Permission:
    """A verb for which nobody asks whose it is."""
    return Permission(roles, roles)


#: Method of ``flow.proto`` -> who may call it.
VERBS: Final[Mapping[str, Permission]] = MappingProxyType({
    # The definitions of flows.
    "Lookup": _all(READERS | SERVICE),
    "ListFlows": _all(READERS | SERVICE),
    "Unresolved": _all(READERS | SERVICE),
    "WatchFlows": _all(READERS | SERVICE),
    "Audit": _all(OPERATORS),
    "CreateStep": Permission(AUTHORS | SERVICE, AUTHORS),
    "DeleteStep": Permission(AUTHORS | SERVICE, AUTHORS),
    "ReplaceStep": Permission(AUTHORS | SERVICE, AUTHORS),
    # To be a service: whoever serves under a name is given that service's calls, and no audit log tells of it.
    "Serve": Permission(AUTHORS | SERVICE, ADMIN),
    "Heartbeat": Permission(AUTHORS | SERVICE, ADMIN),
    # Executions: start and wait.
    "Execute": _all(OPERATORS | SERVICE),
    "ExecuteMany": _all(OPERATORS | SERVICE),
    "Wait": _all(READERS | SERVICE),
    "GetStatus": _all(READERS | SERVICE),
    "WatchExecution": _all(READERS | SERVICE),
    # ... look into them ...
    "Result": _all(READERS),
    "ListExecutions": _all(READERS),
    "History": _all(READERS),
    "Explain": _all(READERS),
    # ... and control them.
    "Pause": _all(OPERATORS),
    "Resume": _all(OPERATORS),
    "Abort": _all(OPERATORS),
    "Restart": _all(OPERATORS),
})  # fmt: skip


class Decision(NamedTuple):
    """What `decide` says; ``reason`` is for the caller and the log, and names roles and verbs only."""

    allowed: bool
    reason: str


#: The answer to most questions.
ALLOWED: Final = Decision(True, "")
DENIED: Final = Permission(NOBODY, NOBODY)


def decide(role: str, verb: str, own: bool) -> Decision:
    """Whether ``role`` may do ``verb`` with something that is its own, or another's. Unknown names are denied."""
    permission = VERBS.get(verb, DENIED)
    if role in (permission.own if own else permission.foreign):
        return ALLOWED
    if verb not in VERBS:
        return Decision(False, f"nobody may {verb}: it is not in the table of verbs")
    if role not in ROLES:
        return Decision(False, f"{role!r} is not a role: there are {', '.join(ROLES)}")
    if role in permission.own:
        return Decision(False, f"role {role!r} may {verb} its own only, and this belongs to another owner")
    allowed = [one for one in ROLES if one in (permission.own if own else permission.foreign)]
    return Decision(False, f"role {role!r} may not {verb}: {', '.join(allowed)} may")

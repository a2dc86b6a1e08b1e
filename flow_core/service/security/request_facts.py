"""What a request is about, as far as authorisation and quotas care.

A request comes from a stranger: nothing here trusts a field to be set.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flow_core.operations import ClientCallOperation

__all__ = ["foreign_calls", "is_own", "steps_added"]

#: Verbs whose message says for whom it speaks.
NAMES_OWNER = frozenset({"CreateStep", "Heartbeat"})


def is_own(verb: str, request: Any, name: str) -> bool:
    """Whether a request speaks for the principal ``name`` itself.

    True also where the message does not tell, as an id of a step says nothing of its owner: then the handler asks
    `Guard.may_change` once it knows.
    """
    if verb not in NAMES_OWNER or request is None:
        return True
    return request.owner in ("", name)


def steps_added(verb: str, request: Any) -> int:
    """By how many steps a flow grows when this is granted."""
    return len(request.steps) if verb == "CreateStep" and request is not None else 0


def foreign_calls(verb: str, request: Any, name: str) -> str | None:
    """A service beside ``name`` that a step of this request would call; None when there is none.

    A service that could register a step that calls another service would have its own rights and that one's.
    """
    for operation in _operations(verb, request):
        if operation.type == ClientCallOperation.type:
            service = operation.options.get("service", "")
            if service != name:
                return str(service)
    return None


def _operations(verb: str, request: Any) -> Iterator[Any]:
    if request is None or verb not in ("CreateStep", "ReplaceStep"):
        return
    for step in request.steps if verb == "CreateStep" else [getattr(request, "with")]:
        for part in ("operation", "fallback", "compensation"):
            if step.HasField(part):
                yield getattr(step, part)

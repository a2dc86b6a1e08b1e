"""Errors of the outside world, and `Permanent`, which says that trying again is useless.

Import them from `flow_core.errors`.
"""

from __future__ import annotations

from typing import Any

from flow_core.errors.base import FlowError


class AdapterError(FlowError):
    """A call or a message to the outside failed. Retried by default; ``retry_after`` (seconds) is honoured."""

    __module__ = "flow_core.errors"
    code = "adapter"

    def __init__(self, message: str, *, retry_after: float | None = None, **where: Any) -> None:
        super().__init__(message, **where)
        self.retry_after = retry_after


class Unavailable(AdapterError):
    """The service is not reachable."""

    __module__ = "flow_core.errors"
    code = "unavailable"


class NoReply(AdapterError, TimeoutError):
    """The reply to a message did not come in time."""

    __module__ = "flow_core.errors"
    code = "no_reply"


class Permanent(FlowError):
    """Raise this (or a subclass) in a step when trying again is useless: it is never retried."""

    __module__ = "flow_core.errors"
    code = "permanent"


class Rejected(AdapterError, Permanent):
    """A call or a message was refused for good: trying the same again can't succeed. Never retried."""

    __module__ = "flow_core.errors"
    code = "rejected"


class NotServed(Rejected, Unavailable):
    """The service is there, and does not know this endpoint. Never retried."""

    __module__ = "flow_core.errors"
    code = "not_served"


class TargetRefused(Rejected):
    """The address of a target is not allowed (see ``flow_core.net.egress``). Nothing was sent. Never retried."""

    __module__ = "flow_core.errors"
    code = "target_refused"

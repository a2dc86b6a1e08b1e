"""`Guard`: who calls, and may they? Every handler of the service asks it before it does anything."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Protocol

__all__ = ["Guard", "OpenGuard", "Principal"]


class Principal(NamedTuple):
    """Who calls, and in which role.

    Attributes:
        name: what is written into the audit log; the owner of what it registers.
        role: a role of ``roles.py``.
        via: what proved it, e.g. ``"key 3f6a..."`` or ``"certificate"``; never a secret.
    """

    name: str
    role: str
    via: str = ""


class Guard(Protocol):
    """Decides for each call of the service who makes it and whether it is allowed."""

    #: Whether callers have to prove who they are. Without it, nothing but loopback is served.
    authenticates: ClassVar[bool]

    async def allow(self, context: Any, verb: str, request: Any) -> Principal:
        """Who calls, when they may do this.

        Args:
            context: gRPC's ServicerContext: metadata, peer and certificate of the call.
            verb: name of the method, e.g. ``"CreateStep"``.
            request: its message; None for a stream of them.

        Raises:
            Unauthenticated, PermissionDenied, QuotaExceeded.
        """

    def may_change(self, principal: Principal, owner: str) -> bool:
        """Whether a principal may delete or replace what belongs to ``owner``."""

    def may_serve(self, principal: Principal, service: str) -> bool:
        """Whether a principal may offer the endpoints of ``service``, and so is given its calls."""

    def valid(self, principal: Principal) -> bool:
        """Whether a principal that was let in still would be. For streams, which outlive a key that is revoked."""

    def charge(self, principal: Principal, executions: int) -> None:
        """Executions that are about to start over a stream that was allowed before.

        Raises:
            Unauthenticated: no longer `valid`. QuotaExceeded: too many.
        """

    def started(self, principal: Principal, execution: Any) -> None:
        """An execution was started for a principal: it counts until it is over. The handle has to have ``over``."""


class OpenGuard:
    """Lets everybody do everything, as the principal ``local``. For loopback only."""

    authenticates: ClassVar[bool] = False

    async def allow(self, context: Any, verb: str, request: Any) -> Principal:
        """Everybody."""
        return LOCAL

    def may_change(self, principal: Principal, owner: str) -> bool:
        """Everything."""
        return True

    def may_serve(self, principal: Principal, service: str) -> bool:
        """Everything."""
        return True

    def valid(self, principal: Principal) -> bool:
        """Always."""
        return True

    def charge(self, principal: Principal, executions: int) -> None:
        """Nothing is counted."""

    def started(self, principal: Principal, execution: Any) -> None:
        """Nothing is counted."""


LOCAL = Principal("local", "admin")

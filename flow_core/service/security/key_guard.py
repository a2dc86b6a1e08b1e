"""`KeyGuard`: authenticates callers by API key, by certificate (mTLS) or by both, and decides what they may do.

A caller without a valid key learns nothing: whether the key is unknown, wrong, expired or revoked, the text is the same
and so is the work that was done for it. Failures are counted by peer, and each further one is answered later.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Final

from flow_core.errors import AuthError, InvalidOption, PermissionDenied, QuotaExceeded, Unauthenticated
from flow_core.model.ids import check_id
from flow_core.proto.methods import MAX_MESSAGE
from flow_core.service.security.guard import Principal
from flow_core.service.security.key_file import KeyFile
from flow_core.service.security.quotas import Limits, Meter, Strikes
from flow_core.service.security.request_facts import foreign_calls, is_own, steps_added
from flow_core.service.security.roles import ROLES, decide

__all__ = ["KeyGuard", "read_certificates"]

#: Longer ones are no keys of ours; they are not even hashed.
LONGEST_KEY: Final = 256
SCHEME: Final = "bearer "
#: Failures whose answers are kept back at the same time; beyond it they are answered at once, to bound the memory.
MOST_WAITING: Final = 1_000
#: Verbs that start executions.
STARTING: Final = frozenset({"Execute", "ExecuteMany", "Restart"})

log = logging.getLogger(__name__)


class KeyGuard:
    """Lets in callers who have a key, or a certificate that stands for a principal. A `Guard`.

    Example::

        server = FlowServer(flow, guard=KeyGuard(KeyFile("keys.json"), limits=Limits(rate=100)))

    Args:
        keys: the file of keys; None: certificates only.
        certificates: name in a client's certificate (of its SANs, or its common name) -> the principal it stands for.
            The server has to ask for client certificates, or there are none.
        both: a key *and* a certificate are needed, of the same principal.
        limits: of each principal.
        owned: a principal's name -> steps it owns; without it the limit ``steps`` does not hold.
        foreign_calls: whether a ``service`` may register steps that call other services.
        clock: seconds that only grow.
        sleep: keeps an answer back.

    Raises:
        InvalidOption: neither keys nor certificates; or ``both`` without both.
    """

    authenticates: ClassVar[bool] = True

    def __init__(
        self, keys: KeyFile | None = None, *, certificates: Mapping[str, Principal] | None = None, both: bool = False,
        limits: Limits | None = None, owned: Callable[[str], int] | None = None, foreign_calls: bool = False,
        clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:  # fmt: skip
        if keys is None and not certificates:
            raise InvalidOption(
                "a KeyGuard without keys and certificates lets nobody in", fix="give keys=KeyFile(path)"
            )
        if both and (keys is None or not certificates):
            raise InvalidOption("both=True needs keys and certificates", fix="give both, or leave it out")
        self._keys = keys
        self._certificates = dict(certificates or {})
        self._both = both
        self._foreign_calls = foreign_calls
        self._meter = Meter(limits or Limits(), clock, owned)
        self._sizes = self._meter.limits.message < MAX_MESSAGE
        self._strikes = Strikes(clock)
        self._sleep = sleep
        self._waiting = 0

    # --- the guard ----------------------------------------------------------------------------------------------------

    async def allow(self, context: Any, verb: str, request: Any) -> Principal:
        """See `Guard.allow`."""
        try:
            principal = self.identify(context)
        except Unauthenticated as error:
            await self._refuse(context, verb, error)
            raise
        try:
            self._may(principal, verb, request)
            self._count(principal, verb, request)
        except (PermissionDenied, QuotaExceeded) as error:
            _tell(context, verb, error, principal)
            raise
        return principal

    def may_change(self, principal: Principal, owner: str) -> bool:
        """See `Guard.may_change`. What belongs to nobody known belongs to another."""
        return decide(principal.role, "ReplaceStep", owner == principal.name).allowed

    def may_serve(self, principal: Principal, service: str) -> bool:
        """See `Guard.may_serve`."""
        return decide(principal.role, "Serve", service == principal.name).allowed

    def charge(self, principal: Principal, executions: int) -> None:
        """See `Guard.charge`."""
        if not self.valid(principal):
            raise Unauthenticated(UNKNOWN)
        self._meter.request(principal.name, executions)
        self._meter.execution(principal.name, executions)

    def started(self, principal: Principal, execution: Any) -> None:
        """See `Guard.started`."""
        self._meter.started(principal.name, execution)

    def valid(self, principal: Principal) -> bool:
        """See `Guard.valid`. A certificate was checked when its owner connected."""
        kind, _, key_id = principal.via.partition(" ")
        if kind != "key" or self._keys is None:
            return True
        key = self._keys.ring.get(key_id)
        return key is not None and key.valid(self._keys.now())

    # --- who ----------------------------------------------------------------------------------------------------------

    def identify(self, context: Any) -> Principal:
        """Who calls. Raises `Unauthenticated`."""
        keyed = None if self._keys is None else self._by_key(context)
        if keyed is not None and not self._both:
            return keyed
        certified = self._by_certificate(context) if self._certificates else None
        if not self._both:
            if certified is None:
                raise Unauthenticated(MISSING, fix=self._how())
            return certified
        if keyed is None or certified is None:
            raise Unauthenticated(MISSING, fix=self._how())
        if keyed.name != certified.name:
            raise Unauthenticated("the key and the certificate stand for different principals")
        return keyed

    def _by_key(self, context: Any) -> Principal | None:
        """The principal of the key that was sent; None when none was. A bad key is never made up for otherwise."""
        assert self._keys is not None
        sent = [value for name, value in context.invocation_metadata() or () if name == "authorization"]
        if not sent:
            return None
        text = sent[0]
        well = len(sent) == 1 and isinstance(text, str) and text[: len(SCHEME)].lower() == SCHEME
        found = self._keys.find(text[len(SCHEME) :] if well and len(text) <= LONGEST_KEY else "")
        if found is None:
            raise Unauthenticated(UNKNOWN)
        return Principal(found.name, found.role, f"key {found.id}")

    def _by_certificate(self, context: Any) -> Principal | None:
        """The principal that the peer's certificate stands for, which TLS has verified; None without one."""
        facts = context.auth_context() or {}
        if b"ssl" not in facts.get("transport_security_type", ()):
            return None
        names = facts.get("x509_subject_alternative_name") or facts.get("x509_common_name") or ()
        found = {self._certificates[name] for name in map(_text, names) if name in self._certificates}
        return found.pop() if len(found) == 1 else None  # two principals in one certificate are none

    def _how(self) -> str:
        ways = []
        if self._keys is not None:
            ways.append("send metadata authorization: Bearer <key>")
        if self._certificates:
            ways.append("connect with a client certificate whose name is known here")
        return (" and " if self._both else " or ").join(ways)

    async def _refuse(self, context: Any, verb: str, error: Unauthenticated) -> None:
        """Count a failure, tell of it, and keep the answer back."""
        wait = self._strikes.strike(context.peer() or "")
        count = self._strikes.total
        if not wait or count & (count - 1) == 0:  # a flood is told of ever more seldom
            _tell(context, verb, error)
        if wait and self._waiting < MOST_WAITING:
            self._waiting += 1
            try:
                await self._sleep(wait)
            finally:
                self._waiting -= 1

    # --- may it, and how much -----------------------------------------------------------------------------------------

    def _may(self, principal: Principal, verb: str, request: Any) -> None:
        decision = decide(principal.role, verb, is_own(verb, request, principal.name))
        if not decision.allowed:
            raise PermissionDenied(decision.reason, fix="ask for a key of another role")
        if principal.role == "service" and not self._foreign_calls:
            other = foreign_calls(verb, request, principal.name)
            if other is not None:
                raise PermissionDenied(
                    f"role 'service' may register steps that call itself, {principal.name!r}, not {other[:80]!r}",
                    fix="let that service register the step, or ask for the role 'author'",
                )

    def _count(self, principal: Principal, verb: str, request: Any) -> None:
        meter, name = self._meter, principal.name
        meter.request(name)
        if request is not None:
            if self._sizes:
                meter.message(name, request.ByteSize())
            added = steps_added(verb, request)
            if added:
                meter.steps(name, added)
        if verb in STARTING:
            meter.execution(name)


UNKNOWN: Final = "unknown or expired key"
MISSING: Final = "nothing proves who calls"


def _tell(context: Any, verb: str, error: AuthError, principal: Principal | None = None) -> None:
    """The audit of denials: who was refused what, from where. No text that the caller sent, no secret."""
    who = "an unknown caller" if principal is None else f"{principal.name!r} ({principal.role}, {principal.via})"
    extra = {
        "flow_principal": principal and principal.name, "flow_verb": verb, "flow_peer": context.peer(),
        "flow_code": error.code,
    }  # fmt: skip
    log.warning("refused %s to %s at %s: %s", verb, who, context.peer(), error.message, extra=extra)


def _text(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def read_certificates(pairs: Mapping[str, str] | Iterable[tuple[str, str]]) -> dict[str, Principal]:
    """``{"payment.internal": "service:payment"}`` as `KeyGuard` takes it: name in a certificate -> role:principal.

    Raises:
        InvalidOption, InvalidId: naming the certificate.
    """
    found = {}
    for certificate, text in dict(pairs).items():
        role, separator, name = str(text).partition(":")
        if not separator or role not in ROLES:
            raise InvalidOption(
                f"the certificate {certificate!r} stands for {text!r:.80}",
                fix=f"write role:principal, the role one of {', '.join(ROLES)}",
            )
        found[certificate] = Principal(check_id(name, f"principal of certificate {certificate!r}"), role, "certificate")
    return found

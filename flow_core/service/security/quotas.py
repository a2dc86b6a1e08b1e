"""How much one principal may ask for, and how often an unknown one may fail."""

from __future__ import annotations

import urllib.parse
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Final

from flow_core.errors import InvalidOption, QuotaExceeded
from flow_core.model.ids import check_count
from flow_core.proto.methods import MAX_MESSAGE

if TYPE_CHECKING:
    from flow_core import Flow

__all__ = ["Limits", "Meter", "Strikes", "TokenBucket", "steps_owned"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one principal may use. Each error names the limit that it met.

    Args:
        rate: requests a second, in the long run. An ExecuteMany counts each execution in it.
        burst: requests at once, after a pause.
        steps: steps that it owns, over all flows.
        executions: executions that it started and that are not over.
        message: bytes of one request message; at most `MAX_MESSAGE`, which holds for everybody.
    """

    rate: float = 50_000.0
    burst: int = 100_000
    steps: int = 100_000
    executions: int = 200_000
    message: int = MAX_MESSAGE

    def __post_init__(self) -> None:
        if isinstance(self.rate, bool) or not isinstance(self.rate, (int, float)) or not 0 < self.rate < float("inf"):
            raise InvalidOption(f"Limits.rate must be a number of requests a second above 0, not {self.rate!r:.40}")
        for name in ("burst", "steps", "executions", "message"):
            check_count(getattr(self, name), f"Limits.{name}", least=1)
        if self.message > MAX_MESSAGE:
            raise InvalidOption(f"Limits.message is {self.message}, and no message is larger than {MAX_MESSAGE} bytes")


class TokenBucket:
    """Holds up to ``burst`` tokens, refilled at ``rate`` a second. Its balance may be negative: a waiting time."""

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._at = now

    def level(self, now: float) -> float:
        """Tokens in it."""
        if now > self._at:
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
            self._at = now
        return self._tokens

    def take(self, now: float, count: float = 1.0) -> float:
        """Take ``count`` and return 0.0; or take none and return the seconds until there are enough.

        More than the bucket holds is given once it is full, and owed.
        """
        level = self.level(now)
        wanted = min(count, self.burst)
        if level >= wanted:
            self._tokens = level - count
            return 0.0
        return (wanted - level) / self.rate

    def owe(self, now: float, most: float) -> float:
        """Take one, there or not, up to a debt of ``most``; the seconds until it is paid."""
        self._tokens = max(self.level(now) - 1.0, -most)
        return max(0.0, -self._tokens / self.rate)


class Meter:
    """Counts what each principal has used of its limits.

    Args:
        limits: of each principal.
        clock: seconds that only grow.
        owned: a principal's name -> how many steps it owns now. It may be slow: it is asked only when it may matter.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float], owned: Callable[[str], int] | None = None) -> None:
        self.limits = limits
        self._clock = clock
        self._owned = owned
        self._used: dict[str, _Used] = {}

    def _of(self, name: str) -> _Used:
        used = self._used.get(name)
        if used is None:
            used = self._used[name] = _Used(TokenBucket(self.limits.rate, self.limits.burst, self._clock()))
        return used

    def request(self, name: str, count: int = 1) -> None:
        """Count requests. Raises `QuotaExceeded` with the seconds to wait."""
        wait = self._of(name).requests.take(self._clock(), count)
        if wait:
            raise QuotaExceeded(
                f"{name!r} sends too many requests: the limit rate is {self.limits.rate:g} a second", retry_after=wait
            )

    def message(self, name: str, size: int) -> None:
        """Check the size of a message, bytes. Raises `QuotaExceeded`."""
        if size > self.limits.message:
            raise QuotaExceeded(f"a request of {name!r} has {size} bytes, its limit message is {self.limits.message}")

    def steps(self, name: str, added: int) -> None:
        """Count steps that are about to be added. Raises `QuotaExceeded`.

        Between two questions to ``owned`` the count only grows, so it is never too low; deleted steps are seen when the
        limit seems to be met.
        """
        used = self._of(name)
        if self._owned is None:
            return
        if used.steps < 0 or used.steps + added > self.limits.steps:
            used.steps = self._owned(name)
        if used.steps + added > self.limits.steps:
            raise QuotaExceeded(
                f"{name!r} owns {used.steps} steps and adds {added}: the limit steps is {self.limits.steps}",
                fix="delete some, or register them as another owner's",
            )
        used.steps += added

    def execution(self, name: str, count: int = 1) -> None:
        """Ask for room for further executions. Raises `QuotaExceeded`."""
        used, most = self._of(name), self.limits.executions
        if len(used.executions) + count <= most:
            return
        now = self._clock()
        if now >= used.look_again:  # walking over them costs: not with every request of one who is at its limit
            used.look_again = now + LOOK_AGAIN
            used.executions = [ref for ref in used.executions if _lives(ref)]
        under_way = len(used.executions)
        if under_way + count > most:
            raise QuotaExceeded(
                f"{name!r} has {under_way} executions under way and starts {count}: the limit executions is {most}",
                retry_after=LOOK_AGAIN,
            )

    def started(self, name: str, execution: Any) -> None:
        """Count an execution until it is over. The handle needs ``over`` and is not kept alive."""
        self._of(name).executions.append(weakref.ref(execution))


def steps_owned(flow: Flow, owner: str) -> int:
    """How many steps of all flows belong to an owner; `Meter` asks it, with ``partial(steps_owned, flow)``."""
    return sum(list(owners.values()).count(owner) for owners in flow.ownership.values())


#: Seconds between two walks over the executions of one who is at the limit.
LOOK_AGAIN: Final = 0.1


class _Used:
    """What one principal has used."""

    __slots__ = ("executions", "look_again", "requests", "steps")

    def __init__(self, requests: TokenBucket) -> None:
        self.requests = requests
        self.steps = -1
        self.executions: list[weakref.ref[Any]] = []
        self.look_again = 0.0


def _lives(ref: weakref.ref[Any]) -> bool:
    execution = ref()
    return execution is not None and not execution.over


# --- failed attempts -------------------------------------------------------------------------------------------------


class Strikes:
    """Slows down peers that fail to authenticate: the first few attempts are answered at once, further ones ever later.

    Who proves who it is is never slowed, whatever others at the same address do.

    Args:
        clock: seconds that only grow.
        free: failures that are answered at once; forgiven at ``rate`` a second.
        longest: seconds that an answer is kept back at most.
    """

    #: Peers remembered; the one that failed longest ago is forgotten first.
    MOST_PEERS: Final = 10_000

    def __init__(self, clock: Callable[[], float], *, free: int = 10, rate: float = 1.0, longest: float = 5.0) -> None:
        self._clock = clock
        self._free, self._rate, self._longest = free, rate, longest
        self._peers: OrderedDict[str, TokenBucket] = OrderedDict()
        #: Failures of all peers so far.
        self.total = 0

    def strike(self, peer: str) -> float:
        """Count a failure; the seconds to keep the answer back."""
        self.total += 1
        who, now = network_of(peer), self._clock()
        bucket = self._peers.get(who)
        if bucket is None:
            bucket = self._peers[who] = TokenBucket(self._rate, self._free, now)
            if len(self._peers) > self.MOST_PEERS:
                self._peers.popitem(last=False)
        self._peers.move_to_end(who)
        return bucket.owe(now, self._longest * self._rate)


def network_of(peer: str) -> str:
    """Whom a gRPC peer (``ipv4:127.0.0.1:5000``, ``ipv6:%5B::1%5D:5000``, ``unix:``) is counted as.

    An IPv4 address; a /64 of IPv6, which is what one customer has; else the kind of the connection.
    """
    kind, _, rest = urllib.parse.unquote(peer).partition(":")
    host = rest.rpartition(":")[0].strip("[]")
    try:
        address = ip_address(host)
    except ValueError:
        return kind
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or f"{IPv6Address(int(address) >> 64 << 64)}/64")
    return str(address)

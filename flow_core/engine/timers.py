"""`ExecutionTimers`: the timers of one execution, which a pause freezes."""

from __future__ import annotations

from flow_core.engine.events import CancelTimer, Command, SetTimer, Timer

__all__ = ["EXECUTION", "GRACE", "GRACE_TIMER", "RETRY", "TOTAL", "ExecutionTimers"]

#: Seconds that cancelled coroutines get to clean up before the execution ends without them.
GRACE = 1.0

#: Kinds of a step's timers: until its next attempt, and until its total_timeout.
RETRY, TOTAL = "retry", "total"
#: Until the execution times out; until it stops waiting for coroutines that clean up.
EXECUTION: Timer = ("execution", 0)
GRACE_TIMER: Timer = ("grace", 0)


class ExecutionTimers:
    """The timers of one execution by name, at most one per name.

    Args:
        commands: the list that commands are appended to.
    """

    __slots__ = ("_commands", "deadlines", "frozen", "is_frozen", "now")

    def __init__(self, commands: list[Command]) -> None:
        self._commands = commands
        #: Loop time, seconds, as of the event that is being handled.
        self.now = 0.0
        #: Timers that are set -> when they ring, loop time.
        self.deadlines: dict[Timer, float] = {}
        #: Timers stopped by a pause -> seconds that were left. Disjoint from `deadlines`.
        self.frozen: dict[Timer, float] = {}
        self.is_frozen = False

    def __contains__(self, timer: Timer) -> bool:
        return timer in self.deadlines or timer in self.frozen

    def left(self, timer: Timer) -> float | None:
        """Seconds until a timer rings, not counting the pause; None when it is not set."""
        deadline = self.deadlines.get(timer)
        return self.frozen.get(timer) if deadline is None else deadline - self.now

    def set(self, timer: Timer, delay: float) -> None:
        """Let a timer ring in ``delay`` seconds. While all timers are frozen, it does not start to run."""
        if self.is_frozen:
            self.frozen[timer] = delay
        else:
            self.deadlines[timer] = self.now + delay
            self._commands.append(SetTimer(timer, delay))

    def cancel(self, timer: Timer) -> None:
        """Cancel a timer, if it is set."""
        self.frozen.pop(timer, None)
        if self.deadlines.pop(timer, None) is not None:
            self._commands.append(CancelTimer(timer))

    def cancel_all(self) -> None:
        """Cancel every timer."""
        for timer in [*self.deadlines, *self.frozen]:
            self.cancel(timer)

    def ring(self, timer: Timer) -> bool:
        """Note that a timer rang; returns False when it has just been cancelled."""
        return self.deadlines.pop(timer, None) is not None

    def freeze(self, *, but: Timer) -> None:
        """Freeze all timers ``but`` one."""
        self.is_frozen = True
        for timer, deadline in list(self.deadlines.items()):
            if timer != but:
                self.cancel(timer)
                self.frozen[timer] = max(0.0, deadline - self.now)

    def thaw(self) -> None:
        """Let all frozen timers continue."""
        self.is_frozen = False
        frozen, self.frozen = self.frozen, {}
        for timer, left in frozen.items():
            self.set(timer, left)

    def check(self) -> None:
        """Raise AssertionError when an invariant is broken."""
        assert not set(self.deadlines) & set(self.frozen), "a timer is both set and frozen"
        assert self.is_frozen or not self.frozen, f"timers are frozen, but nothing is paused: {self.frozen}"

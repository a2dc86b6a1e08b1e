"""`ExecutionTimers`: the timers of one execution, which a pause freezes."""

from __future__ import annotations

from flow_core.engine.events import CancelTimer, Command, SetTimer, Timer

__all__ = ["EXECUTION", "GRACE", "GRACE_TIMER", "RETRY", "TOTAL", "ExecutionTimers"]

#: Seconds that cancelled coroutines get to clean up before the execution ends without them.
GRACE = 1.0

#: Kinds of the timers of a step: until its next attempt, until all its attempts have to be over.
RETRY, TOTAL = "retry", "total"
#: Until the execution has to be over; until it goes on without coroutines that clean up.
EXECUTION: Timer = ("execution", 0)
GRACE_TIMER: Timer = ("grace", 0)


class ExecutionTimers:
    """The timers of one execution by name; a name is set at most once at a time.

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
        """Seconds until a timer rings, or that will be left of it when the pause is over; None when it is not set."""
        deadline = self.deadlines.get(timer)
        return self.frozen.get(timer) if deadline is None else deadline - self.now

    def set(self, timer: Timer, delay: float) -> None:
        """Let a timer ring in ``delay`` seconds; while all are frozen its time does not begin."""
        if self.is_frozen:
            self.frozen[timer] = delay
        else:
            self.deadlines[timer] = self.now + delay
            self._commands.append(SetTimer(timer, delay))

    def cancel(self, timer: Timer) -> None:
        """Forget a timer; nothing when it is not set."""
        self.frozen.pop(timer, None)
        if self.deadlines.pop(timer, None) is not None:
            self._commands.append(CancelTimer(timer))

    def cancel_all(self) -> None:
        """Forget every timer."""
        for timer in [*self.deadlines, *self.frozen]:
            self.cancel(timer)

    def ring(self, timer: Timer) -> bool:
        """Take note that a timer rang; False when it was cancelled in that moment."""
        return self.deadlines.pop(timer, None) is not None

    def freeze(self, *, but: Timer) -> None:
        """Stop the time of all timers ``but`` one."""
        self.is_frozen = True
        for timer, deadline in list(self.deadlines.items()):
            if timer != but:
                self.cancel(timer)
                self.frozen[timer] = max(0.0, deadline - self.now)

    def thaw(self) -> None:
        """Let the time of all timers go on."""
        self.is_frozen = False
        frozen, self.frozen = self.frozen, {}
        for timer, left in frozen.items():
            self.set(timer, left)

    def check(self) -> None:
        """Raise AssertionError when an invariant is broken."""
        assert not set(self.deadlines) & set(self.frozen), "a timer is both set and frozen"
        assert self.is_frozen or not self.frozen, f"timers are frozen, but nothing is paused: {self.frozen}"

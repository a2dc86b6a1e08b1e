"""The queue in front of an executor, which limits how many executions are unfinished at the same time."""

from __future__ import annotations

from asyncio import CancelledError, Future, get_running_loop
from collections import deque
from typing import TYPE_CHECKING

from flow_core.errors import ExecutorStopped

if TYPE_CHECKING:
    from flow_core.core.scheduler import Scheduler

__all__ = ["Admission"]


class Admission:
    """Lets callers start an execution while there is room, and has the others wait in the order in which they came.

    Args:
        most: unfinished executions beyond which callers wait.
        scheduler: has the executions; None: there are none yet.
    """

    def __init__(self, most: int, scheduler: Scheduler | None = None) -> None:
        self.most = most
        self.closed = False
        #: Whoever comes while fewer executions than these are unfinished comes in at once. It leaves out the places of
        #: those whose turn it is, and is 0 while others wait: nobody overtakes. The scheduler, which every start asks,
        #: has the same number.
        self.bound = most
        self._scheduler = scheduler
        #: Callers that wait, first come first served.
        self._line: deque[Future[None]] = deque()
        #: Callers whose turn it is, and who have not come in yet.
        self._called = 0
        self._count()

    async def enter(self) -> None:
        """Wait for the caller's turn. Raises `ExecutorStopped`."""
        self.refuse_closed()
        if self._live() < self.bound:
            return
        turn = get_running_loop().create_future()
        self._line.append(turn)
        self._count()
        try:
            await turn
        except CancelledError:
            if not turn.cancelled():  # it was this caller's turn: the next one takes it
                self._called -= 1
                self.call_next()
            elif turn in self._line:
                self._line.remove(turn)
                self._count()
            raise
        self._called -= 1
        self._count()
        self.refuse_closed()

    def call_next(self) -> None:
        """There may be room: the first in line may come in."""
        while self._line and self._live() + self._called < self.most:
            self._call(self._line.popleft())
        self._count()

    def close(self) -> None:
        """Nobody comes in any more; those in line hear `ExecutorStopped`."""
        self.closed = True
        while self._line:
            self._call(self._line.popleft())
        self._count()

    def _call(self, turn: Future[None]) -> None:
        if not turn.done():
            self._called += 1
            turn.set_result(None)

    def _count(self) -> None:
        self.bound = 0 if self._line or self.closed else self.most - self._called
        if self._scheduler is not None:
            self._scheduler.runs.bound = self.bound

    def _live(self) -> int:
        return 0 if self._scheduler is None else self._scheduler.live

    def refuse_closed(self) -> None:
        """Raise `ExecutorStopped` when nobody comes in any more."""
        if self.closed:
            raise ExecutorStopped("the executor is stopped, or stopping", fix="make a new Executor")

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
    """Admits callers while there is room for another execution; the others wait, first come, first served.

    Args:
        most: unfinished executions beyond which callers wait.
        scheduler: counts the executions; None before the first one.
    """

    def __init__(self, most: int, scheduler: Scheduler | None = None) -> None:
        self.most = most
        self.closed = False
        #: A caller is admitted at once while fewer executions than this are unfinished. Places of callers whose turn it
        #: is don't count, and the number is 0 while others wait, so that nobody overtakes. The scheduler has a copy.
        self.bound = most
        self._scheduler = scheduler
        #: Callers that wait.
        self._line: deque[Future[None]] = deque()
        #: Callers whose turn it is, but whose task has not run yet.
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
        """Admit waiting callers while there is room."""
        while self._line and self._live() + self._called < self.most:
            self._call(self._line.popleft())
        self._count()

    def close(self) -> None:
        """Admit nobody any more; waiting callers get `ExecutorStopped`."""
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
        """Raise `ExecutorStopped` after `close`."""
        if self.closed:
            raise ExecutorStopped("the executor is stopped, or stopping", fix="make a new Executor")

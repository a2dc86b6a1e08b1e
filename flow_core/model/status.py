"""The statuses of steps and executions, and the moves between them that are legal.

The compiled core holds the same numbers (``src/flow_core/status.hpp``); a test compares the two tables.
"""

from enum import IntEnum
from typing import Final

__all__ = ["MOVES", "TERMINAL", "Status"]


class Status(IntEnum):
    """Status of a step or of an execution::

        if execution.status is Status.PAUSED:
            await execution.resume()

    The numbers 0 to 6 are those of the original design.
    """

    UNKNOWN = 0
    PENDING = 1
    FAILURE = 2
    SUCCESS = 3
    PAUSED = 4
    ABORTED = 5
    STOPPED = 6
    RUNNING = 7
    SKIPPED = 8

    @property
    def terminal(self) -> bool:
        """Whether the status is final (``restart`` makes a new execution)."""
        return self in TERMINAL


TERMINAL: Final = frozenset({Status.FAILURE, Status.SUCCESS, Status.ABORTED, Status.STOPPED, Status.SKIPPED})

#: Every legal move. A status with an empty row is final. One table serves steps and executions.
MOVES: Final[dict[Status, frozenset[Status]]] = {
    Status.UNKNOWN: frozenset({Status.PENDING}),
    Status.PENDING: frozenset(
        {
            Status.RUNNING,  # it starts
            Status.PAUSED,  # paused before its first step
            Status.SKIPPED,  # a condition said no, or a predecessor did not succeed
            Status.ABORTED,  # never started: the execution was aborted
            Status.STOPPED,  # never started: the executor stopped
        }
    ),
    Status.RUNNING: frozenset(
        {
            Status.SUCCESS,
            Status.FAILURE,
            Status.PENDING,  # an attempt failed: the step waits for its retry
            Status.PAUSED,
            Status.ABORTED,
            Status.STOPPED,
        }
    ),
    Status.PAUSED: frozenset({Status.RUNNING, Status.FAILURE, Status.SUCCESS, Status.ABORTED, Status.STOPPED}),
    Status.FAILURE: frozenset(),
    Status.SUCCESS: frozenset(),
    Status.ABORTED: frozenset(),
    Status.STOPPED: frozenset(),
    Status.SKIPPED: frozenset(),
}

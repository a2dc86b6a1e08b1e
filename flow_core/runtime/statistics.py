"""`ExecutorStatistics`: what an executor counted, as one immutable record.

Lives here: the record. Does not live here: counting (``core/``, in atomics).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ExecutorStatistics"]


@dataclass(frozen=True, slots=True)
class ExecutorStatistics:
    """What an executor counted so far, and what it does right now; a moment old when read from another thread.

    With a store: ``commits`` and the ``records`` in them, executions ``recovered`` from dead owners, ``lost`` to others
    that took this executor for dead, and ``waiting`` for callables of theirs to be registered here.
    """

    executions_started: int = 0
    executions_ended: int = 0
    executions_live: int = 0
    steps_ended: int = 0
    steps_suspended: int = 0
    steps_running: int = 0
    attempts_retried: int = 0
    late_outcomes: int = 0
    turns: int = 0
    commits: int = 0
    records: int = 0
    recovered: int = 0
    lost: int = 0
    waiting: int = 0

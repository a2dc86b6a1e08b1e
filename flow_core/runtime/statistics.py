"""`ExecutorStatistics`: what an executor counted, as one immutable record.

Lives here: the record. Does not live here: counting (``core/``, in atomics).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from flow_core.core.scheduler import Scheduler

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

    @classmethod
    def of(cls, scheduler: Scheduler, retries: int, kept: Mapping[str, int]) -> Self:
        """What a scheduler counted, attempts that were retried, and what is counted where executions are kept."""
        return cls(
            **scheduler.counters.snapshot(), executions_live=scheduler.live, steps_running=scheduler.running,
            attempts_retried=retries, turns=scheduler.turns.count, **kept,
        )  # fmt: skip

"""Commits as rows for PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from flow_core.model.records import (
    NUMBERS,
    ErrorRecord,
    ExecutionEnded,
    ExecutionStarted,
    Paused,
    Record,
    Resumed,
    StepEnded,
    encode,
    encode_error,
)
from flow_core.model.status import Status

__all__ = ["PARAMETERS", "PostgresRows"]

#: How many parameters `PostgresRows.parameters` gives.
PARAMETERS: Final = 34
_RUNNING: Final = int(Status.RUNNING)


class PostgresRows:
    """The rows of one commit, by table. An execution that it starts is known as -1, -2, ... until it has a key."""

    def __init__(self, epoch: int, commit_id: int | None) -> None:
        self._epoch = epoch
        self.commit_id = commit_id
        self.starts: list[ExecutionStarted] = []
        self.ended: dict[int, str] = {}
        self._fresh: dict[str, int] = {}
        self._written: set[int] = set()  # keys of the executions written to
        self._outcomes: list[tuple[Any, ...]] = []
        self._keys: list[int] = []
        self._nths: list[int] = []
        self._events: list[tuple[int, int, int, bytes]] = []
        self._changes: dict[int, tuple[int, float | None, bool]] = {}

    def add(self, records: Sequence[Record], keys: Mapping[str, int]) -> bool:
        """Take records in, given the keys of executions under way; False when they have to be judged first."""
        fresh, written, ended = self._fresh, self._written, self.ended
        add_outcome, add_key, add_nth = self._outcomes.append, self._keys.append, self._nths.append
        for nth, record in enumerate(records, 1):
            id_ = record[0]
            key = keys.get(id_) or fresh.get(id_)
            if type(record) is ExecutionStarted:
                if key is not None:
                    return False
                self.starts.append(record)
                fresh[id_] = -len(self.starts)
                continue
            if key is None or key in ended:
                return False
            written.add(key)
            if type(record) is StepEnded:
                add_outcome(record)
                add_key(key)
                add_nth(nth)
            else:
                self._event(nth, key, record)
        return True

    def _event(self, nth: int, key: int, record: Record) -> None:
        self._events.append((nth, key, NUMBERS[type(record)], encode(record)))
        resumed = key in self._changes and self._changes[key][2]
        if isinstance(record, ExecutionEnded):
            self.ended[key] = record.execution
            self._changes[key] = (int(record.status), record.time_utc, resumed)
        elif isinstance(record, Paused):
            self._changes[key] = (int(Status.PAUSED), None, resumed)
        elif isinstance(record, Resumed):
            self._changes[key] = (_RUNNING, None, True)

    def parameters(self, crowded: bool) -> list[Any]:
        """Everything for ``flow_core.write``. ``crowded``: the oldest receipts of the epoch can go."""
        epoch = [self._epoch]
        ids, flows, revisions, requests, options, parents, begun = columns(self.starts, 7)
        live = [key for key in self._written if key > 0]
        receipt = ([], []) if self.commit_id is None else (epoch, [self.commit_id])
        changes = [(key, *change) for key, change in self._changes.items()]
        return [
            epoch, *receipt, epoch if crowded else [],
            ids, flows, revisions, requests, options, parents, begun, epoch * len(self.starts), _RUNNING,
            live, epoch * len(live),
            self._nths, self._keys, *self._outcome_columns(),
            *columns(self._events, 4), *columns(changes, 4),
        ]  # fmt: skip

    def _outcome_columns(self) -> list[Any]:
        """The columns of the outcomes but the execution's; None for what none of them has, which is cheap."""
        _, steps, attempts, statuses, outputs, errors, recovered, json, started, ended = columns(self._outcomes, 10)
        return [
            steps,
            attempts,
            statuses,
            outputs,
            [*map(error_of, errors)] if any(errors) else None,
            recovered if any(recovered) else None,
            json if any(json) else None,
            started,
            ended,
        ]


def columns(rows: Sequence[tuple[Any, ...]], count: int) -> Sequence[Sequence[Any]]:
    """Rows turned into columns."""
    return [*zip(*rows, strict=True)] if rows else [()] * count


def error_of(error: ErrorRecord | None) -> bytes | None:
    return None if error is None else encode_error(error)

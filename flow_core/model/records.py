"""The records of an execution: one for each transition, append-only, enough to replay the execution.

What a machine decides is a `Fact`: a record of which nobody has filled in the ``execution`` yet, with the exception
itself as its ``error`` and the value itself as its ``output``. A stored record has an `ErrorRecord` and bytes there.

The encoding is one JSON array ``[version, ...]`` for each record. Only the tags listed here are ever decoded, and
nothing in a store names code. orjson is imported on first use: it costs a third of the package's import time.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any, Final, NamedTuple

from flow_core.errors import StoreCorrupt
from flow_core.model.status import Status

__all__ = [
    "AttemptFailed", "Compensated", "Ending", "Epoch", "ErrorRecord", "ExecutionEnded", "ExecutionInfo",
    "ExecutionStarted", "Fact", "Page", "Paused", "Record", "Resumed", "StepEnded", "StepStarted", "decode", "encode",
    "status_after", "to_json",
]  # fmt: skip

VERSION: Final = 1


class ErrorRecord(NamedTuple):
    """What is kept of an error: its stable code, its text, and the name of its class. Never turned into a class."""

    code: str
    message: str
    type: str


class ExecutionStarted(NamedTuple):
    """An execution was accepted.

    ``request``: its input; ``options``: JSON of everything else that was asked for; ``parent``: the execution that
    started it; ``time_utc``: UTC seconds, like all times here.
    """

    execution: str
    flow: str
    revision: int
    request: bytes
    options: bytes = b"{}"
    parent: str | None = None
    time_utc: float = 0.0


class StepStarted(NamedTuple):
    """An attempt of an at-most-once step is about to begin, or the first one of a step with a total_timeout has."""

    execution: str
    step: str
    attempt: int = 1
    time_utc: float = 0.0


class StepEnded(NamedTuple):
    """The one outcome of a step. ``output``: bytes, or with ``json`` the JSON of a value; None when there is none.

    ``started_utc`` and ``time_utc``: when its last attempt began (0: not known) and ended.
    """

    execution: str
    step: str
    attempt: int
    status: int
    output: Any = None
    error: Any = None
    recovered: bool = False
    json: bool = False
    started_utc: float = 0.0
    time_utc: float = 0.0


class AttemptFailed(NamedTuple):
    """An attempt failed, and the step goes on: at ``due_utc`` with another attempt; None: with its fallback."""

    execution: str
    step: str
    attempt: int
    due_utc: float | None
    error: Any = None
    started_utc: float = 0.0
    time_utc: float = 0.0


class Paused(NamedTuple):
    """No new step starts from here on, and timers stand still."""

    execution: str
    reason: str = ""
    time_utc: float = 0.0


class Resumed(NamedTuple):
    """The pause is over. What crashed before is forgotten: ``recoveries`` count from 0 again."""

    execution: str
    reason: str = ""
    time_utc: float = 0.0


class Ending(NamedTuple):
    """It was decided from outside how the execution ends (abort, its time is over); what runs is cancelled first.

    ``rollback``: whether the compensations of what succeeded run before the end.
    """

    execution: str
    status: int
    rollback: bool
    error: Any = None
    time_utc: float = 0.0


class Compensated(NamedTuple):
    """The compensation of a step has run; ``error`` when it failed."""

    execution: str
    step: str
    error: Any = None
    time_utc: float = 0.0


class ExecutionEnded(NamedTuple):
    """The one outcome of an execution. ``time_utc``: UTC seconds, what retention by age counts from."""

    execution: str
    status: int
    error: Any = None
    time_utc: float = 0.0


Record = (
    ExecutionStarted
    | StepStarted
    | StepEnded
    | AttemptFailed
    | Paused
    | Resumed
    | Ending
    | Compensated
    | ExecutionEnded
)
#: What a machine decides, and takes up again when an execution goes on from its records.
Fact = StepEnded | AttemptFailed | Paused | Resumed | Ending | Compensated
KINDS: Final[dict[int, type[Any]]] = {
    1: ExecutionStarted, 2: StepStarted, 3: StepEnded, 4: AttemptFailed, 5: Paused, 6: Resumed, 7: Compensated,
    8: ExecutionEnded, 9: Ending,
}  # fmt: skip
NUMBERS: Final = {cls: number for number, cls in KINDS.items()}


def status_after(record: Record) -> Status | None:
    """The status of an execution from this record on; None: what it was.

    >>> status_after(Paused("order-1"))
    <Status.PAUSED: 4>
    """
    kind = type(record)
    if kind is ExecutionStarted or kind is Resumed:
        return Status.RUNNING
    if kind is Paused:
        return Status.PAUSED
    return Status(record.status) if isinstance(record, ExecutionEnded) else None


class Epoch(NamedTuple):
    """The right of one executor to write: a fencing number that only grows, and seconds that a heartbeat buys."""

    number: int
    executor: str
    lease: float


class ExecutionInfo(NamedTuple):
    """One line about an execution. ``recoveries``: take-overs from a dead owner since the last outcome of a step."""

    execution: str
    flow: str
    revision: int
    status: Status
    parent: str | None
    time_utc: float
    ended_utc: float | None
    epoch: int
    recoveries: int


class Page(NamedTuple):
    """Some executions, newest first, and the ``cursor`` that continues (None: these were the last)."""

    items: list[ExecutionInfo]
    cursor: str | None


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, ErrorRecord):
        return [value.code, value.message, value.type]
    return value


def encode(record: Record) -> bytes:
    """Everything of a record but its execution, as versioned JSON."""
    import orjson

    return orjson.dumps([VERSION, *map(_plain, record[1:])])


def encode_error(error: ErrorRecord) -> bytes:
    """An error as versioned JSON."""
    import orjson

    return orjson.dumps([VERSION, error.code, error.message, error.type])


def decode_error(body: bytes | None) -> ErrorRecord | None:
    """The reverse of `encode_error`; None stays None. Raises `StoreCorrupt`."""
    return None if body is None else ErrorRecord(*_values(body, 3))


def decode(kind: int, execution: str, body: bytes) -> Record:
    """The reverse of `encode`. Raises `StoreCorrupt` for an unknown kind or version, and for a wrong shape."""
    cls = KINDS.get(kind)
    if cls is None:
        raise StoreCorrupt(f"record of unknown kind {kind}", execution=execution)
    names = cls._fields[1:]
    values = dict(zip(names, _values(body, len(names)), strict=True))
    try:
        if values.get("error") is not None:
            values["error"] = ErrorRecord(*values["error"])
        for name in ("request", "options", "output"):
            if values.get(name) is not None:
                values[name] = b64decode(values[name], validate=True)
    except (TypeError, ValueError) as error:
        raise StoreCorrupt(f"damaged {cls.__name__}: {error}", execution=execution) from error
    made: Record = cls(execution, **values)
    return made


def _values(body: bytes, count: int) -> list[Any]:
    import orjson

    values: list[Any]
    try:
        version, *values = orjson.loads(body)
    except (TypeError, ValueError) as error:
        raise StoreCorrupt(f"a record can't be read: {error}") from error
    if version != VERSION or len(values) != count:
        raise StoreCorrupt(f"a record has version {version!r:.20} and {len(values)} fields, not {VERSION} and {count}")
    return values


def to_json(record: Record) -> dict[str, Any]:
    """A record for people and other programs: its kind and fields, bytes as base64."""
    plain = {name: _plain(value) for name, value in record._asdict().items()}
    error = getattr(record, "error", None)
    return {"kind": type(record).__name__, **plain, **({"error": error._asdict()} if error else {})}

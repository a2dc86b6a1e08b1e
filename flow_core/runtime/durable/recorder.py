"""`Scribe`: what happened to an execution, in the words of ``flow_core.model.records``.

Lives here: ids, UTC times and encoded values of records, and the options of an execution as JSON. Does not live here:
writing them (``runtime/journal.py``), reading them back into an execution (``engine/replay.py``).
"""

from __future__ import annotations

import dataclasses
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from flow_core.core.stepper import Stepper
from flow_core.engine import events as e
from flow_core.engine.failures import text_of
from flow_core.errors import FlowError, PayloadError, StoreCorrupt
from flow_core.model.options import DEFAULT_EXECUTE_OPTIONS, ExecuteOptions, Retry
from flow_core.model.payload import decode_outcome, encode_outcome
from flow_core.model.records import (
    AttemptFailed,
    Compensated,
    Ending,
    ErrorRecord,
    ExecutionEnded,
    ExecutionStarted,
    Paused,
    Record,
    Resumed,
    StepEnded,
    StepStarted,
)
from flow_core.model.status import Status

if TYPE_CHECKING:
    from flow_core.runtime.execution import Execution

__all__ = ["Scribe", "error_record", "read_options"]

SUCCESS: Final = int(Status.SUCCESS)
#: Longest text of an error that is kept, characters.
MAX_TEXT: Final = 65_536
#: Fields of `ExecuteOptions` that are kept as they are.
PLAIN: Final = ("step", "output", "timeout", "concurrency", "priority", "rollback")


def error_record(error: BaseException | None) -> ErrorRecord | None:
    """What is kept of an error."""
    if error is None:
        return None
    code = error.code if isinstance(error, FlowError) else "error"  # a code of others may be anything
    return ErrorRecord(code, storable(text_of(error)), storable(type(error).__qualname__))


def storable(text: str) -> str:
    """A text that every database can hold: in UTF-8, without a NUL, not longer than `MAX_TEXT`."""
    text = text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "..."
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


class Scribe:
    """Makes the records of one executor's executions.

    Args:
        ahead: UTC seconds minus loop seconds. Set it anew now and then: clocks drift.
    """

    def __init__(self, ahead: float) -> None:
        self.ahead = ahead

    def started(self, run: Execution, steps: bytes | None) -> ExecutionStarted:
        """An execution was accepted. ``steps``: encoded, of one without a registered flow.

        Raises:
            PayloadError: its request, inputs or context can't be written.
        """
        request, json = encode_outcome(run.request, f"request of flow {run.flow!r}")
        options = write_options(run.options, json, Stepper(run).depth, steps)
        parent = None if run.parent is None else run.parent.id
        at = Stepper(run).span[0] + self.ahead
        return ExecutionStarted(run.id, run.flow, run.revision, request, options, parent, at)

    def announced(self, run: Execution, step: int, now: float) -> StepStarted:
        """A step is about to start, or has."""
        return StepStarted(run.id, run.plan.items[step].id, Stepper(run).attempt(step), now + self.ahead)

    def skipped(self, run: Execution, step: int, now: float) -> StepEnded:
        """A condition said no."""
        return self._ended(run, step, Status.SKIPPED, None, now)

    def ended(self, run: Execution, status: Status, error: BaseException | None, now: float) -> ExecutionEnded:
        """The execution is over."""
        return ExecutionEnded(run.id, int(status), error_record(error), now + self.ahead)

    def recalled(self, run: Execution, step: int, value: Any) -> StepEnded:
        """A step's output is taken over from another execution. Raises `PayloadError`."""
        output, json = encode_outcome(value)
        at = Stepper(run).span[0] + self.ahead
        return StepEnded(run.id, run.plan.items[step].id, 1, SUCCESS, output, None, False, json, at, at)

    def note(self, run: Execution, note: e.Note, now: float) -> Record:
        """The record of what a machine decided."""
        at, items = now + self.ahead, run.plan.items
        match note:
            case e.NoteAttempt(step, attempt, delay, error):
                due = None if delay is None else at + delay
                began = self._utc(Stepper(run).times(step)[0], now)
                return AttemptFailed(run.id, items[step].id, attempt, due, error_record(error), began, at)
            case e.NoteStep(step, status, value):
                return self._ended(run, step, status, value, now)
            case e.NotePause(True, reason):
                return Paused(run.id, storable(reason), at)
            case e.NotePause(_, reason):
                return Resumed(run.id, reason, at)
            case e.NoteEnding(status, rollback, error):
                return Ending(run.id, int(status), rollback, error_record(error), at)
            case e.NoteCompensation(step, failed):
                return Compensated(run.id, items[step].id, error_record(failed), at)

    def _ended(self, run: Execution, step: int, status: Status, value: Any, now: float) -> StepEnded:
        name, attempt = run.plan.items[step].id, Stepper(run).attempt(step)
        began = self._utc(Stepper(run).times(step)[0], now)
        if status is Status.SUCCESS:  # by its fallback; whoever fed the machine has tried that it can be written
            output, json = encode_outcome(value)
            return StepEnded(run.id, name, attempt, SUCCESS, output, None, True, json, began, now + self.ahead)
        error = error_record(value)
        return StepEnded(run.id, name, attempt, int(status), None, error, False, False, began, now + self.ahead)

    def _utc(self, at: float | None, now: float) -> float:
        return (now if at is None else at) + self.ahead


# --- options --------------------------------------------------------------------------------------------------------


def write_options(options: ExecuteOptions | None, json: bool, depth: int, steps: bytes | None) -> bytes:
    """What was asked for beside the request, as JSON; absent fields have their defaults.

    Args:
        json: whether the request was a value.
        depth: how deep it is nested.
        steps: encoded steps of an execution without a registered flow.

    Raises:
        PayloadError: ``context`` or ``inputs`` can't be written.
    """
    if options is DEFAULT_EXECUTE_OPTIONS and not depth and steps is None:
        return b'{"json":true}' if json else b"{}"
    import orjson

    kept: dict[str, Any] = {"json": True} if json else {}
    if depth:
        kept["depth"] = depth
    if steps is not None:
        kept["steps"] = b64encode(steps).decode()
    if options is not None:
        given = ((name, getattr(options, name)) for name in PLAIN)
        kept |= {name: value for name, value in given if value != getattr(DEFAULT_EXECUTE_OPTIONS, name)}
        if options.retries is not None:
            retries = options.retries
            kept["retries"] = dataclasses.asdict(retries) if isinstance(retries, Retry) else retries
        if options.inputs:
            kept["inputs"] = {name: _pack(value, f"input {name!r}") for name, value in options.inputs.items()}
        if options.context:
            kept["context"] = dict(options.context)
    try:
        return orjson.dumps(kept)
    except TypeError as error:
        raise PayloadError(
            f"context= of a durable execution can't be written: {error}", fix="pass values that JSON knows"
        ) from error


def read_options(data: bytes) -> tuple[ExecuteOptions, bool, int, bytes | None]:
    """The reverse of `write_options`. Raises `StoreCorrupt`."""
    import orjson

    try:
        kept = orjson.loads(data)
        fields = {name: kept[name] for name in PLAIN if name in kept}
        retries = kept.get("retries")
        if isinstance(retries, Mapping):
            retries = Retry(**retries)
        inputs = {name: _unpack(value) for name, value in kept.get("inputs", {}).items()}
        options = ExecuteOptions(**fields, retries=retries, inputs=inputs, context=kept.get("context", {}))
        steps = b64decode(kept["steps"]) if "steps" in kept else None
        return options, bool(kept.get("json")), int(kept.get("depth", 0)), steps
    except (TypeError, ValueError, KeyError) as error:
        raise StoreCorrupt(f"the options of an execution can't be read: {error}") from error


def _pack(value: Any, what: str) -> list[Any]:
    data, json = encode_outcome(value, what)
    return [b64encode(data).decode(), json]


def _unpack(packed: list[Any]) -> Any:
    return decode_outcome(b64decode(packed[0]), bool(packed[1]))

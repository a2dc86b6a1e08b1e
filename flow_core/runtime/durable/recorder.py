"""`Recorder`: makes the records of executions that a store keeps."""

from __future__ import annotations

import dataclasses
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from flow_core.core.stepper import Stepper
from flow_core.engine.failures import text_of
from flow_core.errors import FlowError, PayloadError, StoreCorrupt
from flow_core.model.options import DEFAULT_EXECUTE_OPTIONS, ExecuteOptions, Retry
from flow_core.model.payload import decode_outcome, encode_outcome
from flow_core.model.records import (
    ErrorRecord,
    ExecutionEnded,
    ExecutionStarted,
    Fact,
    Paused,
    Record,
    StepEnded,
    StepStarted,
)
from flow_core.model.status import Status

if TYPE_CHECKING:
    from flow_core.runtime.execution import Execution

__all__ = ["Recorder", "error_record", "read_options"]

SUCCESS: Final = int(Status.SUCCESS)
#: Bytes that are shorter are kept as they are, without a further look.
SHORT: Final = 65_536
#: Makes the records of the common way: the class itself would be called through a function of Python.
new: Final = tuple.__new__
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


class Recorder:
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
        stepper, plan = Stepper(run), run.plan
        request, json = run.request, False
        if type(request) is not bytes or len(request) >= SHORT:
            request, json = encode_outcome(request, f"request of flow {plan.flow!r}")
        options = write_options(run.options, json, stepper.depth, steps)
        parent = None if run.parent is None else run.parent.id
        at = stepper.span[0] + self.ahead
        return new(ExecutionStarted, (run.id, plan.flow, plan.revision, request, options, parent, at))

    def announced(self, run: Execution, step: int, now: float) -> StepStarted:
        """A step is about to start, or has."""
        return StepStarted(run.id, run.plan.items[step].id, Stepper(run).attempt(step), now + self.ahead)

    def skipped(self, run: Execution, step: int, now: float) -> StepEnded:
        """A condition said no."""
        at = now + self.ahead
        return StepEnded(run.id, run.plan.items[step].id, 1, int(Status.SKIPPED), started_utc=at, time_utc=at)

    def ended(self, run: Execution, status: Status, error: BaseException | None, now: float) -> ExecutionEnded:
        """The execution is over."""
        return ExecutionEnded(run.id, int(status), error_record(error), now + self.ahead)

    def recalled(self, run: Execution, step: int, value: Any) -> StepEnded:
        """A step's output is taken over from another execution. Raises `PayloadError`."""
        output, json = encode_outcome(value)
        at = Stepper(run).span[0] + self.ahead
        return StepEnded(run.id, run.plan.items[step].id, 1, SUCCESS, output, None, False, json, at, at)

    def stored(self, run: Execution, fact: Fact) -> Record:
        """What is written of a fact: errors and values become what a store can hold."""
        changed: dict[str, Any] = {"execution": run.id}
        error = getattr(fact, "error", None)
        if error is not None:
            changed["error"] = error_record(error)
        if isinstance(fact, StepEnded) and fact.recovered:  # whoever fed the machine has tried that it can be written
            changed["output"], changed["json"] = encode_outcome(fact.output)
        if isinstance(fact, Paused):
            changed["reason"] = storable(fact.reason)
        record: Record = fact._replace(**changed)
        return record


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

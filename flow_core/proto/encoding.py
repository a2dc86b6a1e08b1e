"""Steps and operations as protobuf messages, and back, losing nothing.

What can't be written raises `EncodeError`; what can't be understood raises `DecodeError` with the path of the field.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

from google.protobuf.message import DecodeError as ProtobufError

from flow_core.errors import DecodeError, EncodeError, RegistrationError
from flow_core.model.operation import Operation
from flow_core.model.options import OperationOptions, Retry
from flow_core.model.step import ALL, Fallback, Step
from flow_core.proto import flow_pb2 as pb
from flow_core.proto.exact import exact_dumps, exact_loads
from flow_core.proto.wire import first_fault

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = [
    "FORMAT", "OperationDecoder", "decode_operation", "decode_step", "decode_steps", "encode_operation", "encode_step",
    "encode_steps",
]  # fmt: skip

#: ``Step.format`` of what is written here. The original wrote none, which reads as 0.
FORMAT: Final = 1
#: Fields from here up are not the original's.
FIRST_OWN_FIELD: Final = 16
#: How the original wrote `ALL`.
ORIGINAL_ALL: Final = "all"

_JITTER: Final = {"full": pb.JITTER_FULL, "none": pb.JITTER_NONE}
_JOIN: Final = {"all": pb.JOIN_ALL, "any": pb.JOIN_ANY, "done": pb.JOIN_DONE}
_DELIVERY: Final = {"at_least_once": pb.DELIVERY_AT_LEAST_ONCE, "at_most_once": pb.DELIVERY_AT_MOST_ONCE}
_THEN: Final = {"continue": pb.FALLBACK_THEN_CONTINUE, "fail": pb.FALLBACK_THEN_FAIL}

M = TypeVar("M", bound="Message")


class OperationDecoder(Protocol):
    """The part of an `OperationRegistry` that decoding needs."""

    def decode(self, message: pb.Operation) -> Operation:
        """Make the operation that ``message`` describes."""


# --- operations -----------------------------------------------------------------------------------------------------


def encode_operation(operation: Operation) -> pb.Operation:
    """The wire form of ``operation``: name, type, its fields and its options.

    Raises:
        EncodeError: a field is no string, a context value is not exactly expressible as JSON, or a number is too large.
    """
    where = f"operation {operation.name!r:.80}"
    message = pb.Operation()
    _write(message, "name", operation.name, where)
    _write(message, "type", getattr(operation, "type", None), where)
    for key, value in operation.fields().items():
        try:
            message.options[key] = value
        except (TypeError, ValueError) as error:
            raise EncodeError(f"{where}, field {key!r:.80}: {error}") from error
    options = operation.options
    if options.timeout is not None:
        _write(message, "timeout", options.timeout, where)
    if options.allow_fail is not None:
        _write(message, "allow_fail", options.allow_fail, where)
    _write_retries(message, options.retries, where)
    for key, value in options.context.items():
        try:
            message.context[key] = exact_dumps(value)
        except (TypeError, ValueError) as error:
            raise EncodeError(
                f"{where}, context {key!r:.80}: {error}", fix="keep to None, bool, int, float, str, list and dict"
            ) from error
    return message


def decode_operation(message: pb.Operation, kind: type[Operation]) -> Operation:
    """The operation of the class ``kind`` that ``message`` describes; `OperationRegistry.decode` finds the class.

    Raises:
        DecodeError: the type is another operation's, a key of ``options`` is unknown, or a value is impossible.
    """
    where = f"Operation {message.name!r:.80}"
    if message.type != kind.type:
        raise DecodeError(f"{where}: type is {message.type!r:.80}, not {kind.type!r}")
    operation = kind.new()
    given = dict(message.options)
    operation._name = message.name
    try:
        operation._options = _read_options(message)
        operation.load(given)
    except DecodeError as error:
        raise _at(where, error) from error
    except (RegistrationError, LookupError, TypeError, ValueError) as error:
        raise DecodeError(f"{where}: {_text(error)}") from error
    # An operation shows in fields() what it understood. A key that is not there would be lost on the next encode.
    unknown = sorted(given.keys() - operation.fields().keys())
    if unknown:
        raise DecodeError(
            f"{where}: {operation.type} has no options {', '.join(map(repr, unknown))}"[:400],
            fix=f"it knows {', '.join(map(repr, sorted(operation.fields()))) or 'none'}",
        )
    return operation


def _read_options(message: pb.Operation) -> OperationOptions:
    context = {}
    for key in sorted(message.context):
        try:
            context[key] = exact_loads(message.context[key])
        except ValueError as error:
            raise DecodeError(f"context[{key!r:.80}] is not JSON: {error}") from error
    return OperationOptions(
        timeout=message.timeout if message.HasField("timeout") else None,
        retries=_read_retries(message),
        allow_fail=message.allow_fail if message.HasField("allow_fail") else None,
        **({"context": context} if context else {}),
    )


# --- retry ----------------------------------------------------------------------------------------------------------


def _write_retries(message: pb.Operation | pb.Step, value: int | Retry | None, where: str) -> None:
    """Write the oneof ``retries``, which `Operation` and `Step` share by name."""
    if isinstance(value, Retry):
        retry = message.retry
        _write(retry, "retries", value.retries, where)
        retry.initial, retry.factor, retry.max = value.initial, value.factor, value.max
        retry.jitter = _JITTER[value.jitter]
        for target, names in ((retry.retry_on, value.retry_on), (retry.give_up_on, value.give_up_on)):
            target.SetInParent()  # an empty list is not an absent one
            try:
                target.names.extend(names)
            except ValueError as error:
                raise EncodeError(f"{where}, names of exceptions: {error}") from error
    elif value is not None:
        _write(message, "retry_count", value, where)


def _read_retries(message: pb.Operation | pb.Step) -> int | Retry | None:
    which = message.WhichOneof("retries")
    if which is None:
        return None
    if which == "retry_count":
        return message.retry_count
    retry = message.retry
    given: dict[str, Any] = {
        name: getattr(retry, name) for name in ("retries", "initial", "factor", "max") if retry.HasField(name)
    }
    for name in ("retry_on", "give_up_on"):
        if retry.HasField(name):
            given[name] = tuple(getattr(retry, name).names)
    return Retry(jitter=_choice(_JITTER, retry.jitter, "Retry.jitter"), **given)


# --- steps ----------------------------------------------------------------------------------------------------------


def encode_step(step: Step) -> pb.Step:
    """The wire form of ``step``; `decode_step` gives an equal one back.

    A `LocalOperation` travels by name only: the receiver binds the name to its own callable.

    Raises:
        EncodeError: part of the step can't be written; names the step and the part.
    """
    where = f"step {step.id!r}"
    message = pb.Step(name=step.id, after=step.after, before=step.before, format=FORMAT)
    message.operation.CopyFrom(_operation_of(step.operation, where))
    if isinstance(step.input, str):
        message.input = step.input
    elif step.input is not None:
        for parameter, name in step.input.items():
            try:
                message.input_mapping[parameter] = name
            except ValueError as error:
                raise EncodeError(f"{where}, input, parameter {parameter!r:.80}: {error}") from error
    if step.output is not None:
        message.output = step.output
    if not step.plain:
        _write_details(message, step, where)
    return message


def _write_details(message: pb.Step, step: Step, where: str) -> None:
    """Everything that a plain step does not have."""
    _write_retries(message, step.retry, where)
    for name in ("timeout", "total_timeout", "allow_fail", "when"):
        value = getattr(step, name)
        if value is not None:
            _write(message, name, value, where)
    if step.fallback is not None:
        message.fallback.CopyFrom(_operation_of(step.fallback.operation, f"{where}, fallback"))
        message.fallback_then = _THEN[step.fallback.then]
    if step.compensation is not None:
        message.compensation.CopyFrom(_operation_of(step.compensation, f"{where}, compensation"))
    message.join = _JOIN[step.join]
    message.manual = step.manual
    message.delivery = _DELIVERY[step.delivery]


def _operation_of(operation: Operation, where: str) -> pb.Operation:
    try:
        return encode_operation(operation)
    except EncodeError as error:
        raise EncodeError(f"{where}: {error.message}", fix=error.fix) from error


def decode_step(source: pb.Step | bytes, registry: OperationDecoder) -> Step:
    """The step that ``source`` describes, be it written here or by the original.

    Raises:
        DecodeError: naming message, step and field.
        UnknownOperation: an operation type that ``registry`` does not know.
    """
    return _read_step(_parse(pb.Step, source), registry, "Step")


def encode_steps(steps: Iterable[Step]) -> pb.Steps:
    """All ``steps`` as one message, in their order. Raises `EncodeError`."""
    return pb.Steps(steps=[encode_step(step) for step in steps])


def decode_steps(source: pb.Steps | bytes, registry: OperationDecoder) -> list[Step]:
    """The steps of one `Steps` message, in its order. Raises like `decode_step`, with the index in the message."""
    message = _parse(pb.Steps, source)
    return [_read_step(step, registry, f"Steps.steps[{index}]") for index, step in enumerate(message.steps)]


def encode_change(steps: Iterable[Step], **what: str | float) -> bytes:
    """What one revision of a flow changed; ``what`` are the other fields of `Change` in the schema.

    Raises `EncodeError`.
    """
    change = pb.Change(created=[encode_step(step) for step in steps], **what)  # type: ignore[arg-type]
    return change.SerializeToString(deterministic=True)


def decode_change(source: bytes, registry: OperationDecoder) -> tuple[list[Step], pb.Change]:
    """(created steps, the message) of a change. Raises like `decode_step`, with the index in the message."""
    message = _parse(pb.Change, source)
    steps = [_read_step(step, registry, f"Change.created[{index}]") for index, step in enumerate(message.created)]
    return steps, message


def _read_step(message: pb.Step, registry: OperationDecoder, place: str) -> Step:
    if not message.name:
        raise DecodeError(f"{place}: the field name is empty or missing")
    where = f"{place} {message.name!r:.80}"
    try:
        _check_shape(message)
        arguments = _read_details(message, registry)
        operation = _read_operation(message, "operation", registry)
        return Step(message.name, cast("Operation", operation), **arguments)
    except DecodeError as error:
        raise _at(where, error) from error
    except RegistrationError as error:
        raise DecodeError(f"{where}: {error.message}", fix=error.fix) from error


def _check_shape(message: pb.Step) -> None:
    """What the schema allows and a step does not."""
    if message.format > FORMAT:
        raise DecodeError(
            f"field format: written in format {message.format}, the newest known is {FORMAT}", fix="update flow-core"
        )
    if not message.HasField("operation"):
        raise DecodeError("field operation is missing")
    if not message.format:
        # `format` is written last: a message of ours that was cut between two fields lacks it.
        ours = [field.name for field, _ in message.ListFields() if field.number >= FIRST_OWN_FIELD]
        if ours:
            raise DecodeError(
                f"field format is missing, and {', '.join(ours)} is set: the message was cut short",
                fix=f"a client must set format = {FORMAT}",
            )
    if message.input and message.input_mapping:
        raise DecodeError("fields input and input_mapping are both set")
    if message.fallback_then and not message.HasField("fallback"):
        raise DecodeError("field fallback_then is set, and fallback is missing")


def _read_details(message: pb.Step, registry: OperationDecoder) -> dict[str, Any]:
    """The arguments of `Step` beside id and operation."""
    fallback = _read_operation(message, "fallback", registry)
    then = _choice(_THEN, message.fallback_then, "fallback_then")
    return {
        "after": _read_ids(message, "after"), "before": _read_ids(message, "before"),
        "input": message.input or {key: message.input_mapping[key] for key in sorted(message.input_mapping)} or None,
        "output": message.output or None, "retry": _read_retries(message),
        "timeout": message.timeout if message.HasField("timeout") else None,
        "total_timeout": message.total_timeout if message.HasField("total_timeout") else None,
        "fallback": None if fallback is None else Fallback(fallback, then),
        "compensation": _read_operation(message, "compensation", registry),
        "allow_fail": message.allow_fail if message.HasField("allow_fail") else None, "when": message.when or None,
        "join": _choice(_JOIN, message.join, "join"), "manual": message.manual,
        "delivery": _choice(_DELIVERY, message.delivery, "delivery"),
    }  # fmt: skip


def _read_ids(message: pb.Step, field: str) -> list[str]:
    names = list(getattr(message, field))
    if not message.format:
        names = [ALL if name == ORIGINAL_ALL else name for name in names]
    return names


def _read_operation(message: pb.Step, field: str, registry: OperationDecoder) -> Operation | None:
    if not message.HasField(field):
        return None
    try:
        return registry.decode(getattr(message, field))
    except DecodeError as error:
        raise _at(f"field {field}", error) from error


# --- shared ---------------------------------------------------------------------------------------------------------


def _parse(kind: type[M], source: M | bytes) -> M:
    """``source`` as a message of ``kind``, without a field that this version would drop silently."""
    name = kind.DESCRIPTOR.name
    if isinstance(source, kind):
        data = source.SerializeToString()
    elif isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
    else:
        raise DecodeError(f"{name}: bytes or a {name} message are needed, not {type(source).__name__}")
    message: M = kind()
    try:
        message.ParseFromString(data)
    except (ProtobufError, ValueError) as error:  # ValueError: text that is not UTF-8, in protobuf's Python build
        raise DecodeError(first_fault(data, kind.DESCRIPTOR) or f"{name}: {error}") from error
    message.DiscardUnknownFields()
    if message.ByteSize() != len(data):  # something was unknown, or is written in another way than protobuf's own
        fault = first_fault(data, kind.DESCRIPTOR)
        if fault is not None:
            raise DecodeError(fault, fix="if a newer flow-core wrote it, update this one")
    return message


def _at(where: str, error: DecodeError) -> DecodeError:
    """The same error with ``where`` in front of its message."""
    return type(error)(f"{where}: {error.message}", fix=error.fix)


def _text(error: Exception) -> str:
    return error.message if isinstance(error, RegistrationError) else f"{type(error).__name__}: {error}"


def _write(message: Any, field: str, value: Any, where: str) -> None:
    try:
        setattr(message, field, value)
    except (TypeError, ValueError) as error:
        raise EncodeError(f"{where}, {field}: {error}") from error


def _choice(choices: dict[str, Any], number: int, field: str) -> Any:
    """The name of an enum's value. 0 is "not set", which means the first choice."""
    if number == 0:
        return next(iter(choices))
    for name, value in choices.items():
        if value == number:
            return name
    raise DecodeError(f"field {field}: {number} is not one of its values", fix="if a newer flow-core wrote it, update")

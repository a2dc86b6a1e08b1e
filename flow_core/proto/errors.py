"""Errors over the wire: the gRPC status of each, the `ErrorInfo` that carries it, and the same error at the other end.

A class never travels, only its stable code; what is not an error of flow-core arrives as `RecordedError`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from flow_core import errors
from flow_core.errors import FlowError, RecordedError
from flow_core.proto import flow_pb2 as pb

__all__ = ["STATUSES", "error_of", "info_of", "status_of", "trailers_of"]

#: Code of an error -> name of its gRPC status. INTERNAL is a bug of ours and nothing that a caller can cause.
STATUSES: Final[Mapping[str, str]] = MappingProxyType({
    "registration": "INVALID_ARGUMENT",
    "invalid_id": "INVALID_ARGUMENT",
    "invalid_step": "INVALID_ARGUMENT",
    "invalid_option": "INVALID_ARGUMENT",
    "duplicate_step": "ALREADY_EXISTS",
    "unknown_step": "NOT_FOUND",
    "unknown_flow": "NOT_FOUND",
    "cycle": "FAILED_PRECONDITION",
    "output_conflict": "FAILED_PRECONDITION",
    "revision_conflict": "ABORTED",
    "unresolved_steps": "FAILED_PRECONDITION",
    "limit_exceeded": "RESOURCE_EXHAUSTED",
    "encode": "INVALID_ARGUMENT",
    "decode": "INVALID_ARGUMENT",
    "unknown_operation": "INVALID_ARGUMENT",
    "duplicate_operation": "FAILED_PRECONDITION",
    "execution": "FAILED_PRECONDITION",
    "step_failed": "FAILED_PRECONDITION",
    "step_timeout": "DEADLINE_EXCEEDED",
    "execution_timeout": "DEADLINE_EXCEEDED",
    "execution_aborted": "FAILED_PRECONDITION",
    "execution_stopped": "UNAVAILABLE",
    "interrupted": "FAILED_PRECONDITION",
    "recorded": "UNKNOWN",
    "execution_conflict": "ALREADY_EXISTS",
    "unknown_execution": "NOT_FOUND",
    "illegal_move": "FAILED_PRECONDITION",
    "missing_input": "INVALID_ARGUMENT",
    "payload": "INVALID_ARGUMENT",
    "executor_stopped": "UNAVAILABLE",
    "queue_full": "RESOURCE_EXHAUSTED",
    "store": "UNAVAILABLE",
    "conflict": "ABORTED",
    "lease_lost": "UNAVAILABLE",
    "foreign_store": "FAILED_PRECONDITION",
    "store_corrupt": "DATA_LOSS",
    "schema_too_new": "FAILED_PRECONDITION",
    "store_unavailable": "UNAVAILABLE",
    "store_timeout": "UNAVAILABLE",
    "store_full": "UNAVAILABLE",
    "adapter": "UNAVAILABLE",
    "unavailable": "UNAVAILABLE",
    "no_reply": "DEADLINE_EXCEEDED",
    "rejected": "FAILED_PRECONDITION",
    "not_served": "FAILED_PRECONDITION",
    "target_refused": "FAILED_PRECONDITION",
    "auth": "PERMISSION_DENIED",
    "unauthenticated": "UNAUTHENTICATED",
    "permission_denied": "PERMISSION_DENIED",
    "quota_exceeded": "RESOURCE_EXHAUSTED",
    "permanent": "FAILED_PRECONDITION",
    "internal": "INTERNAL",
    "flow_error": "UNKNOWN",
})  # fmt: skip

#: Code -> class, of every error that has a name in ``flow_core.errors``.
CLASSES: Final[Mapping[str, type[FlowError]]] = MappingProxyType(
    {cls.code: cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, FlowError)}
)
#: Most bytes of texts in a reply, and in the trailers of a status: clients refuse headers of more than 8 KiB in all.
REPLY: Final = 16_384
TRAILER: Final = 1_000
#: Most causes that are told.
DEPTH: Final = 4
#: What an error carries anyway, and what is never taken from the wire.
OWN: Final = frozenset({"message", "fix", "args", "execution"})


def status_of(error: FlowError) -> str:
    """Name of the gRPC status of an error; a subclass of yours has that of its nearest base."""
    for cls in type(error).__mro__:
        code: str = getattr(cls, "code", "")
        if code in STATUSES and CLASSES.get(code) is cls:
            return STATUSES[code]
    return "UNKNOWN"


def info_of(error: BaseException, most: int = REPLY, depth: int = DEPTH) -> pb.ErrorInfo:
    """An error as a message of at most about ``most`` bytes."""
    if not isinstance(error, FlowError):
        name = f"{type(error).__module__}.{type(error).__qualname__}"
        return pb.ErrorInfo(code=RecordedError.code, type=_cut(name, 255), message=_cut(str(error), most))
    info = pb.ErrorInfo(
        code=error.code, message=_cut(error.message, most), fix=_cut(error.fix or "", most // 2),
        step=_cut(error.step or "", 255), type=_cut(getattr(error, "type", type(error).__name__), 255),
        fields=_fields(error, most),
    )  # fmt: skip
    if depth > 1 and error.__cause__ is not None:
        info.cause.CopyFrom(info_of(error.__cause__, most // 2, depth - 1))
    return info


def trailers_of(error: FlowError) -> tuple[tuple[str, str | bytes], ...]:
    """The trailers that go with the status of an error."""
    found: list[tuple[str, str | bytes]] = [("flow-error-code", error.code)]
    if error.fix:
        fix = " ".join(_cut(error.fix, TRAILER).split()).encode("ascii", "backslashreplace").decode()
        found.append(("flow-error-fix", "".join(one if one.isprintable() else "?" for one in fix[:TRAILER])))
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        found.append(("grpc-retry-pushback-ms", str(int(retry_after * 1000))))
    found.append(("flow-error-bin", info_of(error, TRAILER, 1).SerializeToString()))
    return tuple(found)


def details_of(error: FlowError) -> str:
    """The text of a status: short enough for a header, where a byte that is not ASCII takes three."""
    return _cut(error.message, TRAILER) if error.message.isascii() else _cut(error.message, TRAILER // 3)


def error_of(info: pb.ErrorInfo) -> FlowError:
    """The error that a message describes, of the class that its code names here; its cause is ``__cause__``."""
    cls = CLASSES.get(info.code, FlowError)
    error = cls.__new__(cls, info.message)
    error.args = (info.message,)
    given: dict[str, Any] = dict.fromkeys(("flow", "execution", "step", "attempt", *_extra(cls)))
    given |= {"message": info.message, "fix": info.fix or None, "step": info.step or None}
    given |= {key: value for key, value in _read_fields(info.fields).items() if key not in OWN}
    if "path" in given:
        given["path"] = tuple(given["path"] or ())
    if cls is RecordedError:
        given["type"] = info.type
    error.__dict__.update(given)
    if info.HasField("cause"):
        error.__cause__ = error_of(info.cause)
    return error


def _extra(cls: type[FlowError]) -> list[str]:
    """Names of the attributes that a class has beyond those of all errors."""
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = [p.name for p in inspect.signature(cls.__init__).parameters.values() if p.kind in kinds]
    return [name for name in found if name not in ("self", "message", "fix")]


def _fields(error: FlowError, most: int) -> bytes:
    known = ("flow", "step", "attempt", *_extra(type(error)))
    given = {name: value for name in known if (value := error.__dict__.get(name)) is not None and name != "execution"}
    while given:
        data = json.dumps(given, default=str).encode()
        if len(data) <= most:
            return data
        del given[max(given, key=lambda name: len(repr(given[name])))]
    return b""


def _read_fields(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data) if data else {}
    except (ValueError, RecursionError):
        return {}
    return {k: v for k, v in found.items() if k.isidentifier() and k[0] != "_"} if isinstance(found, dict) else {}


def _cut(text: str, most: int) -> str:
    """At most ``most`` bytes of a text, as text that any other end can read."""
    data = str(text).encode("utf-8", "backslashreplace")
    return data.decode() if len(data) <= most else data[: most - 3].decode("utf-8", "ignore") + "..."

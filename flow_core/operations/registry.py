"""`OperationRegistry`: the class behind each operation type.

There is no global registry: two flows of one process may know different operations.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, TypeVar

from flow_core.errors import DuplicateOperation, InvalidStep, UnknownOperation, did_you_mean
from flow_core.model.ids import check_id
from flow_core.model.operation import LocalOperation, Operation
from flow_core.operations.client_call import ClientCallOperation
from flow_core.operations.client_publish import ClientPublishOperation
from flow_core.operations.empty import EmptyOperation
from flow_core.operations.flow_execute import FlowExecuteOperation
from flow_core.plugins import Plugins

if TYPE_CHECKING:
    from flow_core.proto import flow_pb2 as pb

__all__ = ["ENTRY_POINTS", "OperationRegistry"]

#: Entry point group of plug-ins: the name is the operation's type, the object its class.
ENTRY_POINTS: Final = "flow_core.operations"

C = TypeVar("C", bound=type[Operation])


class OperationRegistry:
    """Finds operation classes by their type: those built in, those registered here, and those of installed plug-ins.

    A plug-in is an entry point of the group ``flow_core.operations`` whose name is the operation's type. It is imported
    when its type is first asked for, and only it: a broken plug-in hurts nobody who does not use it.

    Example::

        flow.operations.register(Shout)  # now steps with a Shout can be stored, and read again
    """

    def __init__(self) -> None:
        self._classes: dict[str, type[Operation]] = {}
        self._plugins = Plugins(
            ENTRY_POINTS, "operation of type", unknown=UnknownOperation, duplicate=DuplicateOperation
        )
        for cls in _built_in():
            self.register(cls)

    def register(self, cls: C) -> C:
        """Add an operation class under its ``type``; returns it, so that it serves as a decorator.

        Raises:
            InvalidStep: ``cls`` is no concrete subclass of `Operation`.
            InvalidId: its ``type`` is no legal id.
            DuplicateOperation: the type is taken.
        """
        kind = _check_class(cls)
        if kind in self._classes:
            holder = self._classes[kind]
            raise DuplicateOperation(
                f"operation type {kind!r} is taken by {holder.__module__}.{holder.__qualname__}",
                fix=f"give {cls.__qualname__} another type",
            )
        self._classes[kind] = cls
        return cls

    def resolve(self, kind: str) -> type[Operation]:
        """The class of the operation type ``kind``.

        Raises:
            UnknownOperation: nobody registered it, or the plug-in that offers it can't be used.
            DuplicateOperation: two plug-ins offer it.
        """
        cls = self._classes.get(kind)
        if cls is None:
            cls = self._load(kind)
            self._classes[kind] = cls
        return cls

    def decode(self, message: pb.Operation) -> Operation:
        """The operation that ``message`` describes. Raises `UnknownOperation` and `DecodeError`."""
        from flow_core.proto.encoding import decode_operation  # protobuf is loaded when first needed

        return decode_operation(message, self.resolve(message.type))

    def types(self) -> tuple[str, ...]:
        """Every type that can be resolved, sorted; plug-ins are listed without being imported."""
        return tuple(sorted(self._classes.keys() | self._plugins.names()))

    def _load(self, kind: str) -> type[Operation]:
        def check(cls: Any) -> None:
            offered = _check_class(cls)
            if offered != kind:
                raise InvalidStep(
                    f"{cls.__qualname__} brings the type {offered!r}",
                    fix="the name of the entry point must be the type of its class",
                )

        fix = did_you_mean(kind, self.types()) or "register its class, or install the plug-in that brings it"
        loaded: type[Operation] = self._plugins.load(kind, check, fix)
        return loaded


def _built_in() -> tuple[type[Operation], ...]:
    return LocalOperation, ClientCallOperation, ClientPublishOperation, FlowExecuteOperation, EmptyOperation


def _check_class(cls: Any) -> str:
    """Return the type of an operation class that can be used."""
    if not (isinstance(cls, type) and issubclass(cls, Operation)):
        raise InvalidStep(f"an operation class must be a subclass of Operation: {cls!r:.80}")
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(cls.__abstractmethods__))
        raise InvalidStep(f"operation class {cls.__qualname__} is abstract", fix=f"implement {missing}")
    return check_id(getattr(cls, "type", None), f"type of operation class {cls.__qualname__}")

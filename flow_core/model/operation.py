"""`Operation`, the thing a step does, and `LocalOperation`, the one that calls Python."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from flow_core.errors import DecodeError, InvalidStep
from flow_core.model.options import DEFAULT_OPERATION_OPTIONS, OperationOptions
from flow_core.model.payload import decode_json, encode_value

__all__ = ["LocalOperation", "Operation", "required_field"]


class Operation(ABC):
    """What a step does with its input. Subclass it for an operation of your own.

    A subclass sets `type` (its name in the registry and on the wire), implements `execute`, and `fields` / `load` for
    what it needs beyond name and options. Operations are values: equal when name, fields and options are.

    Example::

        class Shout(Operation):
            type = "shout"

            async def execute(self, ctx, data: bytes) -> bytes:
                return data.upper()

        Step("shout", Shout("hello"))
    """

    type: ClassVar[str]
    #: Whether it takes one of the executor's slots; False for operations that only wait for other executions.
    holds_slot: ClassVar[bool] = True
    __slots__ = ("_name", "_options")

    def __init__(self, name: str, options: OperationOptions | None = None) -> None:
        self._name = name
        self._options = options or DEFAULT_OPERATION_OPTIONS

    @property
    def name(self) -> str:
        """Name for people and logs, e.g. ``"inventory.reserve"``."""
        return self._name

    @property
    def options(self) -> OperationOptions:
        """Timeout, retries, allow_fail and context; a value set on the step wins over these."""
        return self._options

    def __str__(self) -> str:
        return f"{self.type}({self.name})"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.name == other.name and self.fields() == other.fields() and self.options == other.options

    def __hash__(self) -> int:
        return hash((type(self), self._name))

    @classmethod
    def new(cls) -> Operation:
        """A blank operation of this class, for `load` to fill."""
        blank = cls.__new__(cls)
        blank._name = ""
        blank._options = DEFAULT_OPERATION_OPTIONS
        return blank

    def fields(self) -> dict[str, str]:
        """What makes this operation beside its name and options, as strings (the ``options`` map of the wire)."""
        return {}

    def load(self, fields: dict[str, str]) -> None:  # noqa: B027 - most operations have no fields
        """Take over what `fields` gave. Raises `DecodeError` when one is missing or wrong."""

    @abstractmethod
    async def execute(self, ctx: Any, data: bytes) -> bytes:
        """Do it once. ``ctx`` is the `StepContext` of this attempt. Raise to fail; return the output."""


class LocalOperation(Operation):
    """Calls a Python callable with the step's input *value* and takes what it returns as the output value.

    The callable takes nothing, the value, or the context and the value, in this order; it may be a coroutine function
    (driven on the loop) or a plain function (run in the worker pool). Values stay Python objects inside the process;
    they are encoded as JSON only where bytes are needed.

    On the wire only the name travels: the process that decodes it binds the name to its own callable with
    ``flow.bind(name, function)`` — code is never imported by a stored name.

    Example::

        Step("total", lambda order: sum(order["prices"]))   # a Step wraps a callable by itself
        Step("total", LocalOperation(total, name="total"))  # with a name of your own

    Raises:
        InvalidStep: ``function`` is not callable, or asks for more than two positional arguments.
    """

    type = "local_operation"
    __slots__ = ("arity", "function", "is_async")

    def __init__(
        self, function: Callable[..., Any], *, name: str | None = None, options: OperationOptions | None = None
    ) -> None:
        if not callable(function):
            raise InvalidStep(
                f"LocalOperation needs a callable, not {type(function).__name__}: {function!r:.80}",
                fix="pass a function, or an Operation",
            )
        super().__init__(name or _name_of(function), options)
        self.function: Callable[..., Any] | None = function
        self.arity = _arity_of(function)
        self.is_async = _is_async(function)

    @classmethod
    def new(cls) -> Operation:
        blank = super().new()
        assert isinstance(blank, LocalOperation)
        blank.function, blank.arity, blank.is_async = None, 1, True
        return blank

    def bind(self, function: Callable[..., Any]) -> LocalOperation:
        """The same operation with a callable: how a decoded one becomes able to run."""
        return LocalOperation(function, name=self.name, options=self.options)

    def load(self, fields: dict[str, str]) -> None:
        if fields:
            raise DecodeError(f"local_operation {self.name!r} has unknown options {sorted(fields)}")

    async def execute(self, ctx: Any, data: bytes) -> bytes:
        """Call the function with the decoded ``data`` and encode what it returns (the engine itself skips both)."""
        function = self.function
        if function is None:
            raise InvalidStep(
                f"local operation {self.name!r} is not bound to a callable in this process",
                fix=f"call flow.bind({self.name!r}, function)",
            )
        arguments = ((), (decode_json(data),), (ctx, decode_json(data)))[self.arity]
        result = function(*arguments)
        return encode_value(await result if inspect.isawaitable(result) else result)


def _name_of(function: Callable[..., Any]) -> str:
    target: Any = inspect.unwrap(function) if hasattr(function, "__wrapped__") else function
    while hasattr(target, "func") and hasattr(target, "args"):  # functools.partial
        target = target.func
    name = getattr(target, "__qualname__", None) or type(target).__qualname__
    return str(name).replace("<locals>.", "").replace("<lambda>", "lambda")


def _is_async(function: Callable[..., Any]) -> bool:
    target: Any = function
    while hasattr(target, "func") and hasattr(target, "args"):
        target = target.func
    return inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(getattr(target, "__call__", None))  # noqa: B004


def _arity_of(function: Callable[..., Any]) -> int:
    """How many positional arguments to pass, 0 to 2. A plain Python function is read from its code object, quickly."""
    code = getattr(function, "__code__", None)
    if code is not None and not code.co_flags & inspect.CO_VARARGS and not hasattr(function, "__wrapped__"):
        bound = 1 if inspect.ismethod(function) else 0
        required = code.co_argcount - bound - len(getattr(function, "__defaults__", None) or ())
        optional = code.co_argcount - bound
        if not (code.co_kwonlyargcount and _required_keywords(function)):
            return _check_arity(function, required, optional)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a C callable that does not tell: give it the value
        return 1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    positional = [p for p in signature.parameters.values() if p.kind in kinds]
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.default is inspect.Parameter.empty:
            raise InvalidStep(f"{_name_of(function)} needs the keyword argument {parameter.name!r}; a step gets none")
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            return min(max(len(positional), 1), 2)
    required = sum(p.default is inspect.Parameter.empty for p in positional)
    return _check_arity(function, required, len(positional))


def _required_keywords(function: Any) -> bool:
    return bool(function.__code__.co_kwonlyargcount > len(function.__kwdefaults__ or ()))


def _check_arity(function: Callable[..., Any], required: int, accepted: int) -> int:
    if required > 2:
        raise InvalidStep(
            f"{_name_of(function)} takes {required} arguments; a step calls it with (), (value) or (ctx, value)",
            fix="bind the others with functools.partial",
        )
    return max(required, min(accepted, 1))


def required_field(fields: dict[str, str], key: str, kind: str) -> str:
    """The value of ``key`` in the wire form's options, or `DecodeError` when it is missing or empty."""
    value = fields.get(key)
    if not value:
        raise DecodeError(f"{kind}: option {key!r} is missing")
    return value

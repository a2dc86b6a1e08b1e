"""`flow_core.blocking.Flow`: flow-core for threads without an event loop, such as Django's, scripts and the REPL.

    from flow_core.blocking import Flow

    with Flow() as flow:
        flow.create_step("greet", Step("hello", lambda name: f"hello {name}"))
        print(flow.call("greet", "world"))

Each `Flow` owns one loop in one daemon thread, made at the first call. Its methods are those of `flow_core.Flow`, made
blocking by one wrapper: coroutine functions are waited for, plain methods run on the loop's thread, async iteration
becomes iteration, and the handles that come back are wrapped likewise. Contextvars of the caller reach the steps.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from types import FunctionType, TracebackType
from typing import Any, Self, TypeVar

import flow_core.flow
import flow_core.runtime.execution
import flow_core.runtime.executor
from flow_core.errors import FlowError
from flow_core.runtime.portal import Portal

__all__ = ["Execution", "Executor", "Flow"]

T = TypeVar("T")
_END = object()
#: Class -> the class here that wraps its instances.
_WRAPPERS: dict[type, Any] = {}


def _blocking(original: type) -> Callable[[type[T]], type[T]]:
    """Give a class the public methods of another, blocking, and its attributes."""

    def fill(cls: Any) -> Any:
        _WRAPPERS[original] = cls
        cls._call, cls.__eq__, cls.__hash__, cls.__repr__ = _call, _equal, _hash, _repr
        if hasattr(original, "__aiter__"):
            cls.__iter__ = _moves
        for name in {*dir(original), *inspect.get_annotations(original)} - vars(cls).keys():
            if not name.startswith("_") or name == "_repr_mimebundle_":
                member = inspect.getattr_static(original, name, None)
                if isinstance(member, FunctionType):
                    setattr(cls, name, _method(cls, member))
                elif not inspect.isroutine(member):
                    setattr(cls, name, _property(name, member))
        return cls

    return fill


def _method(cls: type, function: FunctionType) -> Callable[..., Any]:
    @functools.wraps(function)
    def method(self: Any, *arguments: Any, **keywords: Any) -> Any:
        return self._call(function, self._target, *arguments, **keywords)

    method.__module__ = cls.__module__
    method.__qualname__ = f"{cls.__qualname__}.{function.__name__}"
    return method


def _property(name: str, original: Any) -> property:
    # Read where the caller is: what attributes tell may be read from any thread.
    doc = None if original is None else original.__doc__
    return property(lambda self: _wrap(self._portal, getattr(self._target, name)), doc=doc)


def _call(self: Any, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    arguments = tuple(map(_unwrap, arguments))
    keywords = {name: _unwrap(value) for name, value in keywords.items()}
    try:
        return _wrap(self._portal, self._portal.call(function, *arguments, **keywords))
    except FlowError as error:
        error.execution = _wrap(self._portal, error.execution)
        raise


def _equal(self: Any, other: Any) -> bool:
    return type(other) is type(self) and other._target is self._target


def _hash(self: Any) -> int:
    return object.__hash__(self._target)


def _repr(self: Any) -> str:
    return f"<blocking {self._target!r}>"


def _moves(self: Any) -> Iterator[Any]:
    return _iterate(self._portal, self._target.__aiter__())


def _iterate(portal: Portal, items: Any) -> Iterator[Any]:
    async def following() -> Any:
        return await anext(items, _END)

    try:
        while (item := portal.call(following)) is not _END:
            yield item
    finally:
        if not portal.closed and not portal.inside:
            portal.call(_close, items)


async def _close(items: Any) -> None:
    await items.aclose()


def _wrap(portal: Portal, value: Any) -> Any:
    wrapper = _WRAPPERS.get(type(value))
    if wrapper is not None:
        handle = wrapper.__new__(wrapper)
        handle._portal, handle._target = portal, value
        return handle
    if type(value) is list and value and type(value[0]) in _WRAPPERS:
        return [_wrap(portal, item) for item in value]
    return _iterate(portal, value) if isinstance(value, AsyncIterator) else value


def _unwrap(value: Any) -> Any:
    return value._target if isinstance(value, Execution | Executor | Flow) else value


@_blocking(flow_core.runtime.execution.Execution)
class Execution:
    """The handle of one execution, for threads::

        execution = flow.execute("checkout", {"amount": 5}, async_=True)
        for move in execution:
            print(move.step, move.status)
        print(execution.outcome())

    It has the methods of `flow_core.Execution`, blocking. Iterate over it for its transitions.
    """

    __slots__ = ("__weakref__", "_portal", "_target")


@_blocking(flow_core.runtime.executor.Executor)
class Executor:
    """The executor of a blocking Flow, ``flow.executor``::

        for found in flow.executor.list("checkout", Status.PAUSED).items:
            flow.executor.resume(found.flow, found.execution)

    It has the methods of `flow_core.Executor`, blocking.
    """

    __slots__ = ("__weakref__", "_portal", "_target")


@_blocking(flow_core.flow.Flow)
class Flow:
    """`flow_core.Flow` for threads: the same methods, blocking, callable from any thread; a context manager::

        with Flow(store="sqlite:///flow.db") as flow:
            flow.create_step("greet", Step("hello", lambda name: f"hello {name}"))
            print(flow.call("greet", "world"))

    Sync callables of steps run in the executor's ``workers`` threads. One that calls this Flow again holds its thread
    until that call returns: in nested flows prefer FlowExecuteOperation, which holds none.

    Args:
        options: those of `flow_core.Flow`.

    Raises:
        IllegalMove: from every method, in a coroutine step of its own (it would wait for itself) and in a forked child.
        ExecutorStopped: from every method that has to wait, after `stop`.
    """

    __slots__ = ("__weakref__", "_portal", "_target")

    @functools.wraps(flow_core.flow.Flow.__init__)
    def __init__(self, **options: Any) -> None:
        self._portal = Portal()
        self._target = flow_core.flow.Flow(**{name: _unwrap(value) for name, value in options.items()})

    def stop(self, drain: float | None = None) -> None:
        """Stop the executor (see `Executor.stop`), close the clients, then end the thread. Nothing the second time."""
        if self._portal.closed:
            return
        try:
            self._call(flow_core.flow.Flow.stop, self._target, drain)
        finally:
            self._portal.close()

    def close(self) -> None:
        """The same as `stop`."""
        self.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

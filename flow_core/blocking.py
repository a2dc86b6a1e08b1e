"""`flow_core.blocking.Flow`: flow-core for threads without an event loop, such as Django's, scripts and the REPL.

    from flow_core.blocking import Flow

    with Flow() as flow:
        flow.create_step("greet", Step("hello", lambda name: f"hello {name}"))
        print(flow.call("greet", "world"))

Each `Flow` owns one loop in one daemon thread, made at the first call. Its methods are those of `flow_core.Flow`, made
blocking by one wrapper: coroutine functions are waited for, plain methods run on the loop's thread, async iteration
becomes iteration, and the handles that come back are wrapped likewise. Contextvars of the caller reach the steps.

Lives here: the thread, and the wrapper. Does not live here: any method of `Flow`, `Executor` or `Execution`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import inspect
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from types import FunctionType, TracebackType
from typing import Any, ClassVar, Self

import flow_core.flow
import flow_core.runtime.execution
import flow_core.runtime.executor
from flow_core.errors import ExecutorStopped, FlowError, IllegalMove
from flow_core.runtime.loop import new_event_loop

__all__ = ["Execution", "Executor", "Flow"]

#: Seconds after which the main thread looks up from its wait: a Ctrl-C that arrives in the very moment in which it
#: lies down does not wake it, and on Windows none does.
POLL = 0.5

_END = object()


def _run_forever(loop: asyncio.AbstractEventLoop) -> None:
    """The thread: run the loop until it is stopped on purpose, then end what is left on it."""
    asyncio.set_event_loop(loop)
    stopped = False
    while not stopped:
        try:
            loop.run_forever()
            stopped = True
        except (KeyboardInterrupt, SystemExit):
            # Raised by a step. Its execution has failed and whoever waits for it gets the error: not this thread's end.
            pass
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def _stop(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.call_soon_threadsafe(loop.stop)
    except RuntimeError:
        pass  # closed already


async def _perform(function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    result = function(*arguments, **keywords)
    return await result if inspect.iscoroutinefunction(function) else result


class _Portal:
    """The way onto a loop that runs in a thread of its own; any thread may `call`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._process = 0
        self.closed = False

    def call(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """Call a function on the loop's thread, wait for it (and for its coroutine), and give its result or error.

        An exception in the waiting thread, such as KeyboardInterrupt, cancels the call.

        Raises:
            IllegalMove: called on the loop's own thread, or in a forked child; nothing was called then.
            ExecutorStopped: the portal was closed while waiting.
        """
        self._check_place()
        if self.closed:
            return _inline(_perform(function, arguments, keywords))
        future = None
        try:
            future = self._submit(_perform(function, arguments, keywords))
            if threading.current_thread() is threading.main_thread():
                while not concurrent.futures.wait((future,), POLL).done:
                    pass
            return future.result()
        except concurrent.futures.CancelledError:
            if self.closed:
                raise ExecutorStopped("the blocking Flow was closed while a thread waited for it") from None
            raise
        finally:
            if future is not None:
                future.cancel()  # does nothing when it is done

    @property
    def inside(self) -> bool:
        """Whether this is the loop's own thread."""
        return threading.current_thread() is self._thread

    def _check_place(self) -> None:
        if self._thread is not None and self._process != os.getpid():
            raise IllegalMove(
                f"this blocking Flow belongs to process {self._process}; its thread did not survive the fork",
                fix="make a Flow in each process, after the fork",
            )
        if self.inside:
            raise IllegalMove(
                "a blocking call inside the loop's own thread would wait for itself",
                fix="use ctx.execute(...) in a coroutine step, or make the step a plain function: it runs in a thread",
            )

    def _submit(self, coroutine: Any) -> concurrent.futures.Future[Any]:
        # Under the lock: what is submitted before `close` reaches the loop before the order to stop.
        with self._lock:
            if self.closed:
                coroutine.close()
                raise ExecutorStopped("the blocking Flow is closed", fix="make a new Flow")
            if self._loop is None:
                self._start()
            assert self._loop is not None
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def _start(self) -> None:
        self._loop = loop = new_event_loop()
        self._process = os.getpid()
        # A daemon, and without a reference to this object: a forgotten Flow ends its thread and delays no exit.
        self._thread = threading.Thread(target=_run_forever, args=(loop,), name="flow-core-loop", daemon=True)
        self._thread.start()
        weakref.finalize(self, _stop, loop)

    def close(self) -> None:
        """End the loop and its thread; calls that wait are cancelled. Nothing when it is closed already."""
        self._check_place()
        with self._lock:
            self.closed = True
        if self._loop is not None and self._thread is not None:
            _stop(self._loop)
            self._thread.join()


def _inline(coroutine: Any) -> Any:
    """What a coroutine returns that need not wait: reading a handle still works when its loop is gone."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise ExecutorStopped("the blocking Flow is closed", fix="make a new Flow")


class _Blocking:
    """Base of the wrappers: ``class X(_Blocking, of=Y)`` gets Y's public methods, blocking, and its properties."""

    __slots__ = ("__weakref__", "_portal", "_target")

    _wrappers: ClassVar[dict[type, type[_Blocking]]] = {}

    def __init_subclass__(cls, *, of: type) -> None:
        cls._wrappers[of] = cls
        members: dict[str, Any] = {}
        for base in reversed(of.__mro__):
            if base.__module__.startswith(("flow_core.runtime", "flow_core.flow")):
                members |= vars(base)
        for name, member in members.items():
            if (not name.startswith("_") or name == "_repr_mimebundle_") and name not in vars(cls):
                if isinstance(member, property):
                    setattr(cls, name, _property(name, member))
                elif isinstance(member, FunctionType):
                    setattr(cls, name, _method(cls, member))
        if "__aiter__" in vars(of):
            cls.__iter__ = _iterate  # type: ignore[attr-defined]

    def __init__(self, portal: _Portal, target: Any) -> None:
        self._portal = portal
        self._target = target

    def __getattr__(self, name: str) -> Any:
        """What instances of the original have beside methods and properties."""
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        value = getattr(self._target, name)
        if inspect.isroutine(value):
            return functools.partial(self._call, value)
        return _wrap(self._portal, value)

    def _call(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        arguments = tuple(map(_unwrap, arguments))
        keywords = {name: _unwrap(value) for name, value in keywords.items()}
        try:
            return _wrap(self._portal, self._portal.call(function, *arguments, **keywords))
        except FlowError as error:
            error.execution = _wrap(self._portal, error.execution)
            raise

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *(name for name in dir(self._target) if not name.startswith("_"))})

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._target is self._target

    def __hash__(self) -> int:
        return object.__hash__(self._target)

    def __repr__(self) -> str:
        return f"<blocking {self._target!r}>"


def _method(cls: type[_Blocking], function: FunctionType) -> Callable[..., Any]:
    @functools.wraps(function)
    def method(self: _Blocking, *arguments: Any, **keywords: Any) -> Any:
        return self._call(function, self._target, *arguments, **keywords)

    method.__module__ = cls.__module__
    method.__qualname__ = f"{cls.__qualname__}.{function.__name__}"
    return method


def _property(name: str, original: property) -> property:
    # Read where the caller is: what properties tell may be read from any thread.
    return property(lambda self: _wrap(self._portal, getattr(self._target, name)), doc=original.__doc__)


def _iterate(self: _Blocking) -> Iterator[Any]:
    moves = self._target.__aiter__()

    async def following() -> Any:
        return await anext(moves, _END)

    try:
        while (move := self._portal.call(following)) is not _END:
            yield move
    finally:
        if not self._portal.closed and not self._portal.inside:
            self._portal.call(_aclose, moves)


async def _aclose(moves: Any) -> None:
    await moves.aclose()


def _wrap(portal: _Portal, value: Any) -> Any:
    wrapper = _Blocking._wrappers.get(type(value))
    if wrapper is not None:
        handle = wrapper.__new__(wrapper)
        _Blocking.__init__(handle, portal, value)
        return handle
    if type(value) is list and value and type(value[0]) in _Blocking._wrappers:
        return [_wrap(portal, item) for item in value]
    return value


def _unwrap(value: Any) -> Any:
    return value._target if isinstance(value, _Blocking) else value


class Execution(_Blocking, of=flow_core.runtime.execution.Execution):
    """The handle of one execution, for threads: `flow_core.Execution`, blocking. Iterate over it for its moves."""

    __slots__ = ()


class Executor(_Blocking, of=flow_core.runtime.executor.Executor):
    """A blocking Flow's ``executor``: `flow_core.Executor`, blocking."""

    __slots__ = ()


class Flow(_Blocking, of=flow_core.flow.Flow):
    """`flow_core.Flow` for threads: the same methods, blocking, callable from any thread; a context manager.

    Sync callables of steps run in the executor's ``workers`` threads. One that calls this Flow again holds its thread
    until that call returns: in nested flows give FlowExecuteOperation the preference, which holds none.

    Args:
        options: those of `flow_core.Flow`.

    Raises:
        IllegalMove: from every method, in a coroutine step of its own (it would wait for itself) and in a forked child.
        ExecutorStopped: from every method that has to wait, after `stop`.
    """

    __slots__ = ()

    def __init__(self, **options: Any) -> None:
        options = {name: _unwrap(value) for name, value in options.items()}
        super().__init__(_Portal(), flow_core.flow.Flow(**options))

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

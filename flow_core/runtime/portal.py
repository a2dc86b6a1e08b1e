"""`Portal`: an event loop in a background thread that other threads can call."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

from flow_core.errors import ExecutorStopped, IllegalMove
from flow_core.model.known import KnownList, KnownMapping
from flow_core.runtime.loop import new_event_loop

__all__ = ["Portal"]

#: Seconds after which the main thread interrupts its wait: a Ctrl-C that arrives just before the wait begins does not
#: wake it, and on Windows no Ctrl-C does.
POLL = 0.5


def _run_forever(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop in its thread until it is stopped on purpose, then end the tasks that are left on it."""
    asyncio.set_event_loop(loop)
    stopped = False
    while not stopped:
        try:
            loop.run_forever()
            stopped = True
        except (KeyboardInterrupt, SystemExit):
            # Raised by a step: its execution has failed, and its callers get the error. This thread continues.
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
    awaited = inspect.iscoroutinefunction(function) or isinstance(result, KnownList | KnownMapping)
    return await result if awaited else result


class Portal:
    """An event loop in a background thread, made at the first call; any thread may `call` a function on it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._process = 0
        self.closed = False

    def call(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """Call a function on the loop's thread, wait for it (and for its coroutine), and return its result or raise.

        An exception in the waiting thread, such as KeyboardInterrupt, cancels the call.

        Raises:
            IllegalMove: called on the loop's own thread, or in a forked child; the function was not called.
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
        # The lock makes sure that the loop gets calls submitted before `close` before it is told to stop.
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
        """End the loop and its thread; waiting calls are cancelled. Does nothing the second time."""
        self._check_place()
        with self._lock:
            self.closed = True
        if self._loop is not None and self._thread is not None:
            _stop(self._loop)
            self._thread.join()


def _inline(coroutine: Any) -> Any:
    """Run a coroutine that need not wait, so that a handle can still be read after its loop has ended."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise ExecutorStopped("the blocking Flow is closed", fix="make a new Flow")

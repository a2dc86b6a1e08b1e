"""`Future`, what a task shares with `asyncio.Future`, and `EndFuture`, the end of an execution.

A future of asyncio calls back in the next turn of the loop. When the end of an execution is found in a callback of the
loop, its caller can go on right there: `EndFuture.tell` saves that turn, and what the execution leaves is freed before
the caller makes the next one. A thousand executions that end in one turn would else free everything first and make
everything afterwards, and each such wave of new objects starts Python's garbage collector.
"""

import contextvars
from asyncio import CancelledError, InvalidStateError

cdef extern from "Python.h":
    int PyContext_Enter(object) except -1
    int PyContext_Exit(object) except -1

cdef object copy_context = contextvars.copy_context


cdef class Future:
    """A result to come, in the sense of asyncio; `StepTask` is one as `asyncio.Task` is a future."""

    def __cinit__(self):
        self._asyncio_future_blocking = False

    cdef int settle(self, FutureState state, object value, object error) except -1:
        """Take over the outcome and call back whoever waits."""
        self.state, self.value, self.error = state, value, error
        if error is not None:
            self.traceback = error.__traceback__
        callbacks, self.callbacks = self.callbacks, None
        if callbacks is not None:
            for callback, context in callbacks:
                self._loop.call_soon(callback, self, context=context)
        return 0

    cdef object cancelled_error(self):
        """The CancelledError to raise: once the one that ended it, then others with the message of `cancel`."""
        if self.state == FUTURE_CANCELLED and self.error is not None:
            error, self.error = self.error, None
            return error
        return CancelledError() if self._cancel_message is None else CancelledError(self._cancel_message)

    def _make_cancelled_error(self):
        """As asyncio's: the CancelledError that awaiting a cancelled task raises."""
        return self.cancelled_error()

    def done(self):
        """Whether there is an outcome."""
        return self.state != FUTURE_PENDING

    def cancelled(self):
        """Whether it ended by cancellation."""
        return self.state == FUTURE_CANCELLED

    def result(self):
        """What it returned; raises what it raised, CancelledError, or InvalidStateError while it runs."""
        if self.state == FUTURE_PENDING:
            raise InvalidStateError("Result is not set.")
        if self.state == FUTURE_CANCELLED:
            raise self.cancelled_error()
        self.retrieved = True
        if self.error is not None:
            raise self.error.with_traceback(self.traceback)
        return self.value

    def exception(self):
        """What it raised, None when it returned; raises CancelledError or InvalidStateError."""
        if self.state == FUTURE_PENDING:
            raise InvalidStateError("Exception is not set.")
        if self.state == FUTURE_CANCELLED:
            raise self.cancelled_error()
        self.retrieved = True
        return self.error

    def add_done_callback(self, callback, *, context=None):
        """Call ``callback(task)`` in a turn of the loop after it ended."""
        if context is None:
            context = copy_context()
        self.touched = True
        if self.state != FUTURE_PENDING:
            self._loop.call_soon(callback, self, context=context)
        elif self.callbacks is None:
            self.callbacks = [(callback, context)]
        else:
            self.callbacks.append((callback, context))

    def remove_done_callback(self, callback):
        """Forget a callback; returns how often it was there."""
        before = self.callbacks or []
        self.callbacks = [pair for pair in before if pair[0] != callback] or None
        return len(before) - len(self.callbacks or [])

    def __await__(self):
        if self.state == FUTURE_PENDING:
            self._asyncio_future_blocking = True
            yield self
        if self.state == FUTURE_PENDING:
            raise RuntimeError("await wasn't used with future")
        return self.result()

    def __iter__(self):
        return self.__await__()

    def get_loop(self):
        """The event loop."""
        return self._loop

    @property
    def _state(self):
        return ("PENDING", "FINISHED", "CANCELLED")[<int>self.state]

    @property
    def _exception(self):
        return self.error if self.state == FUTURE_FINISHED else None

    @property
    def _result(self):
        return self.value

    @property
    def _callbacks(self):
        return self.callbacks

    @property
    def _log_traceback(self):
        return self.state == FUTURE_FINISHED and self.error is not None and not self.retrieved

    @_log_traceback.setter
    def _log_traceback(self, value):
        if value:
            raise ValueError("_log_traceback can only be set to False")
        self.retrieved = True


cdef class EndFuture(Future):
    """The end of an execution, for whoever waits for it. Awaiting it gives None.

    Args:
        loop: the event loop.
    """

    def __cinit__(self, object loop=None):
        self._loop = loop

    cdef int tell(self) except -1:
        """The execution is over: whoever waits goes on now. For a callback of the loop in which no task is current."""
        if self.state != FUTURE_PENDING:
            return 0
        callbacks, self.callbacks = self.callbacks, None
        self.settle(FUTURE_FINISHED, None, None)
        failed = None
        if callbacks is not None:
            for callback, context in callbacks:
                try:
                    self.call_now(callback, context)
                except BaseException as error:  # no memory: the others still hear of it
                    failed = failed or error
        if failed is not None:
            raise failed
        return 0

    cdef int call_now(self, object callback, object context) except -1:
        try:
            PyContext_Enter(context)
        except RuntimeError:                    # somebody further up the stack is in it
            self._loop.call_soon(callback, self, context=context)
            return 0
        try:
            callback(self)
        except (KeyboardInterrupt, SystemExit) as error:
            self._loop.call_soon(raise_it, error)       # out of the loop, behind the others that wait for this turn
        except BaseException as error:
            told = {"message": "a callback of an execution's end failed", "exception": error, "future": self}
            self._loop.call_exception_handler(told)
        finally:
            PyContext_Exit(context)
        return 0

    cdef int tell_later(self) except -1:
        """The execution is over: whoever waits goes on in the next turn of the loop."""
        return self.settle(FUTURE_FINISHED, None, None) if self.state == FUTURE_PENDING else 0

    def cancel(self, msg=None):
        """Wait no longer: whoever awaits it gets CancelledError. False when the execution is over."""
        if self.state != FUTURE_PENDING:
            return False
        self._cancel_message = msg
        self.settle(FUTURE_CANCELLED, None, None)
        return True

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        if self.state == FUTURE_PENDING:
            self._asyncio_future_blocking = True
            return self
        if self.state == FUTURE_CANCELLED:
            raise self.cancelled_error()
        raise StopIteration


def raise_it(error):
    """For the loop: what must end it."""
    raise error

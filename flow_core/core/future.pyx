"""`Promise`, what a task shares with `asyncio.Future`: its outcome and those who wait for it.

Lives here: result, exception, callbacks, awaiting. Does not live here: what makes the outcome (`StepTask`).
"""

import contextvars
from asyncio import CancelledError, InvalidStateError

cdef object copy_context = contextvars.copy_context


cdef class Promise:
    """See the module. Made by its subclass only."""

    def __cinit__(self):
        self._asyncio_future_blocking = False

    cdef int settle(self, PromiseState state, object value, object error) except -1:
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
        if self.state == PROMISE_CANCELLED and self.error is not None:
            error, self.error = self.error, None
            return error
        return CancelledError() if self._cancel_message is None else CancelledError(self._cancel_message)

    def _make_cancelled_error(self):
        """As asyncio's: the CancelledError that awaiting a cancelled task raises."""
        return self.cancelled_error()

    def done(self):
        """Whether there is an outcome."""
        return self.state != PROMISE_PENDING

    def cancelled(self):
        """Whether it ended by cancellation."""
        return self.state == PROMISE_CANCELLED

    def result(self):
        """What it returned; raises what it raised, CancelledError, or InvalidStateError while it runs."""
        if self.state == PROMISE_PENDING:
            raise InvalidStateError("Result is not set.")
        if self.state == PROMISE_CANCELLED:
            raise self.cancelled_error()
        self.retrieved = True
        if self.error is not None:
            raise self.error.with_traceback(self.traceback)
        return self.value

    def exception(self):
        """What it raised, None when it returned; raises CancelledError or InvalidStateError."""
        if self.state == PROMISE_PENDING:
            raise InvalidStateError("Exception is not set.")
        if self.state == PROMISE_CANCELLED:
            raise self.cancelled_error()
        self.retrieved = True
        return self.error

    def add_done_callback(self, callback, *, context=None):
        """Call ``callback(task)`` in a turn of the loop after it ended."""
        if context is None:
            context = copy_context()
        self.touched = True
        if self.state != PROMISE_PENDING:
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
        if self.state == PROMISE_PENDING:
            self._asyncio_future_blocking = True
            yield self
        if self.state == PROMISE_PENDING:
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
        return self.error if self.state == PROMISE_FINISHED else None

    @property
    def _result(self):
        return self.value

    @property
    def _callbacks(self):
        return self.callbacks

    @property
    def _log_traceback(self):
        return self.state == PROMISE_FINISHED and self.error is not None and not self.retrieved

    @_log_traceback.setter
    def _log_traceback(self, value):
        if value:
            raise ValueError("_log_traceback can only be set to False")
        self.retrieved = True

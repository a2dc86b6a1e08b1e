"""`Waiter`, a future for the end of an execution that can call back at once.

A future of asyncio calls back in the next turn of the loop. When the end of an execution is found in a callback of the
loop, its caller can go on right there: `tell` saves that turn, and what the execution leaves is freed before the caller
makes the next one. A thousand executions that end in one turn would else free everything first and make everything
afterwards, and each such wave of new objects starts Python's garbage collector.

Lives here: telling, at once or later, and being cancelled. Does not live here: when there is somebody to tell
(`Ledger`).
"""

from flow_core.core.future cimport PROMISE_CANCELLED, PROMISE_FINISHED, PROMISE_PENDING

cdef extern from "Python.h":
    int PyContext_Enter(object) except -1
    int PyContext_Exit(object) except -1


cdef class Waiter(Promise):
    """See the module. Awaiting it gives None.

    Args:
        loop: the event loop.
    """

    def __cinit__(self, object loop=None):
        self._loop = loop

    cdef int tell(self) except -1:
        """The execution is over: whoever waits goes on now. For a callback of the loop in which no task is current."""
        if self.state != PROMISE_PENDING:
            return 0
        callbacks, self.callbacks = self.callbacks, None
        self.settle(PROMISE_FINISHED, None, None)
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
        return self.settle(PROMISE_FINISHED, None, None) if self.state == PROMISE_PENDING else 0

    def cancel(self, msg=None):
        """Wait no longer: whoever awaits it gets CancelledError. False when the execution is over."""
        if self.state != PROMISE_PENDING:
            return False
        self._cancel_message = msg
        self.settle(PROMISE_CANCELLED, None, None)
        return True

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        if self.state == PROMISE_PENDING:
            self._asyncio_future_blocking = True
            return self
        if self.state == PROMISE_CANCELLED:
            raise self.cancelled_error()
        raise StopIteration


def raise_it(error):
    """For the loop: what must end it."""
    raise error

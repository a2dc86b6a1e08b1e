"""`StepTask`, a task in the sense of asyncio, driven by a `Scheduler`.

Lives here: one coroutine's life: sending, throwing, what it may yield, cancellation counts, callbacks. It follows the
documented behaviour of `asyncio.Task`, so that `current_task()`, `timeout()`, `TaskGroup` and anyio work inside a step;
CPython's own tests of tasks run against it (``tests/core/test_asyncio_semantics.py``). Does not live here: which step
comes next (`Driver`).
"""

import asyncio
import contextvars
import itertools
from asyncio import CancelledError, InvalidStateError, base_tasks, events, futures, tasks

from cpython.ref cimport Py_DECREF, Py_INCREF

cdef extern from "Python.h":
    ctypedef enum PySendResult:
        PYGEN_RETURN, PYGEN_ERROR, PYGEN_NEXT
    PySendResult PyIter_Send(PyObject* it, PyObject* arg, PyObject** result) noexcept

cdef extern from *:
    """
    // The exception in flight as one normalized object with its traceback, which is what is kept and thrown later.
    static PyObject* flow_take_error(void) {
    #if PY_VERSION_HEX >= 0x030C0000
        return PyErr_GetRaisedException();
    #else
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        PyErr_NormalizeException(&type, &value, &traceback);
        if (traceback) PyException_SetTraceback(value, traceback);
        Py_XDECREF(type); Py_XDECREF(traceback);
        return value;
    #endif
    }
    """
    object flow_take_error()

cdef object new_name = itertools.count(1).__next__
cdef object get_running_loop = events.get_running_loop
cdef object isfuture = futures.isfuture
cdef object copy_context = contextvars.copy_context
cdef dict current_tasks = getattr(tasks, "_current_tasks", None)    # gone in 3.14: the thread state holds it
cdef object swap_task = getattr(tasks, "_swap_current_task", None)  # since 3.12
cdef tuple CONTEXT = ("context",)


cdef object take_error():
    return flow_take_error()


cdef object swap_current(object loop, object task):
    """Make ``task`` (None: nobody) the current task of the loop; returns the one that was."""
    if current_tasks is None:
        return swap_task(loop, task)
    before = current_tasks.get(loop)
    if task is not None:
        current_tasks[loop] = task
    elif before is not None:
        del current_tasks[loop]
    return before


cdef Outcome send(object coro, PyObject** out) except *:
    """Step a coroutine. ``out`` gets what it returned or yielded; after OUT_RAISED the exception, an owned reference."""
    cdef PySendResult sent
    out[0] = NULL
    sent = PyIter_Send(<PyObject*>coro, <PyObject*>None, out)
    if sent == PYGEN_RETURN:
        return OUT_RETURNED
    if sent == PYGEN_NEXT:
        return OUT_WAITS
    error = flow_take_error()
    Py_INCREF(error)
    out[0] = <PyObject*>error
    return OUT_RAISED


cdef Outcome throw(object coro, object error, PyObject** out) except *:
    """As `send`, with an exception."""
    out[0] = NULL
    try:
        value = coro.throw(error)
    except StopIteration as stop:
        value = stop.value
        Py_INCREF(value)
        out[0] = <PyObject*>value
        return OUT_RETURNED
    except BaseException as raised:
        Py_INCREF(raised)
        out[0] = <PyObject*>raised
        return OUT_RAISED
    Py_INCREF(value)
    out[0] = <PyObject*>value
    return OUT_WAITS


cdef class Scheduler:
    """Steps tasks by turns of the loop, as asyncio does.

    Args:
        loop: the event loop; None for the running one.
    """

    def __cinit__(self, object loop=None, *args, **kwargs):
        self.loop = loop

    cdef int soon(self, StepTask task, object error) except -1:
        """The task goes on in a later turn: after a bare yield, or with an error it earned by what it yielded."""
        task.bare = error is None
        if error is None:
            self.loop.call_soon(task, context=task.context)
        else:
            self.loop.call_soon(task, error, context=task.context)
        return 0

    cdef int wake(self, StepTask task) except -1:
        """The future that the task waited for is done."""
        cdef PyObject* out
        cdef Outcome outcome
        before = swap_current(self.loop, task)
        try:
            outcome = task.step(None, &out)
        finally:
            swap_current(self.loop, before)
        if outcome != OUT_WAITS:
            value = <object>out
            Py_DECREF(value)
            self.done(task, outcome, value)
        return 0

    cdef int done(self, StepTask task, Outcome outcome, object value) except -1:
        """The coroutine ended."""
        return task.finish(outcome, value)


cdef class StepTask:
    """A task in the sense of asyncio whose steps a `Scheduler` takes.

    Made from Python it is a task of its own, with the signature of `asyncio.Task`; inside a flow the `Driver` makes it.

    Args:
        coro: the coroutine.
        loop: the event loop; None for the running one.
        name: shown in logs.
        context: contextvars.Context to run in; a copy of the current one when None.

    Raises:
        TypeError: ``coro`` is not a coroutine.
    """

    def __cinit__(self, *args, **kwargs):
        self.timer = -1
        self._log_destroy_pending = True
        self._asyncio_future_blocking = False

    def __init__(self, coro, *, loop=None, name=None, context=None):
        if not asyncio.iscoroutine(coro):
            self._log_destroy_pending = False
            raise TypeError(f"a coroutine was expected, got {coro!r}")
        self._loop = get_running_loop() if loop is None else loop
        self.scheduler = Scheduler(self._loop)
        self.coro = coro
        self.name = f"Task-{new_name()}" if name is None else str(name)
        self.context = copy_context() if context is None else context
        self.scheduler.soon(self, None)
        tasks._register_task(self)

    def __del__(self):
        if self.state == TASK_PENDING and self._log_destroy_pending and self.coro is not None and self._loop is not None:
            self._loop.call_exception_handler(
                {"task": self, "message": "Task was destroyed but it is pending!"}
            )
        elif self.state == TASK_FINISHED and not self.retrieved and type(self.value) is _Raised:
            self._loop.call_exception_handler({
                "message": f"{type(self).__name__} exception was never retrieved",
                "exception": self.value.error,
                "future": self,
            })

    def __class_getitem__(cls, item):
        return cls

    # --- one step ---------------------------------------------------------------------------------------------------

    def __call__(self, future_or_error=None):
        """The loop says: go on. Called as a future's callback, or by `Scheduler.soon`."""
        cdef PyObject* out
        cdef Outcome outcome
        if self.state != TASK_PENDING:
            return
        if isinstance(future_or_error, BaseException):
            before = swap_current(self._loop, self)
            try:
                outcome = self.step(future_or_error, &out)
            finally:
                swap_current(self._loop, before)
            if outcome != OUT_WAITS:
                value = <object>out
                Py_DECREF(value)
                self.scheduler.done(self, outcome, value)
            return
        self.scheduler.wake(self)

    cdef Outcome step(self, object error, PyObject** out) except *:
        """Resume the coroutine, with an error or the pending cancellation thrown into it."""
        cdef Outcome outcome
        self.waiter = None
        self.bare = False
        if self._must_cancel:
            if not isinstance(error, CancelledError):
                error = self._make_cancelled_error()
            self._must_cancel = False
        if error is None:
            outcome = send(self.coro, out)
        else:
            outcome = throw(self.coro, error, out)
        return self.after(outcome, out)

    cdef Outcome after(self, Outcome outcome, PyObject** out) except *:
        """What a step of the coroutine means: it waits, or it is over (``out`` then holds an owned reference)."""
        if outcome == OUT_WAITS:
            yielded = <object>out[0]
            Py_DECREF(yielded)
            out[0] = NULL
            return self.wait_for(yielded)
        if outcome == OUT_RETURNED and self._must_cancel:
            # It was cancelled during its last step and returned all the same: asyncio calls that cancelled.
            self._must_cancel = False
            Py_DECREF(<object>out[0])
            error = self._make_cancelled_error()
            Py_INCREF(error)
            out[0] = <PyObject*>error
            return OUT_RAISED
        return outcome

    cdef Outcome wait_for(self, object yielded) except *:
        """Hook on to what the coroutine yielded."""
        if yielded is None:
            self.scheduler.soon(self, None)
            return OUT_WAITS
        blocking = getattr(yielded, "_asyncio_future_blocking", None)
        if blocking is None:
            if hasattr(yielded, "__next__") and hasattr(yielded, "send"):
                return self.scold(f"yield was used instead of yield from for generator in task {self!r} with {yielded!r}")
            return self.scold(f"Task got bad yield: {yielded!r}")
        if futures._get_loop(yielded) is not self._loop:
            return self.scold(f"Task {self!r} got Future {yielded!r} attached to a different loop")
        if not blocking:
            return self.scold(f"yield was used instead of yield from in task {self!r} with {yielded!r}")
        if yielded is self:
            return self.scold(f"Task cannot await on itself: {self!r}")
        yielded._asyncio_future_blocking = False
        yielded.add_done_callback(self, context=self.context)
        self.waiter = yielded
        if self._must_cancel and yielded.cancel(msg=self.cancel_message):
            self._must_cancel = False
        return OUT_WAITS

    cdef Outcome scold(self, str message) except *:
        self.scheduler.soon(self, RuntimeError(message))
        return OUT_WAITS

    cdef object take_scolding(self):
        error, self.scolding = self.scolding, None
        return error

    cdef int finish(self, Outcome outcome, object value) except -1:
        """Take over the outcome and call back whoever waits."""
        if self.state != TASK_PENDING:
            return 0
        if outcome == OUT_RETURNED:
            self.state, self.value = TASK_FINISHED, value
        elif isinstance(value, CancelledError):
            self.state, self.value = TASK_CANCELLED, value
        else:
            self.state, self.value = TASK_FINISHED, _Raised(value)
        self.coro = None
        if self.callbacks is not None:
            self.call_back()
        if outcome == OUT_RAISED and isinstance(value, (KeyboardInterrupt, SystemExit)) and self.run is None:
            raise value
        return 0

    cdef int call_back(self) except -1:
        callbacks, self.callbacks = self.callbacks, None
        for callback, context in callbacks:
            self._loop.call_soon(callback, self, context=context)
        return 0

    def _make_cancelled_error(self):
        """The CancelledError to throw or raise, with the message given to `cancel`."""
        if self.state == TASK_CANCELLED and self.value is not None:
            error, self.value = self.value, None
            return error
        return CancelledError() if self.cancel_message is None else CancelledError(self.cancel_message)

    # --- cancellation -----------------------------------------------------------------------------------------------

    def cancel(self, msg=None):
        """Ask the coroutine to stop: CancelledError is thrown into it at its next step. False when it is done."""
        if self.state != TASK_PENDING:
            return False
        self.touched = True
        self.cancels += 1
        if self.waiter is not None and self.waiter.cancel(msg=msg):
            return True
        self._must_cancel = True
        self.cancel_message = msg
        return True

    def cancelling(self):
        """How many times `cancel` was called and not taken back by `uncancel`."""
        return self.cancels

    def uncancel(self):
        """Take one `cancel` back; returns how many remain."""
        if self.cancels > 0:
            self.cancels -= 1
            if self.cancels == 0 and UNCANCEL_CLEARS:
                self._must_cancel = False
        return self.cancels

    # --- the outcome ------------------------------------------------------------------------------------------------

    def done(self):
        """Whether the coroutine ended."""
        return self.state != TASK_PENDING

    def cancelled(self):
        """Whether it ended by cancellation."""
        return self.state == TASK_CANCELLED

    def result(self):
        """What it returned; raises what it raised, or InvalidStateError while it runs."""
        error = self.exception()
        if error is not None:
            raise error.with_traceback(error.__traceback__)
        return self.value

    def exception(self):
        """What it raised, None when it returned; raises CancelledError or InvalidStateError."""
        if self.state == TASK_PENDING:
            raise InvalidStateError("Result is not set.")
        if self.state == TASK_CANCELLED:
            raise self._make_cancelled_error()
        self.retrieved = True
        return self.value.error if type(self.value) is _Raised else None

    def set_result(self, result):
        """Tasks make their own result: always raises RuntimeError."""
        raise RuntimeError("Task does not support set_result operation")

    def set_exception(self, exception):
        """Tasks make their own result: always raises RuntimeError."""
        raise RuntimeError("Task does not support set_exception operation")

    def add_done_callback(self, callback, *, context=None):
        """Call ``callback(task)`` soon after it ended."""
        if context is None:
            context = copy_context()
        self.touched = True
        if self.state != TASK_PENDING:
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
        if self.state == TASK_PENDING:
            self._asyncio_future_blocking = True
            yield self
        if self.state == TASK_PENDING:
            raise RuntimeError("await wasn't used with future")
        return self.result()

    __iter__ = __await__

    # --- what it is -------------------------------------------------------------------------------------------------

    def get_loop(self):
        """The event loop."""
        return self._loop

    def get_coro(self):
        """The coroutine; None once it ended."""
        return self.coro

    def get_context(self):
        """The contextvars.Context it runs in."""
        return self.context

    def get_name(self):
        """Name for logs: ``flow/step`` inside a flow."""
        if self.name is None:
            self.name = f"{self.run.plan.flow}/{self.run.plan.items[self.index].id}" if self.run is not None else "Task"
        return self.name

    def set_name(self, value):
        """Set the name for logs."""
        self.touched = True
        self.name = str(value)

    def get_stack(self, *, limit=None):
        """Frames of the coroutine."""
        return base_tasks._task_get_stack(self, limit)

    def print_stack(self, *, limit=None, file=None):
        """Print the frames of the coroutine."""
        return base_tasks._task_print_stack(self, limit, file)

    @property
    def _coro(self):
        return self.coro

    @property
    def _fut_waiter(self):
        return self.waiter

    @property
    def _state(self):
        return ("PENDING", "FINISHED", "CANCELLED")[<int>self.state]

    @property
    def _exception(self):
        return self.value.error if type(self.value) is _Raised else None

    @property
    def _result(self):
        return None if type(self.value) is _Raised else self.value

    @property
    def _callbacks(self):
        return self.callbacks or []

    @property
    def _cancel_message(self):
        return self.cancel_message

    @property
    def _source_traceback(self):
        return None

    @property
    def _num_cancels_requested(self):
        return self.cancels

    def __repr__(self):
        info = ["cancelling" if self.cancels and self.state == TASK_PENDING else self._state.lower()]
        info.append(f"name={self.get_name()!r}")
        if self.coro is not None:
            info.append(f"coro=<{base_tasks.coroutines._format_coroutine(self.coro)}>")
        if self.waiter is not None:
            info.append(f"wait_for={self.waiter!r}")
        if self._exception is not None:
            info.append(f"exception={self._exception!r}")
        elif self.state == TASK_FINISHED:
            info.append(f"result={self.value!r}")
        return f"<{type(self).__name__} {' '.join(info)}>"


cdef class _Raised:
    """An exception as an outcome: a coroutine may as well *return* one."""
    cdef object error

    def __cinit__(self, error):
        self.error = error


# Since 3.13 uncancel() down to zero also takes back a cancellation not yet delivered (gh-117407).
cdef bint UNCANCEL_CLEARS = hasattr(asyncio, "QueueShutDown")

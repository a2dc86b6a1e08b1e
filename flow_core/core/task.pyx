"""`StepTask`, a task in the sense of asyncio, driven by a `TaskScheduler`.

It follows the documented behaviour of `asyncio.Task`, so that `current_task()`, `timeout()`, `TaskGroup` and anyio work
inside a step; CPython's own tests of tasks run against it (``tests/core/test_asyncio_semantics.py``).

The one difference to a task made by `asyncio.create_task`: it is not in `asyncio.all_tasks()`. That registry is a
set of weak references whose upkeep costs as much as a step that suspends, and its main use, cancelling what is
left when a loop closes, would rob the executor of its orderly end: one guard stands there for all
(runtime/shutdown.py).
"""

import asyncio
import contextvars
import itertools
import types
from asyncio import CancelledError, base_tasks, events, format_helpers, futures, tasks

cimport cython
from cpython.ref cimport Py_DECREF, Py_INCREF

from flow_core.core.future cimport FUTURE_CANCELLED, FUTURE_FINISHED, FUTURE_PENDING
from flow_core.core.coroutine cimport OUT_RAISED, OUT_RETURNED, OUT_WAITS, send, swap_current, throw

cdef object new_name = itertools.count(1).__next__
cdef object get_loop = futures._get_loop        # a function of Python: costs as much as all the rest of a wait
cdef object AsyncioFuture = futures.Future
cdef object copy_context = contextvars.copy_context
# Since 3.13 uncancel() down to zero also takes back a cancellation not yet delivered (gh-117407).
cdef bint UNCANCEL_CLEARS = hasattr(asyncio, "QueueShutDown")


cdef class TaskScheduler:
    """Interface: who decides when a `StepTask` takes its next step, and hears of its end. Implemented in C."""

    cdef int soon(self, StepTask task, object error) except -1:
        """The task goes on in a later turn: after a bare yield, or with an error it earned by what it yielded."""
        raise NotImplementedError

    cdef int wake(self, StepTask task, object error) except -1:
        """The task goes on now, the error thrown into it; the caller has entered its context."""
        raise NotImplementedError

    cdef int done(self, StepTask task, Outcome outcome, object value) except -1:
        """The coroutine ended."""
        raise NotImplementedError

    cdef bint lend(self, StepTask task) except -1:
        """Take the task's slot back for a while; returns whether it had one to lend."""
        raise NotImplementedError

    cdef int reclaim(self, StepTask task) except -1:
        """Give the task a slot again."""
        raise NotImplementedError


@cython.final
cdef class LoopScheduler(TaskScheduler):
    """Steps tasks that belong to no execution as asyncio does: every wake-up is a turn of the loop. It has no slots."""

    cdef int soon(self, StepTask task, object error) except -1:
        task.pending_error = error
        task._loop.call_soon(task, context=task.context)
        return 0

    cdef int wake(self, StepTask task, object error) except -1:
        return task.resume(error)

    cdef int done(self, StepTask task, Outcome outcome, object value) except -1:
        task.finish(outcome, value)
        if outcome == OUT_RAISED and isinstance(value, (KeyboardInterrupt, SystemExit)):
            raise value
        return 0

    cdef bint lend(self, StepTask task) except -1:
        return False

    cdef int reclaim(self, StepTask task) except -1:
        return 0


cdef LoopScheduler BY_THE_LOOP = LoopScheduler()


cdef class StepTask(Future):
    """A task in the sense of asyncio whose steps a `TaskScheduler` takes.

    Made from Python it is a task of its own, with the signature of `asyncio.Task`; inside a flow the `Scheduler` makes
    it.

    Args:
        coro: the coroutine.
        loop: the event loop; None for the running one.
        name: shown in logs.
        context: contextvars.Context to run in; a copy of the current one when None.
        eager_start: step the coroutine at once, when the loop runs.

    Raises:
        TypeError: ``coro`` is not a coroutine.
        RuntimeError: no loop runs and none is given.
    """

    def __cinit__(self):
        self.timer = -1

    def __init__(self, coro, *, loop=None, name=None, context=None, eager_start=False):
        if not asyncio.iscoroutine(coro):
            raise TypeError(f"a coroutine was expected, got {coro!r}")
        self._loop = events.get_event_loop() if loop is None else loop
        self.scheduler = BY_THE_LOOP
        self.name = f"Task-{new_name()}" if name is None else str(name)
        self.context = copy_context() if context is None else context
        self.coro, self._log_destroy_pending = coro, True
        if self._loop.get_debug():
            self._source_traceback = format_helpers.extract_stack()
        if eager_start and self._loop.is_running():
            self.context.run(self)
        else:
            self.scheduler.soon(self, None)
        if self.state == FUTURE_PENDING:
            tasks._register_task(self)

    def __del__(self):
        if self.state == FUTURE_PENDING and self._log_destroy_pending and self.coro is not None:
            told = {"task": self, "message": "Task was destroyed but it is pending!"}
        elif self.state == FUTURE_FINISHED and not self.retrieved and self.error is not None:
            message = f"{type(self).__name__} exception was never retrieved"
            told = {"message": message, "exception": self.error, "future": self}
        else:
            return
        if self._source_traceback is not None:
            told["source_traceback"] = self._source_traceback
        self._loop.call_exception_handler(told)

    def __class_getitem__(cls, item):
        return types.GenericAlias(cls, item)

    # --- one step ---------------------------------------------------------------------------------------------------

    def __call__(self, future=None):
        """Go on, says the loop: a turn is due, or the future it waits for is done."""
        if self.state != FUTURE_PENDING or self.scheduler is None:
            return
        error = self.take_pending_error()
        if future is not None:
            try:
                future.result()
            except BaseException as raised:
                error = raised
        self.scheduler.wake(self, error)

    cdef int resume(self, object error) except -1:
        """Take a step now, as the current task; the caller has entered its context."""
        cdef PyObject* out
        cdef Outcome outcome
        before = swap_current(self._loop, self)
        try:
            outcome = self.step(error, &out)
        finally:
            swap_current(self._loop, before)
        if outcome != OUT_WAITS:
            value = <object>out
            Py_DECREF(value)
            self.scheduler.done(self, outcome, value)
        return 0

    cdef Outcome step(self, object error, PyObject** out) except *:
        """Resume the coroutine, with an error or the pending cancellation thrown into it."""
        cdef Outcome outcome
        self.waiter = None
        if self._must_cancel:
            if not isinstance(error, CancelledError):
                error = self.cancelled_error()
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
            return self.wait_for(yielded, out)
        if outcome == OUT_RETURNED and self._must_cancel:
            # It was cancelled during its last step and returned all the same: asyncio calls that cancelled.
            self._must_cancel = False
            Py_DECREF(<object>out[0])
            error = self.cancelled_error()
            Py_INCREF(error)
            out[0] = <PyObject*>error
            return OUT_RAISED
        return outcome

    cdef Outcome wait_for(self, object yielded, PyObject** out) except *:
        """Go on when the time comes for what the coroutine yielded, with an error when that is nothing to wait for."""
        try:
            if yielded is None:
                self.scheduler.soon(self, None)
                return OUT_WAITS
            try:
                self.hook(yielded)
            except Exception as error:
                self.scheduler.soon(self, error)
        except BaseException as error:          # no memory, a closed loop, Ctrl-C: nothing would ever wake it
            self.give_up()
            Py_INCREF(error)
            out[0] = <PyObject*>error
            return OUT_RAISED
        return OUT_WAITS

    cdef int give_up(self) except -1:
        """Close the coroutine, which can't go on."""
        try:
            self.coro.close()
        except BaseException as error:
            self._loop.call_exception_handler({"message": "a step did not close", "exception": error, "task": self})
        return 0

    cdef int hook(self, object future) except -1:
        """Be called when a future is done. Raises RuntimeError when it is none, or not awaited properly."""
        blocking = getattr(future, "_asyncio_future_blocking", None)
        if blocking is None:
            if hasattr(future, "__next__") and hasattr(future, "send"):
                raise RuntimeError(f"yield was used instead of yield from for a generator in task {self!r}: {future!r}")
            raise RuntimeError(f"Task got bad yield: {future!r}")
        if (future._loop if type(future) is AsyncioFuture else get_loop(future)) is not self._loop:
            raise RuntimeError(f"Task {self!r} got Future {future!r} attached to a different loop")
        if not blocking:
            raise RuntimeError(f"yield was used instead of yield from in task {self!r} with {future!r}")
        if future is self:
            raise RuntimeError(f"Task cannot await on itself: {self!r}")
        future._asyncio_future_blocking = False
        future.add_done_callback(self, context=self.context)
        self.waiter = future
        if self._must_cancel and future.cancel(msg=self._cancel_message):
            self._must_cancel = False
        return 0

    cdef object take_pending_error(self):
        error, self.pending_error = self.pending_error, None
        return error

    cdef int finish(self, Outcome outcome, object value) except -1:
        """The coroutine is over: take over its outcome."""
        if self.state != FUTURE_PENDING:
            return 0
        if outcome == OUT_RETURNED:
            return self.settle(FUTURE_FINISHED, value, None)
        return self.settle(FUTURE_CANCELLED if isinstance(value, CancelledError) else FUTURE_FINISHED, None, value)

    # --- its slot ---------------------------------------------------------------------------------------------------

    def lend_slot(self):
        """Hold none of the executor's slots while the step waits for somebody who is away; returns whether it did.

        Then `reclaim_slot` has to follow, when the wait is over in whatever way.
        """
        return self.scheduler is not None and self.scheduler.lend(self)

    def reclaim_slot(self):
        """Hold a slot again, at once: others may have to wait for one longer than they would have."""
        if self.lent:
            self.scheduler.reclaim(self)

    # --- cancellation -----------------------------------------------------------------------------------------------

    def cancel(self, msg=None):
        """Ask the coroutine to stop: CancelledError is thrown into it at its next step. False when it is done."""
        self.retrieved = True                   # who cancels does not care for the outcome
        if self.state != FUTURE_PENDING:
            return False
        self.touched = True
        self.cancels += 1
        if self.waiter is not None and self.waiter.cancel(msg=msg):
            return True
        self._must_cancel = True
        self._cancel_message = msg
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

    def set_result(self, result):
        """Tasks make their own result: always raises RuntimeError."""
        raise RuntimeError("Task does not support set_result operation")

    def set_exception(self, exception):
        """Tasks make their own result: always raises RuntimeError."""
        raise RuntimeError("Task does not support set_exception operation")

    # --- what it is -------------------------------------------------------------------------------------------------

    def get_coro(self):
        """The coroutine; None when a thread works on the step."""
        return self.coro

    def get_context(self):
        """The contextvars.Context it runs in."""
        return self.context

    def get_name(self):
        """Name for logs: ``flow/step`` inside a flow."""
        if self.name is not None:
            return self.name
        # Not kept: the stand-in of one step is the next one's, too.
        return f"{self.run.plan.flow}/{self.run.plan.items[self.index].id}" if self.run is not None else "Task"

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
    def _num_cancels_requested(self):
        return self.cancels

    def __repr__(self):
        if self.coro is None:
            return f"<{type(self).__name__} {self._state.lower()} name={self.get_name()!r} in a thread>"
        return base_tasks._task_repr(self)

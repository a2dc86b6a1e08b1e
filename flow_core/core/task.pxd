"""`StepTask`: what `asyncio.current_task()` is inside a step, and what is left of a step that suspended."""

from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t

from flow_core.core.run cimport Run


cpdef enum Activity:             # what a task does for its step
    ACTIVITY_ATTEMPT = 0
    ACTIVITY_FALLBACK = 1
    ACTIVITY_COMPENSATION = 2

cdef enum TaskState:
    TASK_PENDING = 0
    TASK_FINISHED = 1
    TASK_CANCELLED = 2

cdef enum Outcome:              # of one step of the coroutine
    OUT_WAITS = 0               # it suspended
    OUT_RETURNED = 1
    OUT_RAISED = 2


cdef class Scheduler:
    """Who steps tasks. The base is the plain one: every wake-up is a turn of the loop, as in asyncio."""
    cdef object loop
    cdef int soon(self, StepTask task, object error) except -1
    cdef int wake(self, StepTask task) except -1
    cdef int done(self, StepTask task, Outcome outcome, object value) except -1


cdef class StepTask:
    # --- whose it is
    cdef Scheduler scheduler
    cdef readonly object _loop
    cdef readonly Run run                            # None: a task of its own
    cdef readonly uint32_t index
    cdef readonly uint8_t activity
    cdef object name                        # None until asked
    # --- the coroutine
    cdef object coro
    cdef object context
    cdef object waiter                      # the future it waits for
    cdef bint bare                          # waits for its turn after a bare yield
    cdef object scolding                    # error to throw at that turn: it yielded something impossible
    cdef bint linked                        # on its run's list of tasks under way
    # --- cancellation
    cdef public bint _must_cancel
    cdef object cancel_message
    cdef int cancels
    cdef bint expired                       # its deadline passed: the cancellation to come is a timeout
    cdef readonly bint detached                      # its execution went on without it: a late outcome is dropped
    cdef int64_t timer                      # handle of its deadline, -1: none
    # --- the outcome
    cdef TaskState state
    cdef object value                       # the result, or the exception
    cdef object callbacks                   # list of (callback, context), None while there are none
    cdef bint retrieved
    cdef bint touched                       # somebody changed it: it can't stand in for the next step
    cdef public object _asyncio_future_blocking
    cdef public bint _log_destroy_pending
    cdef object __weakref__
    # --- list of a run's tasks under way (borrowed pointers)
    cdef void* newer
    cdef void* older

    cdef Outcome step(self, object error, PyObject** out) except *
    cdef Outcome after(self, Outcome outcome, PyObject** out) except *
    cdef Outcome wait_for(self, object yielded) except *
    cdef Outcome scold(self, str message) except *
    cdef int finish(self, Outcome outcome, object value) except -1
    cdef int call_back(self) except -1
    cdef object take_scolding(self)


cdef Outcome send(object coro, PyObject** out) except *
cdef Outcome throw(object coro, object error, PyObject** out) except *
cdef object take_error()
cdef object swap_current(object loop, object task)

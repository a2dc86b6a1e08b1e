"""`StepTask`: what `asyncio.current_task()` is inside a step, and what is left of a step that suspended."""

from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t

from flow_core.core.future cimport Future
from flow_core.core.run cimport Run
from flow_core.core.coroutine cimport Outcome


cpdef enum Activity:             # what a task does for its step
    ACTIVITY_ATTEMPT = 0
    ACTIVITY_FALLBACK = 1
    ACTIVITY_COMPENSATION = 2


cdef class TaskScheduler:
    cdef int soon(self, StepTask task, object error) except -1
    cdef int wake(self, StepTask task, object error) except -1
    cdef int done(self, StepTask task, Outcome outcome, object value) except -1
    cdef bint lend(self, StepTask task) except -1
    cdef int reclaim(self, StepTask task) except -1


cdef class LoopScheduler(TaskScheduler):
    pass


cdef class StepTask(Future):
    # --- whose it is
    cdef TaskScheduler scheduler
    cdef readonly Run run                   # None: a task of its own
    cdef readonly uint32_t index
    cdef readonly uint8_t activity
    cdef object name                        # None: as its step is called
    # --- the coroutine
    cdef object coro                        # None: a thread works on the step
    cdef object context
    cdef object waiter                      # the future it waits for
    cdef object pending_error                    # error to throw at its next turn: it yielded something impossible
    cdef bint linked                        # on its run's list of tasks under way
    cdef bint lent                          # its step's slot is lent to others while it waits for somebody who is away
    # --- cancellation
    cdef public bint _must_cancel
    cdef int cancels
    cdef bint expired                       # its deadline passed: the cancellation to come is a timeout
    cdef readonly bint detached             # its execution went on without it: a late outcome is dropped
    cdef int64_t timer                      # handle of its deadline, -1: none
    # --- list of a run's tasks under way (borrowed pointers)
    cdef void* newer
    cdef void* older

    cdef int resume(self, object error) except -1
    cdef Outcome step(self, object error, PyObject** out) except *
    cdef Outcome after(self, Outcome outcome, PyObject** out) except *
    cdef Outcome wait_for(self, object yielded, PyObject** out) except *
    cdef int give_up(self) except -1
    cdef int hook(self, object future) except -1
    cdef int finish(self, Outcome outcome, object value) except -1
    cdef object take_pending_error(self)

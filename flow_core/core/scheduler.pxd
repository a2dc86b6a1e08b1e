"""`Scheduler`: takes ready steps of runs and steps their coroutines, all from C."""

from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t

from flow_core.core.run cimport Run
from flow_core.core.current_task cimport Seat
from flow_core.core.coroutine cimport Outcome
from flow_core.core.task cimport Activity, StepTask
from flow_core.core.waker cimport Waker


cdef class Scheduler(Waker):
    cdef object context_type            # class of the first argument of operations
    cdef object encode                  # value -> bytes
    cdef list seats                     # one per level of nesting
    cdef int depth

    cdef Seat sit_down(self, Run run)
    cdef int get_up(self, Seat seat) except -1
    cdef int go_along(self, Run run) except -1
    cdef int drive_steps(self, Run run, Seat seat) except -1
    # one step
    cdef int start_other(self, Run run, uint32_t v, Seat seat) except -1
    cdef int call_step(self, Run run, uint32_t v, Activity activity, object value, Seat seat) except -1
    cdef int first_step(self, Run run, uint32_t v, Activity activity, object coro, Seat seat) except -1
    cdef int after_first(
        self, Run run, uint32_t v, Activity activity, Outcome outcome, PyObject* out, Seat seat) except -1

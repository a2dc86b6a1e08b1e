"""`Slots`: how many steps may run at the same time, and who waits."""

from libc.stdint cimport uint32_t

from flow_core.core.ready_queue cimport ReadyQueue
from flow_core.core.run cimport Run
from flow_core.core.task cimport StepTask
from flow_core.core.turns cimport Turns


cdef class Slots:
    cdef Turns turns
    cdef public Py_ssize_t limit        # most steps that run at the same time
    cdef readonly Py_ssize_t running
    cdef Py_ssize_t lent                # slots whose steps wait for somebody who is away
    cdef readonly ReadyQueue blocked    # runs that wait for a free slot (owned references)
    cdef bint contended                 # runs waited for a slot when this turn began

    cdef int take(self, Run run, uint32_t v) except -1
    cdef int free(self, Run run, uint32_t v) except -1
    cdef bint lend(self, StepTask task) except -1
    cdef int reclaim(self, StepTask task) except -1
    cdef int block(self, Run run) except -1
    cdef int unblock(self) except -1

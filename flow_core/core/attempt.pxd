"""`Attempt`: one attempt of one step, seen from inside."""

from libc.stdint cimport int32_t, uint32_t

from flow_core.core.run cimport Run
from flow_core.core.scheduler cimport Scheduler


cdef class Attempt:
    cdef readonly Run run
    cdef readonly uint32_t index
    cdef readonly int activity          # an `Activity` number
    cdef readonly int32_t attempt       # from 1
    cdef public int children            # executions that it has started
    cdef bint revoked

    cdef double limit(self, Scheduler scheduler) except? -1.0

"""`Gate`: outcomes of durable runs, which count when they have been committed."""

from libc.stdint cimport uint32_t

from flow_core.core.task_list cimport Crew
from flow_core.core.run cimport Run


cdef class Gate(Crew):
    cdef int conclude(self, Run run) except -1
    cdef int hold(self, Run run, uint32_t v, object value) except -1
    cdef object drive_on(self, Run run, object failed)

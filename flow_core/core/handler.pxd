"""`Handler`: what the scheduler asks of the engine above it."""

from libc.stdint cimport uint32_t

from flow_core.core.run cimport Run
from flow_core.core.task cimport StepTask


cdef class Handler:
    cdef public object step_held    # an attribute: a method between would be one more call with each durable step
    # --- steps
    cpdef object step_started(self, Run run, uint32_t index)
    cpdef object step_succeeded(self, Run run, uint32_t index)
    cpdef object step_failed(self, Run run, uint32_t index, object error)
    cpdef object activity_ended(self, Run run, uint32_t index, int activity, bint ok, object value)
    cpdef object timeout_error(self, Run run, uint32_t index, object cause)
    cpdef object submit(self, StepTask task, object function, tuple arguments)
    # --- steps of durable executions
    cpdef object step_skipped(self, Run run, uint32_t index)
    cpdef object step_announced(self, Run run, uint32_t index, object value)
    # --- executions
    cpdef object changed(self, Run run)
    cpdef object settled(self, Run run)
    cpdef object ended(self, Run run)
    cpdef object timer(self, object key)
    # --- what operations ask for
    cpdef object client(self, Run run, str kind)
    cpdef object deadline(self, Run run, uint32_t index, int activity)

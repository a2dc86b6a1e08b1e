"""`Waiter`: somebody waits for the end of an execution."""

from flow_core.core.future cimport Promise


cdef class Waiter(Promise):
    cdef int tell(self) except -1
    cdef int call_now(self, object callback, object context) except -1
    cdef int tell_later(self) except -1

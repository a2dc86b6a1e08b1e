"""`RunTable`: the executions of one executor."""

from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from flow_core.core.run cimport Run
from flow_core.core.status_table cimport StatusTable


cdef struct Tenant:                     # of a row
    PyObject* run                       # borrowed; of a live execution, one reference is ours
    uint32_t generation                 # another one in the row: this run is dead


cdef class RunTable:
    cdef readonly StatusTable table
    cdef Tenant* tenants                # by row
    cdef size_t capacity
    cdef readonly object kept           # deque of finished runs that are remembered
    cdef public Py_ssize_t keep
    cdef readonly Py_ssize_t live       # unfinished executions
    cdef public Py_ssize_t bound        # beyond as many of them none starts at once
    cdef uint64_t nonce                 # of generated ids

    cdef PyObject* tenant(self, size_t slot) noexcept
    cdef int add(self, Run run, int lane, uint64_t now) except -1
    cdef int retire(self, Run run) except -1
    cdef int forget(self) except -1

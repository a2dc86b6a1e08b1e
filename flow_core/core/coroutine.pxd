"""Making and stepping coroutines from C, and who is the current task."""

from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t

from flow_core.core.run cimport Run


cdef enum Outcome:              # of one step of a coroutine
    OUT_WAITS = 0               # it suspended
    OUT_RETURNED = 1
    OUT_RAISED = 2

cdef extern from "Python.h":
    ctypedef enum PySendResult:
        PYGEN_RETURN, PYGEN_ERROR, PYGEN_NEXT
    PySendResult PyIter_Send(PyObject* it, PyObject* arg, PyObject** result) noexcept


cdef Outcome outcome_of(PySendResult sent, PyObject** out) except *
cdef Outcome send(object coro, PyObject** out) except *
cdef Outcome throw(object coro, object error, PyObject** out) except *
cdef object swap_current(object loop, object task)
cdef bint somebody_current(object loop) except -1
cdef object coroutine_of(Run run, uint32_t v, object value)
cdef object called_or_error(Run run, uint32_t v, PyObject* called)
cdef object encoded(object value, object encode)
cdef object refuse_output(Run run, uint32_t v, object value)

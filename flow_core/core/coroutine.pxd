"""Stepping coroutines from C, and who is the current task."""

from cpython.ref cimport PyObject


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
cdef object take_error()
cdef object swap_current(object loop, object task)
cdef bint somebody_current(object loop) except -1

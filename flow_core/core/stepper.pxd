"""`Stepper`: a run moved by hand, and the engine's side of it."""

from flow_core.core.run cimport Run


cdef class Stepper:
    cdef readonly Run run

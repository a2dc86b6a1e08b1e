"""The list of a run's tasks under way."""

from flow_core.core.task cimport StepTask


cdef int link(StepTask task) except -1
cdef int unlink(StepTask task) except -1

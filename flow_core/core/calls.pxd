"""What is behind a step, and whether what it gave will do."""

from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t

from flow_core.core.run cimport Run
from flow_core.core.task cimport Activity


cdef tuple call_of(Run run, uint32_t v, Activity activity)
cdef int kind_of(Run run, uint32_t v, Activity activity) except -1
cdef object coroutine_of(Run run, uint32_t v, object value)
cdef object called_or_error(Run run, uint32_t v, PyObject* called)
cdef object encoded(object value, object encode)
cdef object refuse_output(Run run, uint32_t v, object value)

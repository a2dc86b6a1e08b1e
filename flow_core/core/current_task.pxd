"""`CurrentTask`: the task and context that steps share as long as they finish without suspending."""

from cpython.ref cimport PyObject

from flow_core.core.run cimport Run
from flow_core.core.task cimport StepTask, TaskScheduler


cdef extern from *:
    """
    #include <Python.h>
    // Where a contextvars.Context keeps its variables (an immutable map: the pointer changes with every set). The
    // layout has been the same from 3.7 to 3.14; current_task.pyx tries it out at import and goes
    // without it when it does not hold.
    struct FlowContextLayout { PyObject ob_base; PyObject* previous; void* variables; };
    static inline void* flow_context_variables(PyObject* context) {
        return ((struct FlowContextLayout*)context)->variables;
    }
    static inline int flow_has_weakrefs(PyObject* object) {
        Py_ssize_t offset = Py_TYPE(object)->tp_weaklistoffset;
        return offset > 0 && *(PyObject**)((char*)object + offset) != NULL;
    }
    static inline PyObject* flow_current_context(void) { return PyThreadState_Get()->context; }
    """
    void* flow_context_variables(PyObject* context) noexcept nogil
    bint flow_has_weakrefs(PyObject* object) noexcept nogil
    PyObject* flow_current_context() noexcept nogil

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject* object) noexcept nogil


cdef bint LAYOUT_KNOWN


cdef class CurrentTask:
    cdef TaskScheduler scheduler
    cdef object loop
    # --- whose steps run
    cdef Run run
    cdef StepTask task              # the current task, as long as no step keeps it
    cdef Py_ssize_t task_refs       # references to it when nobody else holds one
    cdef object previous            # the current task before
    # --- the context that is entered
    cdef object context
    cdef object origin              # the untouched Context it was copied from
    cdef void* variables            # what it held on entering
    cdef bint entered
    # --- for the next step, when this one keeps its task or its context
    cdef StepTask spare_task
    cdef object spare_context

    cdef int enter(self, Run run) except -1
    cdef int leave(self) except -1
    cdef int reserve(self) except -1
    cdef int hand_over(self) except -1
    cdef int enter_again(self) except -1
    cdef int enter_context(self) except -1
    cdef int prepare_task(self) except -1


cdef object current_context(CurrentTask current)


cdef inline bint current_touched(CurrentTask current) noexcept:
    """Whether the last step left a trace: kept or changed its task, or set a context variable."""
    cdef PyObject* task = <PyObject*>current.task
    return (
        not LAYOUT_KNOWN
        or flow_context_variables(<PyObject*>current.context) != current.variables
        or Py_REFCNT(task) != current.task_refs
        or current.task.touched
        or flow_has_weakrefs(task)
    )

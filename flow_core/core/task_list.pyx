"""The list of a run's tasks that suspended or that a thread works on. It hangs on `Run.tasks` and owns its tasks."""

from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject

from flow_core.core.run cimport Run


cdef int link(StepTask task) except -1:
    """Put a task on its run's list, which owns a reference."""
    cdef Run run = task.run
    task.older, task.newer, task.linked = run.tasks, NULL, True
    if run.tasks is not NULL:
        (<StepTask>run.tasks).newer = <void*>task
    run.tasks = <void*>task
    Py_INCREF(task)
    return 0


cdef int unlink(StepTask task) except -1:
    """Take a task off its run's list."""
    cdef Run run = task.run
    task.linked = False
    if task.newer is not NULL:
        (<StepTask>task.newer).older = task.older
    else:
        run.tasks = task.older
    if task.older is not NULL:
        (<StepTask>task.older).newer = task.newer
    Py_DECREF(task)
    return 0


# --- for the garbage collector: a run's list of tasks

cdef extern from "Python.h":
    ctypedef int (*visitproc)(PyObject*, void*) noexcept
    ctypedef int (*traverseproc)(PyObject*, visitproc, void*) noexcept
    ctypedef int (*inquiry)(PyObject*) noexcept
    ctypedef void (*destructor)(PyObject*) noexcept
    ctypedef struct PyTypeObject:
        traverseproc tp_traverse
        inquiry tp_clear
        destructor tp_dealloc

cdef traverseproc traverse_rest = (<PyTypeObject*>Run).tp_traverse
cdef inquiry clear_rest = (<PyTypeObject*>Run).tp_clear
cdef destructor dealloc_rest = (<PyTypeObject*>Run).tp_dealloc


cdef int _traverse(PyObject* me, visitproc visit, void* arg) noexcept:
    cdef void* at = (<Run>me).tasks
    cdef int stop = 0
    while at is not NULL and stop == 0:
        stop = visit(<PyObject*>at, arg)
        at = (<StepTask>at).older
    return stop or traverse_rest(me, visit, arg)


cdef void _release_tasks(PyObject* me) noexcept:
    # Only a live execution has tasks, and its scheduler holds it: that one is garbage, too, and no timer will ring.
    cdef void* at
    while (<Run>me).tasks is not NULL:
        at = (<Run>me).tasks
        (<Run>me).tasks = (<StepTask>at).older
        (<StepTask>at).linked, (<StepTask>at).timer = False, -1
        Py_DECREF(<object>at)


cdef int _clear(PyObject* me) noexcept:
    _release_tasks(me)
    return clear_rest(me)


cdef void _dealloc(PyObject* me) noexcept:
    _release_tasks(me)                      # others of the cycle may have been cleared first
    dealloc_rest(me)


(<PyTypeObject*>Run).tp_traverse, (<PyTypeObject*>Run).tp_clear = _traverse, _clear
(<PyTypeObject*>Run).tp_dealloc = _dealloc

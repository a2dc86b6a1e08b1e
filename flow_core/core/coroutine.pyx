"""One step of a coroutine, and the registry of current tasks.

Lives here: `send`, `throw` and the differences between Python versions behind them. Does not live here: what the
outcome of a step means (`StepTask`).
"""

from asyncio import tasks

from cpython.ref cimport Py_INCREF

cdef extern from *:
    """
    // The exception in flight as one normalized object with its traceback, which is what is kept and thrown later.
    static PyObject* flow_take_error(void) {
    #if PY_VERSION_HEX >= 0x030C0000
        return PyErr_GetRaisedException();
    #else
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        PyErr_NormalizeException(&type, &value, &traceback);
        if (traceback) PyException_SetTraceback(value, traceback);
        Py_XDECREF(type); Py_XDECREF(traceback);
        return value;
    #endif
    }
    """
    object flow_take_error()

cdef dict current_tasks = getattr(tasks, "_current_tasks", None)    # gone in 3.14: the thread state holds it
cdef object swap_task = getattr(tasks, "_swap_current_task", None)  # since 3.12


cdef object take_error():
    return flow_take_error()


cdef object swap_current(object loop, object task):
    """Make ``task`` (None: nobody) the current task of the loop; returns the one that was."""
    if current_tasks is None:
        return swap_task(loop, task)
    before = current_tasks.get(loop)
    if task is not None:
        current_tasks[loop] = task
    elif before is not None:
        current_tasks.pop(loop, None)
    return before


cdef bint somebody_current(object loop) except -1:
    """Whether a task of the loop is current."""
    return (current_tasks.get(loop) if current_tasks is not None else tasks.current_task(loop)) is not None


cdef Outcome send(object coro, PyObject** out) except *:
    """Step a coroutine. ``out`` gets an owned reference: what it returned, yielded, or raised."""
    out[0] = NULL
    return outcome_of(PyIter_Send(<PyObject*>coro, <PyObject*>None, out), out)


cdef Outcome outcome_of(PySendResult sent, PyObject** out) except *:
    """What a send gave; for an error ``out`` gets the exception."""
    if sent == PYGEN_RETURN:
        return OUT_RETURNED
    if sent == PYGEN_NEXT:
        return OUT_WAITS
    error = flow_take_error()
    Py_INCREF(error)
    out[0] = <PyObject*>error
    return OUT_RAISED


cdef Outcome throw(object coro, object error, PyObject** out) except *:
    """As `send`, with an exception."""
    out[0] = NULL
    try:
        value = coro.throw(error)
    except StopIteration as stop:
        value = stop.value
        Py_INCREF(value)
        out[0] = <PyObject*>value
        return OUT_RETURNED
    except BaseException as raised:
        Py_INCREF(raised)
        out[0] = <PyObject*>raised
        return OUT_RAISED
    Py_INCREF(value)
    out[0] = <PyObject*>value
    return OUT_WAITS

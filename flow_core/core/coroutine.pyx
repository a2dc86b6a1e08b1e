"""Stepping a coroutine, whatever kind of object it is, and the registry of current tasks."""

from asyncio import tasks

from cpython.ref cimport Py_DECREF, Py_INCREF

from flow_core.errors import InvalidStep, PayloadError
from flow_core.model.ids import MAX_PAYLOAD

cdef extern from "Python.h":
    bint PyCoro_CheckExact(PyObject* object) noexcept

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

cdef Py_ssize_t LIMIT = MAX_PAYLOAD
cdef dict current_tasks = getattr(tasks, "_current_tasks", None)    # gone in 3.14: the thread state holds it
cdef object swap_task = getattr(tasks, "_swap_current_task", None)  # since 3.12


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


cdef object coroutine_of(Run run, uint32_t v, object value):
    """What can be stepped, for what a call gave. Raises InvalidStep when that is nothing to wait for."""
    if PyCoro_CheckExact(<PyObject*>value):
        return value
    if hasattr(type(value), "__await__"):
        return _await(value)
    raise InvalidStep(
        f"step {run.plan.items[v].id!r}: {run.plan.items[v].operation} gave {type(value).__name__}, not an awaitable",
        fix="make execute() an async def",
    )


cdef object called_or_error(Run run, uint32_t v, PyObject* called):
    """The same for a raw result, which is stolen; errors are returned: NULL stands for the one in flight."""
    if called is NULL:
        return flow_take_error()
    value = <object>called
    Py_DECREF(value)
    try:
        return coroutine_of(run, v, value)
    except BaseException as error:
        return error


cdef object encoded(object value, object encode):
    """The input of an operation: bytes as they are, anything else as ``encode`` says."""
    return value if type(value) is bytes and len(<bytes>value) <= LIMIT else encode(value)


cdef object refuse_output(Run run, uint32_t v, object value):
    """The error of an operation's output that is not bytes, or too many of them; None when it will do."""
    if type(value) is bytes and len(<bytes>value) <= LIMIT:
        return None
    step = run.plan.items[v]
    where = {"flow": run.plan.flow, "step": step.id}
    if type(value) is bytes:
        return PayloadError(
            f"output of step {step.id!r} is {len(value)} bytes, the limit MAX_PAYLOAD is {LIMIT}",
            fix="store it elsewhere and return a reference", **where,
        )
    return PayloadError(
        f"step {step.id!r}: {step.operation} returned {type(value).__name__}, not bytes",
        fix="encode the result, or use a LocalOperation", **where,
    )


async def _await(awaitable):
    return await awaitable

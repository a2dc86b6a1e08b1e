"""Calls: the callable behind a step, the coroutine it gave, the output of an operation.

Lives here: what is asked of a callable that is not the plain coroutine function of the hot path, with the errors of
those that don't keep to it. Does not live here: calling (`Scheduler`).
"""

from cpython.ref cimport Py_DECREF

from flow_core.core.plan cimport StepSpec
from flow_core.core.coroutine cimport take_error
from flow_core.core.task cimport ACTIVITY_ATTEMPT

from flow_core.errors import InvalidStep, PayloadError
from flow_core.model.ids import MAX_PAYLOAD

cdef extern from "Python.h":
    bint PyCoro_CheckExact(PyObject* object) noexcept

cdef Py_ssize_t LIMIT = MAX_PAYLOAD


cdef tuple call_of(Run run, uint32_t v, Activity activity):
    """(kind, arity, callable) for an attempt, a fallback or a compensation. Raises InvalidStep when there is none."""
    cdef StepSpec* spec = run.plan.specs + v
    if activity != ACTIVITY_ATTEMPT:
        return run.plan.policies[v].call_of(activity)
    if spec.call is NULL:
        raise InvalidStep(
            f"step {run.plan.items[v].id!r} of flow {run.plan.flow!r}: {run.plan.items[v].operation} has no callable",
            fix="bind its name to a callable in this process: flow.bind(name, function)",
        )
    return spec.kind, spec.arity, <object>spec.call


cdef int kind_of(Run run, uint32_t v, Activity activity) except -1:
    """The `Kind` of what was called."""
    return run.plan.specs[v].kind if activity == ACTIVITY_ATTEMPT else run.plan.policies[v].call_of(activity)[0]


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
        return take_error()
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

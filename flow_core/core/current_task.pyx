"""`CurrentTask`: the current task and the context in which steps run, made once and used by many steps.

A step that finishes without suspending and keeps nothing can't tell whether its task and its context were made for it.
So one stand-in task is registered as current for a whole batch of steps, in one copy of the execution's context; after
each step `current_touched` looks whether the step kept or changed either, and if so the next one gets new ones
(`hand_over`).
"""

import contextvars

cimport cython

from flow_core.core.coroutine cimport swap_current
from flow_core.core.task cimport ACTIVITY_ATTEMPT

cdef extern from "Python.h":
    object PyContext_CopyCurrent()
    object PyContext_Copy(object)
    int PyContext_Enter(object) except -1
    int PyContext_Exit(object) except -1


@cython.final
cdef class CurrentTask:
    """The task that `asyncio.current_task()` gives inside steps, and their context. One for each level of nesting.

    Args:
        scheduler: steps the tasks that are handed over to steps that suspend.
        loop: the event loop.
    """

    def __cinit__(self, TaskScheduler scheduler not None, object loop):
        self.scheduler, self.loop = scheduler, loop
        self.task = StepTask.__new__(StepTask)

    cdef int enter(self, Run run) except -1:
        """From now on the steps of ``run`` run in it."""
        self.run = run
        if self.context is None or self.origin is not run.context:
            self.context = PyContext_Copy(run.context)
            self.origin, self.spare_context = run.context, None
        self.enter_context()
        try:
            self.prepare_task()
            self.previous = swap_current(self.loop, self.task)
        except BaseException:                   # no memory: no step runs in it
            self.entered = False
            PyContext_Exit(self.context)
            raise
        self.task_refs = Py_REFCNT(<PyObject*>self.task)
        return 0

    cdef int leave(self) except -1:
        """The current task and context of before hold again."""
        previous, self.previous = self.previous, None
        if self.entered:
            self.entered = False
            PyContext_Exit(self.context)
        swap_current(self.loop, previous)
        self.task.coro = None                   # last: somebody may wait for the end of the coroutine object
        self.task.run = None
        self.run = None
        return 0

    cdef int reserve(self) except -1:
        """Take the memory for `hand_over`, which then can't fail."""
        if self.spare_context is None:
            self.spare_context = PyContext_Copy(self.origin)
        if self.spare_task is None:
            self.spare_task = StepTask.__new__(StepTask)
        return 0

    cdef int hand_over(self) except -1:
        """The last step keeps its task and its context: new ones lie ready, to be used after `enter_again`."""
        self.reserve()
        if self.entered:
            self.entered = False
            PyContext_Exit(self.context)
        self.context, self.spare_context = self.spare_context, None
        self.task, self.spare_task = self.spare_task, None
        return self.prepare_task()

    cdef int enter_again(self) except -1:
        """Enter again after `hand_over`, for the next step. In a chain of steps that suspend there is none."""
        self.enter_context()
        swap_current(self.loop, self.task)
        self.task_refs = Py_REFCNT(<PyObject*>self.task)
        return 0

    cdef int enter_context(self) except -1:
        PyContext_Enter(self.context)
        self.entered = True
        self.variables = flow_context_variables(<PyObject*>self.context)
        return 0

    cdef int prepare_task(self) except -1:
        self.task._loop = self.loop
        self.task.scheduler = self.scheduler
        self.task.run = self.run
        self.task.context = self.context
        self.task.retrieved = True
        self.task.activity = ACTIVITY_ATTEMPT   # the step before may have compensated
        return 0


cdef object current_context(CurrentTask current):
    """The context of the caller as one that nobody enters: the origin of ``current`` when nothing was set since."""
    cdef PyObject* entered
    if LAYOUT_KNOWN and current is not None and current.origin is not None:
        entered = flow_current_context()
        if entered is not NULL and flow_context_variables(entered) == flow_context_variables(<PyObject*>current.origin):
            return current.origin
    return PyContext_CopyCurrent()


cdef bint _try_layout() except -1:
    """Whether a Context keeps its variables where `flow_context_variables` looks."""
    cdef void* before
    variable = contextvars.ContextVar("flow_core_layout")
    context = contextvars.Context()
    before = flow_context_variables(<PyObject*>context)
    twin = PyContext_Copy(context)
    if flow_context_variables(<PyObject*>twin) != before or before is NULL:
        return False
    context.run(variable.set, 1)
    return flow_context_variables(<PyObject*>context) != before and flow_context_variables(<PyObject*>twin) == before


LAYOUT_KNOWN = _try_layout()

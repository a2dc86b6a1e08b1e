"""`Crew`: the tasks of steps that suspended, or that a thread works on.

Lives here: the list of a run's tasks under way, their deadlines, cancelling them and going on without them. Does not
live here: stepping them (`Scheduler`).
"""

from asyncio import CancelledError

from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject

from flow_core.core.counters cimport counter_bump
from flow_core.core.run_table cimport LATE_OUTCOMES
from flow_core.core.plan cimport FLAG_NO_SLOT, FLAG_TIMEOUT
from flow_core.core.run cimport INTENT_ABORT
from flow_core.core.slab cimport verify
from flow_core.core.status_table cimport ABORTED, FAILURE
from flow_core.core.coroutine cimport OUT_RAISED
from flow_core.core.task cimport ACTIVITY_ATTEMPT

# A cancelled step may take this long (seconds) to clean up before its execution goes on without it.
cdef double GRACE = 1.0


cdef class Crew(Ledger):
    """See the module and `Scheduler`."""

    cdef StepTask new_task(self, Run run, uint32_t v, Activity activity):
        cdef StepTask task = StepTask.__new__(StepTask)
        task._loop, task.scheduler, task.run, task.index = self.loop, self, run, v
        task.activity, task.retrieved = <uint8_t>activity, True
        self.set_deadline(run, v, activity, task)
        return task

    cdef int link(self, StepTask task) except -1:
        """Put a task on its run's list, which owns a reference."""
        cdef Run run = task.run
        task.older, task.newer, task.linked = run.tasks, NULL, True
        if run.tasks is not NULL:
            (<StepTask>run.tasks).newer = <void*>task
        run.tasks = <void*>task
        Py_INCREF(task)
        return 0

    cdef int unlink(self, StepTask task) except -1:
        cdef Run run = task.run
        if not task.linked:
            return 0
        task.linked = False
        if task.newer is not NULL:
            (<StepTask>task.newer).older = task.older
        else:
            run.tasks = task.older
        if task.older is not NULL:
            (<StepTask>task.older).newer = task.newer
        if task.timer >= 0:
            self.timers.cancel_c(task.timer)
            task.timer = -1
        Py_DECREF(task)
        return 0

    cdef int set_deadline(self, Run run, uint32_t v, Activity activity, StepTask task) except -1:
        cdef double timeout
        if run.plan.specs[v].flags & FLAG_TIMEOUT and activity == ACTIVITY_ATTEMPT:
            timeout = run.plan.policies[v].timeout
            self.look()
            task.timer = self.add_timer(timeout, <uint64_t><size_t><PyObject*>task | 1)
        return 0

    def cancel_tasks(self, Run run not None):
        """Cancel every coroutine of a run that is under way; returns the tasks. Threads are only told (`detach`)."""
        cdef StepTask task
        cdef void* at = run.tasks
        found = []
        while at is not NULL:
            task = <StepTask>at
            at = task.older
            found.append(task)
        for task in found:
            if task.coro is not None:
                try:
                    task.cancel()
                except Exception as error:          # of a future that is not asyncio's; the others go on
                    self.loop.call_exception_handler(
                        {"message": "what a step waits for can't be cancelled", "exception": error, "task": task}
                    )
        return found

    def detach(self, StepTask task not None):
        """Go on without a task: its outcome will be dropped and counted."""
        if not task.linked:
            return False
        task.detached = True
        self.unlink(task)
        if task.lent:
            self.reclaim(task)
        self.free_slot(task.run, task.index)
        return True

    cdef bint lend(self, StepTask task) except -1:
        # As many as there are slots at the most: they bound what is under way, and so the memory.
        if task.lent or task.run is None or task.detached or self.lent >= self.limit:
            return False
        self.free_slot(task.run, task.index)
        task.lent = True
        self.lent += 1
        return True

    cdef int reclaim(self, StepTask task) except -1:
        task.lent = False
        self.lent -= 1
        return self.take_slot(task.run, task.index)

    def expire(self, Run run not None, uint32_t index):
        """The time of a step's running attempt is over, whatever its own deadline says."""
        cdef StepTask task
        cdef void* at = run.tasks
        while at is not NULL:
            task = <StepTask>at
            at = task.older
            if task.index == index and task.activity == ACTIVITY_ATTEMPT:
                if task.timer >= 0:
                    self.timers.cancel_c(task.timer)
                self.look()
                self.fire(<uint64_t><size_t><PyObject*>task | 1)
                return True
        return False

    cdef int fire(self, uint64_t token) except -1:
        """A deadline: of a task (bit 0 set: its address, valid because a task that ends cancels its timer) or a key."""
        cdef StepTask task
        if not token & 1:
            self.handler.timer(token >> 1)
            return 0
        task = <StepTask><PyObject*><size_t>(token - 1)
        task.timer = -1
        if task.coro is not None and not task.expired:
            task.expired = True
            task.timer = self.add_timer(GRACE, token)
            task.cancel()
            return 0
        task.expired = True
        self.detach(task)
        self.take_slot(task.run, task.index)        # `detach` freed it, and `ended` will do so again
        return self.end_task(task, OUT_RAISED, None)

    cdef int end_task(self, StepTask task, Outcome outcome, object value) except -1:
        """What a task did for its step is over; its run goes on. None as ``value`` of OUT_RAISED: a timeout."""
        cdef Run run = task.run
        if outcome == OUT_RAISED and task.expired and (value is None or isinstance(value, CancelledError)):
            try:
                value = self.handler.timeout_error(run, task.index, value)
            except BaseException as error:
                value = error
        try:
            self.ended(run, task.index, <Activity>task.activity, outcome, value)
        except BaseException as error:
            self.break_off(run, error)
            raise
        return self.drive(run)

    cdef int tell(self, StepTask task, Outcome outcome, object value) except -1:
        """Whoever waits for a task hears of its end; what is wrong with them is no matter of the step's."""
        try:
            task.finish(outcome, value)
        except BaseException as error:
            self.loop.call_exception_handler(
                {"message": "a callback of a step's task can't be called", "exception": error, "task": task}
            )
        return 0

    cdef int break_off(self, Run run, object error) except -1:
        """The handler raised, or memory ran out, amid a change: what is right is unknown, so the execution ends."""
        if not run.over:
            run.ask(INTENT_ABORT)
            run.abandon_all(ABORTED)
            self.cancel_tasks(run)
            self.finish(run, FAILURE, error)
        return 0

    cdef int drop_tasks(self, Run run) except -1:
        while run.tasks is not NULL:
            self.detach(<StepTask>run.tasks)
        return 0

    cdef int take_slot(self, Run run, uint32_t v) except -1:
        """A step starts: it holds one of the executor's slots, unless it only waits for another execution."""
        if not run.plan.specs[v].flags & FLAG_NO_SLOT:
            self.running += 1
        return 0

    cdef int free_slot(self, Run run, uint32_t v) except -1:
        """A step ended: somebody who is blocked may go on in the coming turn."""
        if not run.plan.specs[v].flags & FLAG_NO_SLOT:
            verify(self.running > 0)
            self.running -= 1
            if not self.blocked.empty():
                self.open_turn()
        return 0

    cdef int done(self, StepTask task, Outcome outcome, object value) except -1:
        """The coroutine (or thread) of a task is over: so is what it did for its step; its run goes on."""
        cdef bint wanted = task.linked
        if task.lent:
            self.reclaim(task)                      # `ended` frees it
        self.unlink(task)
        self.tell(task, outcome, value)
        if wanted:
            return self.end_task(task, outcome, value)
        counter_bump(self.cells, LATE_OUTCOMES)
        return 0

    cdef int begin_turn(self) except -1:
        Ledger.begin_turn(self)
        return self.raise_fatal()                   # of a fallback or a compensation

    cdef int raise_fatal(self) except -1:
        if self.fatal is not None:
            error, self.fatal = self.fatal, None
            raise error
        return 0

    def post_outcome(self, StepTask task not None, bint ok, object value):
        """From any thread: the function of a task returned (or raised) ``value``."""
        task.value = (ok, value)
        self.post(task)

    # --- what the scheduler does -----------------------------------------------------------------------------------------

    cdef int ended(self, Run run, uint32_t v, Activity activity, Outcome outcome, object value) except -1:
        """An attempt (or fallback, or compensation) is over."""
        raise NotImplementedError

    cdef int drive(self, Run run) except -1:
        """Start what is ready."""
        raise NotImplementedError


# --- for the garbage collector: a run's list of tasks, as in the ledger

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

"""`Crew`: the tasks of steps that suspended, or that a thread works on.

Lives here: the list of a run's tasks under way, their deadlines, cancelling them and going on without them. Does not
live here: stepping them (`Driver`).
"""

from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject

from flow_core.core.plan cimport FLAG_NO_SLOT, FLAG_TIMEOUT
from flow_core.core.stepping cimport OUT_RAISED
from flow_core.core.task cimport ACTIVITY_ATTEMPT

# A cancelled step may take this long (seconds) to clean up before its execution goes on without it.
cdef double GRACE = 1.0


cdef class Crew(Ledger):
    """See the module and `Driver`."""

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
            task.timer = self.timers.add_c(self.now + timeout, <uint64_t><size_t><PyObject*>task | 1)
            self.arm()
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
                task.cancel()
        return found

    def detach(self, StepTask task not None):
        """Go on without a task: its outcome will be dropped and counted."""
        if not task.linked:
            return False
        task.detached = True
        self.unlink(task)
        self.free_slot(task.run, task.index)
        return True

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
            task.timer = self.timers.add_c(self.now + GRACE, token)
            self.arm()
            task.cancel()
            return 0
        run, error = task.run, self.handler.timeout_error(task.run, task.index, None)
        self.detach(task)
        self.take_slot(run, task.index)             # `detach` freed it, and `ended` will do so again
        self.ended(run, task.index, <Activity>task.activity, OUT_RAISED, error)
        return self.drive(run)

    cdef int take_slot(self, Run run, uint32_t v) except -1:
        """A step starts: it holds one of the executor's slots, unless it only waits for another execution."""
        if not run.plan.specs[v].flags & FLAG_NO_SLOT:
            self.running += 1
        return 0

    cdef int free_slot(self, Run run, uint32_t v) except -1:
        """A step ended: somebody who is blocked may go on in the coming turn."""
        if not run.plan.specs[v].flags & FLAG_NO_SLOT:
            self.running -= 1
            if not self.blocked.empty():
                self.open_turn()
        return 0

    # --- what the driver does -----------------------------------------------------------------------------------------

    cdef int ended(self, Run run, uint32_t v, Activity activity, Outcome outcome, object value) except -1:
        """An attempt (or fallback, or compensation) is over."""
        raise NotImplementedError

    cdef int drive(self, Run run) except -1:
        """Start what is ready."""
        raise NotImplementedError

"""`Waker`: steps that suspended go on, and after them whoever waits for the ends of their executions.

Lives here: what a turn does with its work, what the loop does when a future that a step waits for is done, and telling
those who wait. Does not live here: when turns come (`Pacer`), what follows from the outcome of a step (`Scheduler`).
"""

from libc.stdint cimport uint64_t

from flow_core.core.counters cimport counter_bump
from flow_core.core.run_table cimport LATE_OUTCOMES
from flow_core.core.run cimport Run
from flow_core.core.coroutine cimport OUT_RAISED, OUT_RETURNED, somebody_current
from flow_core.core.task cimport Scheduler, StepTask
from flow_core.core.waiter cimport Waiter

cdef extern from "Python.h":
    int PyContext_Enter(object) except -1
    int PyContext_Exit(object) except -1


cdef class Waker(Gate):
    """See the module and `Scheduler`."""

    cdef int work(self, object item, uint64_t tag) except -1:
        """A turn takes a run (tag 0) or a task up."""
        cdef StepTask task
        self.telling = True
        if tag == 0:
            (<Run>item).parked = False
            self.called = True
            try:
                return self.drive(<Run>item)
            finally:
                if self.running < self.limit and not self.blocked.empty():
                    self.open_turn()                # it left a slot free, for whoever waits
        task = <StepTask?>item
        if task.coro is None:                       # a thread is done with it
            if not task.linked:                     # and its run went on without it
                counter_bump(self.cells, LATE_OUTCOMES)
                return 0
            ok, value = task.value
            return self.done(task, OUT_RETURNED if ok else OUT_RAISED, value)
        PyContext_Enter(task.context)
        try:
            Scheduler.wake(self, task, task.take_scolding())
        finally:
            PyContext_Exit(task.context)
        return 0

    cdef int soon(self, StepTask task, object error) except -1:
        task.scolding = error
        return self.enqueue(task, 1, 1 if task.run is None else task.run.row.lane)

    cdef int wake(self, StepTask task, object error) except -1:
        """A future that a task waits for is done, or somebody calls the task by hand."""
        if not (task.linked or task.detached):
            return 0                                # called by hand during its first step
        self.enter_turn()
        if self.telling or self.turning or somebody_current(self.loop):
            return Scheduler.wake(self, task, error)
        self.telling = True
        try:
            return Scheduler.wake(self, task, error)
        finally:
            self.worked()

    cdef int worked(self) except -1:
        """Let those go on whose executions ended in the callback of the loop that is about to return."""
        cdef list waiters
        failed = None
        while self.waiters:
            waiters, self.waiters = self.waiters, []
            for waiter in waiters:
                try:
                    (<Waiter>waiter).tell()
                except BaseException as error:      # no memory: the others still hear of it
                    failed = failed or error
        self.telling = False
        if failed is not None:
            raise failed
        return 0

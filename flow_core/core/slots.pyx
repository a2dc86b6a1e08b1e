"""`Slots`: each step that runs holds one of the executor's slots, unless it only waits for another execution.

A step that waits for somebody who is away can lend its slot to others for that time. Executions that find no slot free
wait in lanes, and get the slots that become free at the beginning of a turn, one each.
"""

cimport cython
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport uint64_t

from flow_core.core.plan cimport FLAG_NO_SLOT
from flow_core.core.run cimport verify


@cython.final
@cython.no_gc_clear     # see the end of scheduler.pyx
cdef class Slots:
    """The slots of one executor.

    Args:
        turns: get the runs that go on because a slot is free.
        limit: most steps that run at the same time.
    """

    def __cinit__(self, Turns turns not None, Py_ssize_t limit):
        self.turns, self.limit = turns, limit
        self.blocked = ReadyQueue(4, 2)

    cdef int take(self, Run run, uint32_t v) except -1:
        """A step starts."""
        if not run.plan.specs[v].flags & FLAG_NO_SLOT:
            self.running += 1
        return 0

    cdef int free(self, Run run, uint32_t v) except -1:
        """A step ended: somebody who is blocked may go on in the coming turn."""
        if not run.plan.specs[v].flags & FLAG_NO_SLOT:
            verify(self.running > 0)
            self.running -= 1
            if not self.blocked.empty():
                self.turns.open_next()
        return 0

    cdef bint lend(self, StepTask task) except -1:
        """Free the slot of a task that waits; False when it has none to lend."""
        # As many as there are slots at the most: they bound what is under way, and so the memory.
        if task.lent or task.run is None or task.detached or self.lent >= self.limit:
            return False
        self.free(task.run, task.index)
        task.lent = True
        self.lent += 1
        return True

    cdef int reclaim(self, StepTask task) except -1:
        """Take a slot for a task that lent its own, at once."""
        task.lent = False
        self.lent -= 1
        return self.take(task.run, task.index)

    cdef int block(self, Run run) except -1:
        """The run goes on when a slot is free."""
        if not run.parked:
            self.blocked.push_c(<uint64_t><size_t><PyObject*>run, run.row.lane)
            Py_INCREF(run)
            run.parked = True
            if self.running < self.limit:
                self.turns.open_next()
        return 0

    cdef int unblock(self) except -1:
        """Give free slots to runs that wait for one, in the order of their lanes."""
        cdef uint64_t word
        cdef Py_ssize_t free = self.limit - self.running
        self.contended = not self.blocked.empty()
        while free > 0 and self.blocked.pop_c(&word):
            free -= 1
            run = <Run><PyObject*><size_t>word
            Py_DECREF(run)
            (<Run>run).parked = False
            self.turns.enqueue(run, 0, (<Run>run).row.lane)
            (<Run>run).parked = True
        return 0

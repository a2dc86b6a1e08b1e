"""`Gate`: a step of a durable run succeeded, and nothing follows from it before its outcome has been committed.

The step stays RUNNING with its output in the slab and the mark HELD; the handler gets the outcome to write, and says
`release` when it is written. A million steps may be held at once: there is no object for any of them here.

Lives here: the end of a run all of whose steps have ended, holding and releasing outcomes. Does not live here: writing
(floor 2), moves that are not plain success: for those the handler counts `Run.holds` up and down, and the scheduler starts
nothing meanwhile.
"""

from cpython.ref cimport Py_INCREF, PyObject

from flow_core.core.run cimport INTENT_RUN
from flow_core.core.slab cimport HELD, run_output, run_succeed, verify
from flow_core.core.status_table cimport PAUSED, RUNNING, SUCCESS


cdef class Gate(Crew):
    """See the module and `Scheduler`."""

    cdef int conclude(self, Run run) except -1:
        """Every step has ended: so does the execution, when nothing but plain success happened and nothing is left."""
        if run.tasks is NULL and not run.over and run.row.status != PAUSED:
            if run.machine is None and run.row.failed == 0 and not run.doomed and (run.ending or not run.durable):
                self.finish(run, SUCCESS)
            else:
                self.handler.settled(run)
        return 0

    cdef int hold(self, Run run, uint32_t v, object value) except -1:
        """An attempt of a running step gave ``value``.

        When nothing else of a plain run is left, its end is certain and can be written in the same commit: the handler
        is told so. It raises when the value can't be written: the attempt has failed then.
        """
        cdef bint last
        verify(run.steps[v].status == RUNNING and run.steps[v].apart == 0)
        Py_INCREF(value)
        run_output(run, v, <PyObject*>value)
        run.steps[v].apart = HELD
        run.held += 1
        last = (
            run.held == run.left and run.machine is None and run.holds == 0 and run.row.failed == 0
            and run.row.intent == INTENT_RUN
        )
        try:
            self.handler.step_held(run, v, value, 1 + run.steps[v].retries, run.steps[v].started, self.now, last)
        except BaseException as error:
            run.steps[v].apart = 0
            run.held -= 1
            run_output(run, v, NULL)
            self.handler.step_failed(run, v, error)
            return 0
        run.ending = last
        return 0

    def reserve(self, Run run not None, uint32_t index):
        """A step that was announced keeps its slot while that is on its way; `give_back` it before it starts."""
        self.refuse_foreign(run)
        self.take_slot(run, index)

    def give_back(self, Run run not None, uint32_t index):
        """The slot that `reserve` took is free again."""
        self.refuse_foreign(run)
        self.free_slot(run, index)

    def release(self, list outcomes):
        """These outcomes are committed: the steps have succeeded, and their runs go on.

        Args:
            outcomes: run, index, run, index, ...

        Raises:
            the first of what the runs raise while they go on, when all of them have been released.
        """
        cdef Py_ssize_t at
        cdef uint32_t v
        cdef PyObject* value
        cdef Run run, before = None
        cdef object failed = None
        self.open_turn()
        for at in range(0, len(outcomes), 2):
            run, v = <Run?>outcomes[at], outcomes[at + 1]
            self.refuse_foreign(run)
            if run.over or v >= run.count or run.steps[v].apart != HELD:
                continue                            # it ended without its store: others go on with it
            if before is not None and before is not run:
                failed = self.drive_on(before, failed)
            before = run
            run.steps[v].apart = 0
            run.held -= 1
            value = run.steps[v].output
            run.steps[v].output = NULL
            run.now = self.now
            run_succeed(run, v, value)
        if before is not None:
            failed = self.drive_on(before, failed)
        if failed is not None:
            raise failed

    cdef object drive_on(self, Run run, object failed):
        """Drive a run; returns the first error, because that of one run must not hold up the others."""
        try:
            self.drive(run)
        except BaseException as error:
            return error if failed is None else failed
        return failed

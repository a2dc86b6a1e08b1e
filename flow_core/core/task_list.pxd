"""`Crew`: the tasks of steps that suspended, or that a thread works on."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from flow_core.core.run_table cimport Ledger
from flow_core.core.run cimport Run
from flow_core.core.coroutine cimport Outcome
from flow_core.core.task cimport Activity, StepTask


cdef class Crew(Ledger):
    cdef Py_ssize_t lent                # slots whose steps wait for somebody who is away

    cdef object fatal                   # KeyboardInterrupt or SystemExit of a step, raised when the batch is over

    cdef StepTask new_task(self, Run run, uint32_t v, Activity activity)
    cdef int link(self, StepTask task) except -1
    cdef int unlink(self, StepTask task) except -1
    cdef int raise_fatal(self) except -1
    cdef int tell(self, StepTask task, Outcome outcome, object value) except -1
    cdef int end_task(self, StepTask task, Outcome outcome, object value) except -1
    cdef int break_off(self, Run run, object error) except -1
    cdef int set_deadline(self, Run run, uint32_t v, Activity activity, StepTask task) except -1
    cdef int take_slot(self, Run run, uint32_t v) except -1
    cdef int free_slot(self, Run run, uint32_t v) except -1
    # what the scheduler does
    cdef int ended(self, Run run, uint32_t v, Activity activity, Outcome outcome, object value) except -1
    cdef int drive(self, Run run) except -1

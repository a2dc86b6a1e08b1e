"""`Scheduler`: takes ready steps of runs and steps their coroutines, all from C."""

from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from flow_core.core.coroutine cimport Outcome
from flow_core.core.counters cimport Cell, Counters
from flow_core.core.current_task cimport CurrentTask
from flow_core.core.handler cimport Handler
from flow_core.core.run cimport Run
from flow_core.core.run_table cimport RunTable
from flow_core.core.slots cimport Slots
from flow_core.core.task cimport Activity, StepTask, TaskScheduler
from flow_core.core.turns cimport Turns


cdef enum Count:                        # places in Scheduler.counters
    EXECUTIONS_STARTED = 0
    EXECUTIONS_ENDED = 1
    STEPS_ENDED = 2
    STEPS_SUSPENDED = 3
    LATE_OUTCOMES = 4


cdef class Scheduler(TaskScheduler):
    # --- what it is made of
    cdef readonly Turns turns
    cdef readonly RunTable runs
    cdef readonly Slots slots
    cdef readonly Handler handler       # floor 2: hears of everything that is not plain
    cdef object loop
    cdef object run_type                # class of the runs it makes
    cdef object context_type            # class of the first argument of operations
    cdef object encode                  # value -> bytes
    cdef public object tracer           # makes the `trace` of each new run; None: nobody wants to hear of steps
    cdef public bint notify             # the handler wants to hear of every end, not only of watched runs
    # --- what happened so far; the loop's thread writes, any thread reads
    cdef readonly Counters counters
    cdef Cell* cells
    # --- what is going on
    cdef list currents                  # a `CurrentTask` per level of nesting
    cdef int depth
    cdef bint called                    # the run that is driven next waited for a turn, and now it is its turn
    cdef object fatal                   # KeyboardInterrupt or SystemExit of a step, raised when the batch is over
    cdef list ends                      # futures of executions that ended, to be told when the work at hand is done
    cdef bint telling                   # that is now; else they are told in the next turn of the loop
    cdef bint whole                     # the constructor is through

    # --- executions
    cpdef Run prepare(
        self, plan, request, object options=?, Py_ssize_t limit=?, int lane=?, int depth=?, object name=?,
        object caller=?, object parent=?)
    cdef Run new_run(self, object plan, object request, object options, int lane)
    cdef int refuse_foreign(self, Run run) except -1
    cdef int park(self, Run run) except -1
    cdef int conclude(self, Run run) except -1
    cdef int break_off(self, Run run, object error) except -1
    cdef int hold(self, Run run, uint32_t v, object value) except -1
    cdef object drive_on(self, Run run, object failed)
    # --- turns
    cdef int work(self, object item, uint64_t tag) except -1
    cdef int worked(self) except -1
    cdef int raise_fatal(self) except -1
    cdef int fire(self, uint64_t token) except -1
    # --- driving
    cdef int drive(self, Run run) except -1
    cdef int go_along(self, Run run) except -1
    cdef CurrentTask enter(self, Run run)
    cdef int leave(self, CurrentTask current) except -1
    cdef int drive_steps(self, Run run, CurrentTask current) except -1
    # --- one step
    cdef int start_other(self, Run run, uint32_t v, CurrentTask current) except -1
    cdef int call_step(self, Run run, uint32_t v, Activity activity, object value, CurrentTask current) except -1
    cdef int first_step(self, Run run, uint32_t v, Activity activity, object coro, CurrentTask current) except -1
    cdef int after_first(
        self, Run run, uint32_t v, Activity activity, Outcome outcome, PyObject* out, CurrentTask current) except -1
    cdef int step_over(self, Run run, uint32_t v, Activity activity, Outcome outcome, object value) except -1
    # --- tasks of steps that suspended
    cdef StepTask new_task(self, Run run, uint32_t v, Activity activity)
    cdef int set_deadline(self, Run run, uint32_t v, Activity activity, StepTask task) except -1
    cdef int take_off(self, StepTask task) except -1
    cdef int tell(self, StepTask task, Outcome outcome, object value) except -1
    cdef int end_task(self, StepTask task, Outcome outcome, object value) except -1

"""`Ledger`: the executions of one executor."""

from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from flow_core.core.counters cimport Cell, Counters
from flow_core.core.turns cimport Pacer
from flow_core.core.ready_queue cimport ReadyQueue
from flow_core.core.run cimport Run
from flow_core.core.status_table cimport StatusTable


cdef enum Count:                        # places in Ledger.counters
    EXECUTIONS_STARTED = 0
    EXECUTIONS_ENDED = 1
    STEPS_ENDED = 2
    STEPS_SUSPENDED = 3
    LATE_OUTCOMES = 4


cdef struct Tenant:                     # of a slot
    PyObject* run                       # borrowed; of a live execution, one reference is ours
    uint32_t generation                 # another one in the row: this run is dead


cdef class Ledger(Pacer):
    cdef readonly object handler        # floor 2: hears of everything that is not plain, see scheduler.pyx
    cdef public object tracer           # makes the `trace` of each new run; None: nobody wants to hear of steps
    cdef object run_type                # class of the runs it makes
    # --- executions
    cdef readonly StatusTable table
    cdef Tenant* runs                   # by slot
    cdef size_t capacity
    cdef readonly object kept           # deque of finished runs that are remembered
    cdef public Py_ssize_t keep
    cdef readonly Py_ssize_t live       # unfinished executions
    cdef public Py_ssize_t bound        # beyond as many of them none starts at once
    cdef uint64_t nonce                 # of generated ids
    # --- limits
    cdef public Py_ssize_t limit        # most steps that run at the same time
    cdef readonly Py_ssize_t running
    cdef readonly ReadyQueue blocked    # runs that wait for a free slot (owned references)
    cdef bint contended                 # runs waited for a slot when this turn began
    cdef bint called                    # the run that is driven next waited, and now it is its turn
    cdef public bint notify             # the handler wants to hear of every end, not only of watched runs
    # --- who waits for the ends that the work at hand brings
    cdef list waiters
    cdef bint telling                   # they are told when it is done, else in the next turn of the loop
    # --- what happened so far; the loop's thread writes, any thread reads
    cdef readonly Counters counters
    cdef Cell* cells
    cdef bint whole                     # the constructors are through

    cdef PyObject* tenant(self, size_t slot) noexcept
    cdef int refuse_foreign(self, Run run) except -1
    cdef int drop_tasks(self, Run run) except -1
    cpdef Run prepare(self, plan, request, object options=?, Py_ssize_t limit=?, int lane=?, int depth=?)
    cdef Run new_run(self, object plan, object request, object options, int lane)
    cdef object context_of_caller(self)
    cdef int park(self, Run run) except -1
    cdef int block(self, Run run) except -1

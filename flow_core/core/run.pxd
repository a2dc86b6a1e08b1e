"""One execution: a slab of counters, queue, statuses, times and outputs."""

from cpython.ref cimport PyObject, Py_DECREF, Py_INCREF
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from libcpp.vector cimport vector

from flow_core.core.graph cimport Graph
from flow_core.core.plan cimport Plan
from flow_core.core.status_table cimport (
    ABORTED, ExecutionRow, FAILURE, PENDING, RUNNING, SKIPPED, STOPPED, SUCCESS, StatusTable, UNKNOWN,
)

cpdef enum Intent:           # what was asked for; other threads may set it, the driver reads it before each start
    INTENT_RUN = 0
    INTENT_PAUSE = 1
    INTENT_ABORT = 2
    INTENT_STOP = 3


cdef class Run:
    # --- what it runs
    cdef readonly Plan plan
    cdef readonly object request
    cdef readonly object options            # ExecuteOptions of floor 2, or None
    # --- the slab, one block of n rows
    cdef void* slab
    cdef double* started                    # loop time, 0: it has not
    cdef double* ended
    cdef PyObject** results                 # owned; NULL: no output
    cdef int32_t* waiting                   # predecessors that have not ended
    cdef uint32_t* ready                    # ring of steps whose turn it is
    cdef uint8_t* status
    cdef uint16_t* attempts                 # NULL until a step runs twice
    # --- the ring and the counters
    cdef uint32_t count, head, queued, left # left: steps that have not ended
    cdef ExecutionRow own                   # used when no table lends a row
    cdef ExecutionRow* row
    cdef double now                         # loop time, as of the driver's last look
    # --- what floor 2 hangs on it
    cdef public object machine              # sans-IO policy, made when something is not plain
    cdef readonly object failure            # exception that decided the end
    cdef object waiters                     # futures to wake at the end
    cdef object context                     # contextvars every step starts from
    cdef readonly object driver
    cdef PyObject* table                    # whose row it has; owned, and out of the garbage collector's reach
    cdef void* tasks                        # list of StepTasks under way, newest first (borrowed)
    cdef int64_t slot                       # row in the table, -1: none
    cdef readonly uint32_t limit                     # most steps running at the same time
    cdef public object name                 # id given by the caller, None: the generated one
    cdef public object parent               # the run of the step that started it
    cdef public int depth                   # nesting: 0 is started from outside
    cdef readonly bint doomed                        # a step failed for good: only join="done" steps start
    cdef bint watched                       # somebody wants to hear of every transition
    cdef bint parked                        # waits in the driver's queue
    cdef readonly bint over                  # the execution is over

    cdef int prepare(self, Plan plan, object request) except -1
    cdef int settle(self, uint32_t v, bint ok) except -1
    cdef void mark_skipped(self, uint32_t v, vector[uint32_t]* skipped)
    cdef int end(self, uint32_t v, uint8_t status) except -1
    cdef uint32_t index_of(self, object index, int status) except? 0xFFFFFFFF
    cdef uint32_t attempt_of(self, uint32_t v) noexcept
    cdef object input_of(self, uint32_t v)
    cdef object value_from(self, uint32_t v, object wanted)
    cdef object outside(self, uint32_t v, str name)


cdef inline void run_push(Run run, uint32_t v) noexcept:
    cdef uint32_t at = run.head + run.queued
    if at >= run.plan.n:
        at -= run.plan.n
    run.ready[at] = v
    run.queued += 1


cdef inline uint32_t run_pop(Run run) noexcept:
    cdef uint32_t v = run.ready[run.head]
    run.head += 1
    if run.head == run.plan.n:
        run.head = 0
    run.queued -= 1
    return v


cdef inline void run_output(Run run, uint32_t v, PyObject* value) noexcept:
    """Keep an output; steals the reference."""
    cdef PyObject* old = run.results[v]
    run.results[v] = value
    if old is not NULL:
        Py_DECREF(<object>old)


cdef inline int run_succeed(Run run, uint32_t v, PyObject* value) except -1:
    """A running step succeeded: keep its output (the reference is stolen), release its successors."""
    cdef Graph g = run.plan.graph
    cdef uint32_t k, s
    run_output(run, v, value)
    run.status[v] = SUCCESS
    run.row.succeeded += 1
    run.row.running -= 1
    run.left -= 1
    if run.doomed or not run.plan.uniform:
        return run.settle(v, True)
    for k in range(g.succ_ptr[v], g.succ_ptr[v + 1]):
        s = g.succ[k]
        run.waiting[s] -= 1
        if run.waiting[s] == 0:
            run_push(run, s)
    return 0

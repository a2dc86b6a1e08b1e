"""`Run`: one execution as integers in one block, and what follows when a step ends."""

from cpython.ref cimport PyObject, Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libcpp.vector cimport vector

from flow_core.core.plan cimport Plan, StepSpec, StepState
from flow_core.core.status_table cimport (
    ABORTED, ExecutionRow, FAILURE, PENDING, RUNNING, SKIPPED, STOPPED, SUCCESS, UNKNOWN,
)


cdef extern from *:
    """
    // The empty asm keeps GCC from dropping a function that only prefetches as one without effect.
    static inline void flow_prefetch(const void* address) { __builtin_prefetch(address); __asm__ volatile(""); }
    // With FLOW_DEBUG=1 a broken invariant ends the process where it breaks; else this is nothing.
    #ifndef FLOW_DEBUG
    #define FLOW_DEBUG 0
    #endif
    #define FLOW_VERIFY(what) (!FLOW_DEBUG || (what) ? (void)0 : Py_FatalError("flow_core: " #what))
    """
    const bint FLOW_DEBUG
    void verify "FLOW_VERIFY"(bint what) noexcept nogil
    void prefetch "flow_prefetch"(const void* address) noexcept nogil


cdef enum:
    FILL = 1 << 16          # rows filled in one turn, some 2 MB

cdef enum:                  # StepState.parked_for: why a step is in none of the queues; 0 for no reason
    WAITS_FOR_RETRY = 1     # PENDING until its timer rings
    HELD = 2                # RUNNING until its outcome has been committed

cpdef enum Intent:          # what was asked for; other threads may set it, the scheduler reads it before each start
    INTENT_RUN = 0
    INTENT_PAUSE = 1
    INTENT_ABORT = 2
    INTENT_STOP = 3


cdef class Run:
    # --- what it runs
    cdef readonly Plan plan
    cdef readonly object request            # the input of the roots
    # --- the block
    cdef StepState* steps                   # count rows
    cdef uint32_t* ready                    # ring of steps whose turn it is
    cdef const uint32_t* succ               # of the graph
    # --- the ring and the counters
    cdef uint32_t count, head, queued, left  # left: steps that have not ended
    cdef uint32_t filled                    # rows that are ready for use, all of them once the first step starts
    cdef ExecutionRow own                   # used when no table lends a row
    cdef ExecutionRow* row
    cdef double now                         # loop time, as of the scheduler's last look
    cdef bint failing                       # a step failed for good: only join="done" steps start
    # --- what floor 2 hangs on it
    cdef readonly object options            # ExecuteOptions, or None
    cdef object machine                     # sans-IO policy, made when something is not plain
    cdef object name                        # id given by the caller, None: the generated one
    cdef readonly object parent             # the run of the step that started it
    cdef object caller                      # the context of that step
    cdef object past                        # list of moves that this row forgets; None: there are none
    cdef object trace                       # what hears of each of its steps, made at its start; None: nobody
    cdef object events                      # set of events, one per iterator over its moves; None: nobody ever watched
    cdef object own_steps                   # encoded steps of a durable run without a registered flow; None: others
    cdef int others                         # callers beside the first who asked for it by its id
    cdef int depth                          # nesting: 0 is started from outside
    # --- the scheduler's
    cdef object scheduler
    cdef object context                     # contextvars every step starts from
    cdef object failure                     # exception that decided the end
    cdef object rpc                         # the client of its calls, once one was made
    cdef object waiters                     # futures to wake at the end
    cdef void* tasks                        # list of StepTasks under way, newest first; owned references
    cdef PyObject* table                    # whose row it has; owned, and out of the garbage collector's reach
    cdef int64_t slot                       # row in the table, -1: none
    # --- of a durable run: what happened has to be committed before anything follows from it
    cdef bint durable
    cdef bint ending                        # its last outcomes and its end are on their way to the store
    cdef uint32_t held                      # steps whose outcome is on its way; RUNNING until it has arrived
    cdef int holds                          # moves of its machine that are on their way: no step starts meanwhile
    cdef uint32_t limit                     # most steps running at the same time
    cdef bint watched                       # somebody wants to hear when it went on
    cdef bint parked                        # waits in one of the scheduler's queues
    cdef readonly bint over                 # the execution is over

    cdef int prepare(self, Plan plan, object request) except -1
    cdef int fill(self, uint32_t more) noexcept
    cdef int settle(self, uint32_t v, bint ok) except -1
    cdef void mark_skipped(self, uint32_t v, vector[uint32_t]* skipped)
    cdef int end(self, uint32_t v, uint8_t status) except -1
    cdef uint32_t index_of(self, object index, int status) except? 0xFFFFFFFF
    cdef int abandon_rest(self, uint8_t status) except -1
    cdef int check_all(self) except -1
    cdef object output_of(self, uint32_t v)
    cdef object input_of(self, uint32_t v)
    cdef object value_from(self, uint32_t v, object wanted)
    cdef object outside(self, uint32_t v, str name)


cdef inline void run_push(Run run, uint32_t v) noexcept:
    cdef uint32_t at = run.head + run.queued
    if at >= run.count:
        at -= run.count
    verify(run.queued < run.count)
    run.ready[at] = v
    run.queued += 1


cdef inline uint32_t run_pop(Run run) noexcept:
    cdef uint32_t v = run.ready[run.head]
    verify(run.queued > 0 and v < run.count)
    run.head += 1
    if run.head == run.count:
        run.head = 0
    run.queued -= 1
    return v


cdef inline void run_output(Run run, uint32_t v, PyObject* value) noexcept:
    """Keep an output; steals the reference."""
    cdef PyObject* old = run.steps[v].output
    run.steps[v].output = value
    if old is not NULL:
        Py_DECREF(<object>old)


cdef inline int run_succeed(Run run, uint32_t v, PyObject* value) except -1:
    """A running step succeeded: keep its output (the reference is stolen), release its successors."""
    cdef StepSpec* spec = run.plan.specs + v
    cdef uint32_t k, s
    verify(run.steps[v].status == RUNNING and run.row.running > 0 and run.left > 0)
    run_output(run, v, value)
    run.steps[v].status = SUCCESS
    run.row.succeeded += 1
    run.row.running -= 1
    run.left -= 1
    if run.failing or not run.plan.uniform:
        return run.settle(v, True)
    for k in range(spec.successors, spec.successors_end):
        s = run.succ[k]
        run.steps[s].waiting -= 1
        if run.steps[s].waiting == 0:
            run_push(run, s)
    return 0


cdef inline void run_prefetch(Run run, const StepSpec* current) noexcept:
    """Ask the memory for what the coming steps will touch: calling a coroutine leaves it time to answer.

    The rows of the step after the next, the successors of the next, and the counters of the current one's successors.
    """
    cdef uint32_t k, at, end
    if run.queued:
        at = run.head + 1 if run.queued > 1 else run.head
        if at == run.count:
            at = 0
        prefetch(run.steps + run.ready[at])
        prefetch(run.plan.specs + run.ready[at])
        prefetch(run.succ + run.plan.specs[run.ready[run.head]].successors)
    end = min(current.successors_end, current.successors + 8)
    for k in range(current.successors, end):
        prefetch(run.steps + run.succ[k])

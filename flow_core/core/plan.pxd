"""The compiled form of one revision: per step, what to call and where its input comes from."""

from cpython.ref cimport PyObject
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t

from flow_core.core.graph cimport Graph


cpdef enum Kind:
    KIND_UNBOUND = 0        # a local operation whose callable is not in this process
    KIND_COROUTINE = 1      # call, get a coroutine, drive it
    KIND_THREAD = 2         # call in the worker pool
    KIND_OPERATION = 3      # Operation.execute(ctx, bytes) -> bytes

cpdef enum Join:
    JOIN_ALL = 0
    JOIN_ANY = 1
    JOIN_DONE = 2

cpdef enum Source:           # where the input comes from, when it is not the output of one step (>= 0)
    FROM_REQUEST = -1
    FROM_PREDECESSORS = -2  # a dict of all predecessors' outputs
    FROM_MAPPING = -3       # a dict as Step.input says, in Plan.mappings
    FROM_OUTSIDE = -4       # an entry of execute(inputs=), its name in Plan.mappings

cpdef enum Flag:
    FLAG_WHEN = 1           # ask a predicate first
    FLAG_TIMEOUT = 2        # an attempt has a deadline
    FLAG_NO_SLOT = 4        # holds no slot of the concurrency limits (it waits for other executions)
    FLAG_ALLOW_FAIL = 8     # its failure counts as an end like any other for its successors
    FLAG_POLICY = 16        # the policy wants to hear of the start and of success, too
    FLAG_ONCE = 32          # delivery="at_most_once": in a durable run each start is committed first

cdef extern from "flow_core/step_state.hpp" namespace "flow" nogil:
    cdef struct StepState:          # of one step in one run
        PyObject* output
        double started, ended
        int32_t waiting
        uint16_t retries
        uint8_t status, parked_for

cdef struct StepSpec:       # 32 bytes
    PyObject* call          # borrowed from Plan.calls
    int32_t source
    int32_t indegree        # the start value of a run's join counter
    uint32_t successors, successors_end     # places in Graph.succ
    uint16_t flags
    uint8_t kind
    uint8_t arity           # arguments of the call: (), (value) or (ctx, value)
    uint8_t join


cdef class Plan:
    # --- what it was made from
    cdef readonly Graph graph
    cdef readonly tuple items               # Step objects, by index
    cdef readonly str flow
    cdef readonly long revision
    # --- the table, n rows in one block
    cdef StepSpec* specs
    cdef uint32_t* roots
    cdef PyObject** names_of                # output names, borrowed from the items
    cdef uint32_t n, n_roots
    cdef bint uniform                       # every join is "all", no step may fail: completions take the short way
    # --- owned objects behind the table
    cdef list calls
    cdef readonly dict mappings             # index -> ((parameter, source), ...) or the name of an outside input
    cdef readonly dict policies             # index -> policy object of floor 1, for steps that are not plain
    cdef dict names                         # id -> index, made when a second one is asked for
    cdef bint asked
    cdef dict outputs                       # output name -> tuple of indexes that write it, made on first use
    cdef readonly tuple sinks

    cdef Py_ssize_t scan(self, str name) except -2
    cdef int read_graph(self) except -1
    cdef bint plain_row(self, object operation, StepSpec* row) except -1
    cdef bint direct_source(self, uint32_t v, object wanted, int32_t* source) except -1
    cdef object predecessors_input(self, uint32_t v, StepState* steps)
    cdef int keep_last(self, dict values, set predecessors, StepState* steps) except -1

"""`Run`: one execution, a slab with a face."""

from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint32_t

from flow_core.core.slab cimport Slab

cpdef enum Intent:          # what was asked for; other threads may set it, the scheduler reads it before each start
    INTENT_RUN = 0
    INTENT_PAUSE = 1
    INTENT_ABORT = 2
    INTENT_STOP = 3


cdef class Run(Slab):
    # --- what floor 2 hangs on it
    cdef public object options              # ExecuteOptions, or None
    cdef public object machine              # sans-IO policy, made when something is not plain
    cdef public object name                 # id given by the caller, None: the generated one
    cdef public object parent               # the run of the step that started it
    cdef public object caller               # the context of that step
    cdef public object past                 # list of moves that the slab forgets; None: there are none
    cdef public object trace                # what hears of each of its steps, made at its start; None: nobody
    cdef public object events               # set of events, one per iterator over its moves; None: nobody ever watched
    cdef public int others                  # callers beside the first who asked for it by its id
    cdef public int depth                   # nesting: 0 is started from outside
    # --- the scheduler's
    cdef readonly object scheduler
    cdef object context                     # contextvars every step starts from
    cdef readonly object failure            # exception that decided the end
    cdef object rpc                         # the client of its calls, once one was made
    cdef object waiters                     # futures to wake at the end
    cdef void* tasks                        # list of StepTasks under way, newest first; owned references
    cdef PyObject* table                    # whose row it has; owned, and out of the garbage collector's reach
    cdef int64_t slot                       # row in the table, -1: none
    # --- of a durable run: what happened has to be committed before anything follows from it
    cdef public bint durable
    cdef readonly bint ending               # its last outcomes and its end are on their way to the store
    cdef readonly uint32_t held             # steps whose outcome is on its way; RUNNING until it has arrived
    cdef public int holds                   # moves of its machine that are on their way: no step starts meanwhile
    cdef readonly uint32_t limit            # most steps running at the same time
    cdef bint watched                       # somebody wants to hear when it went on
    cdef bint parked                        # waits in one of the scheduler's queues
    cdef readonly bint over                 # the execution is over

    cdef object input_of(self, uint32_t v)
    cdef object value_from(self, uint32_t v, object wanted)
    cdef object outside(self, uint32_t v, str name)

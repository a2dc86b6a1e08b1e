"""`Future`: a result to come, and who wants to hear of it; `EndFuture`: the end of an execution as one."""

cdef enum FutureState:
    FUTURE_PENDING = 0
    FUTURE_FINISHED = 1
    FUTURE_CANCELLED = 2


cdef class Future:
    cdef readonly object _loop
    # --- the outcome
    cdef FutureState state
    cdef bint retrieved                     # somebody asked for it
    cdef bint touched                       # somebody changed the object: it can't stand in for the next step
    cdef object value                       # the result
    cdef object error                       # what it raised, None: nothing
    cdef object traceback                   # of the error, as it was: raising it again must not make it longer
    cdef object callbacks                   # list of (callback, context), None while there are none
    # --- names that asyncio reads and writes in whatever it awaits
    cdef public object _asyncio_future_blocking
    cdef public object _cancel_message
    cdef public bint _log_destroy_pending
    cdef readonly object _source_traceback
    cdef object __weakref__

    cdef int settle(self, FutureState state, object value, object error) except -1
    cdef object cancelled_error(self)


cdef class EndFuture(Future):
    cdef int tell(self) except -1
    cdef int call_now(self, object callback, object context) except -1
    cdef int tell_later(self) except -1

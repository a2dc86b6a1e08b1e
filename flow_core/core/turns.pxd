"""`Turns`: when the scheduler works: turns of the loop, their budget, timers, wake-ups from other threads."""

from libc.stdint cimport int64_t, uint64_t

from flow_core.core.ready_queue cimport ReadyQueue
from flow_core.core.timers cimport Timers


cdef extern from *:
    """
    #include <time.h>
    static inline double flow_monotonic(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
    }
    """
    double flow_monotonic() noexcept nogil


cdef class Turns:
    cdef object loop
    cdef object clock                   # a virtual clock; None: the machine's monotonic one, which loops use, too
    cdef object wall                    # seconds since the epoch, for ids
    cdef double wall_ahead              # of loop time, as of `wall_at`
    cdef double wall_at
    cdef object call_soon               # of the loop, bound once
    cdef object take_turn               # the scheduler's callbacks, bound once
    cdef object take_posted
    cdef object ring
    # --- work for the coming turn: pointers with a tag in bit 0, each an owned reference
    cdef readonly ReadyQueue queue
    cdef bint open                      # a turn is due
    cdef bint turning                   # one is going on
    cdef bint woken                     # another thread asked for one
    # --- the budget of this turn
    cdef bint spent
    cdef double now                     # loop time, as of the last look at the clock
    cdef double until
    cdef public double budget           # seconds
    cdef int credit, stride             # steps until the next look at the clock
    # --- timers, behind one timer of the loop
    cdef readonly Timers timers
    cdef object timer_handle
    cdef double timer_at
    cdef readonly uint64_t count        # turns so far

    cdef int begin(self) except -1
    cdef int end(self) except -1
    cdef int enter(self) except -1
    cdef int open_next(self) except -1
    cdef int begin_budget(self) except -1
    cdef uint64_t wall_ms(self) except? 0
    cdef bint out_of_budget(self) except -1
    cdef int tick(self) except -1
    cdef int look(self) except -1
    cdef int enqueue(self, object item, uint64_t tag, int lane) except -1
    cpdef int post(self, object item) except -1
    cdef int arm(self) except -1
    cdef int begin_ringing(self) except -1
    cdef bint due(self, uint64_t* token) noexcept
    cdef int64_t add_timer(self, double delay, uint64_t token) except -1
    cdef int close(self) except -1

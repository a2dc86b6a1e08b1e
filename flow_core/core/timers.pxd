# Timers: an indexed 4-ary heap of deadlines. See src/flow_core/timer_heap.hpp.
from libc.stdint cimport int64_t, uint64_t

cdef extern from "flow_core/timer_heap.hpp" namespace "flow" nogil:
    cdef cppclass TimerHeap:
        TimerHeap() except +
    int64_t timer_add(TimerHeap* timers, double deadline, uint64_t token) noexcept
    bint timer_cancel(TimerHeap* timers, int64_t handle) noexcept
    bint timer_pop(TimerHeap* timers, double now, uint64_t* token) noexcept
    double timer_next(const TimerHeap* timers) noexcept
    uint64_t timer_size(const TimerHeap* timers) noexcept
    const char* timer_check(const TimerHeap* timers) noexcept

cdef class Timers:
    cdef TimerHeap heap

    # C level. `deadline` is not NaN; add_c gives -1 when memory was refused.
    cdef int64_t add_c(self, double deadline, uint64_t token) noexcept nogil
    cdef bint cancel_c(self, int64_t handle) noexcept nogil
    cdef bint pop_c(self, double now, uint64_t* token) noexcept nogil
    cdef double next_c(self) noexcept nogil

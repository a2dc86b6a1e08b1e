# ReadyQueue: priority lanes for the loop's thread, an inbox for the others. See src/flow_core/ring.hpp.
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from "flow_core/ring.hpp" namespace "flow" nogil:
    enum: MAX_LANES
    enum: FAIR_AFTER
    uint64_t ITEM_LIMIT
    ctypedef void* (*Allocate)(size_t) noexcept
    ctypedef void (*Release)(void*) noexcept
    cdef cppclass Ready:
        uint32_t lanes
        uint32_t waiting
    size_t ready_bytes(uint64_t inbox) noexcept
    Ready* ready_init(void* block, uint32_t lanes, uint64_t inbox, Allocate allocate, Release release) noexcept
    void ready_free_lanes(Ready* ready) noexcept
    bint ready_push(Ready* ready, uint64_t item, uint32_t lane) noexcept
    bint ready_pop(Ready* ready, uint64_t* item) noexcept
    bint ready_empty(const Ready* ready) noexcept
    uint64_t ready_size(const Ready* ready) noexcept
    bint ready_post(Ready* ready, uint64_t item, uint32_t lane) noexcept
    int64_t ready_drain(Ready* ready) noexcept
    const char* ready_check(const Ready* ready) noexcept

cdef class ReadyQueue:
    cdef void* block
    cdef Ready* ready           # inside the block, aligned to a cache line; ready_push/ready_pop work on it directly

    # C level, the loop's thread only, except post_c. `lane` is not checked.
    cdef int push_c(self, uint64_t item, int lane) except -1
    cdef bint pop_c(self, uint64_t* out) noexcept nogil
    cdef bint empty(self) noexcept nogil
    cdef bint post_c(self, uint64_t item, int lane) noexcept nogil
    cdef int64_t drain_c(self) except -1

    cdef int check_lane(self, object lane) except -1

# StatusTable: one 64-byte row per execution, rows never move. See src/flow_core/status.hpp.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "flow_core/status.hpp" namespace "flow" nogil:
    enum: STATUS_COUNT
    enum Status:
        UNKNOWN
        PENDING
        FAILURE
        SUCCESS
        PAUSED
        ABORTED
        STOPPED
        RUNNING
        SKIPPED
    const uint16_t* STATUS_MOVES
    bint status_legal(uint8_t source, uint8_t to) noexcept
    bint status_terminal(uint8_t status) noexcept
    uint8_t status_load(const uint8_t* byte) noexcept
    void status_store(uint8_t* byte, uint8_t status) noexcept
    bint status_move_byte(uint8_t* byte, uint8_t to) noexcept

    cdef struct ExecutionRow:
        uint64_t id_high, id_low
        uint32_t generation
        uint8_t status, lane, intent, reserved
        uint32_t steps, running, succeeded, failed, skipped
        int64_t started_ns, ended_ns

    cdef struct Table:
        ExecutionRow* rows
        uint32_t* free_rows
        uint32_t capacity, high_water, free_count

    size_t table_bytes(uint32_t capacity) noexcept
    bint table_open(Table* table, uint32_t capacity) noexcept
    void table_close(Table* table) noexcept
    int64_t table_acquire(Table* table) noexcept
    void table_release(Table* table, uint32_t index) noexcept
    const char* table_check(const Table* table) noexcept

cdef class StatusTable:
    cdef Table table

    # C level: no checks; acquire_c gives -1 when full.
    cdef ExecutionRow* row_ptr(self, uint32_t index) noexcept nogil
    cdef int64_t acquire_c(self) noexcept nogil
    cdef void release_c(self, uint32_t index) noexcept nogil

    cdef ExecutionRow* row(self, object index) except NULL

// Statuses of steps and executions, the legal moves between them, and the table of executions.
// Lives here: the numbers of flow_core/model/status.py, one bit row per status, atomic moves, 64-byte rows in one mapping.
// Does not live here: who makes the moves, names of statuses.
#pragma once
#include <sys/mman.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace flow {

enum Status : uint8_t {
    UNKNOWN = 0,
    PENDING = 1,
    FAILURE = 2,
    SUCCESS = 3,
    PAUSED = 4,
    ABORTED = 5,
    STOPPED = 6,
    RUNNING = 7,
    SKIPPED = 8,
};
constexpr uint8_t STATUS_COUNT = 9;

constexpr uint16_t status_bit(uint8_t status) { return static_cast<uint16_t>(1u << status); }

// Row = from, bit = to. An empty row is final. tests/core/test_status_table.py compares this with flow_core.model.status.MOVES.
constexpr uint16_t STATUS_MOVES[STATUS_COUNT] = {
    /* UNKNOWN */ status_bit(PENDING),
    /* PENDING */
    static_cast<uint16_t>(status_bit(RUNNING) | status_bit(PAUSED) | status_bit(SKIPPED) | status_bit(ABORTED) |
                          status_bit(STOPPED)),
    /* FAILURE */ 0,
    /* SUCCESS */ 0,
    /* PAUSED  */
    static_cast<uint16_t>(status_bit(RUNNING) | status_bit(FAILURE) | status_bit(SUCCESS) | status_bit(ABORTED) |
                          status_bit(STOPPED)),
    /* ABORTED */ 0,
    /* STOPPED */ 0,
    /* RUNNING */
    static_cast<uint16_t>(status_bit(SUCCESS) | status_bit(FAILURE) | status_bit(PENDING) | status_bit(PAUSED) |
                          status_bit(ABORTED) | status_bit(STOPPED)),
    /* SKIPPED */ 0,
};

inline bool status_legal(uint8_t from, uint8_t to) noexcept {
    return from < STATUS_COUNT && to < STATUS_COUNT && (STATUS_MOVES[from] >> to) & 1u;
}

inline bool status_terminal(uint8_t status) noexcept { return status < STATUS_COUNT && STATUS_MOVES[status] == 0; }

// Steps of a run are bytes of its block, so the helpers take a plain byte and look at it as an atomic.
using StatusCell = std::atomic<uint8_t>;
static_assert(StatusCell::is_always_lock_free && sizeof(StatusCell) == 1 && alignof(StatusCell) == 1,
              "a status byte is its own atomic");

inline StatusCell* status_cell(uint8_t* byte) noexcept { return reinterpret_cast<StatusCell*>(byte); }

inline uint8_t status_load(const uint8_t* byte) noexcept {
    return reinterpret_cast<const StatusCell*>(byte)->load(std::memory_order_relaxed);
}

inline void status_store(uint8_t* byte, uint8_t status) noexcept {
    status_cell(byte)->store(status, std::memory_order_relaxed);
}

// False, and nothing changed, when the move is illegal from whatever status the cell has at that moment.
inline bool status_move(StatusCell* cell, uint8_t to) noexcept {
    uint8_t from = cell->load(std::memory_order_acquire);
    do {
        if (!status_legal(from, to)) return false;
    } while (!cell->compare_exchange_weak(from, to, std::memory_order_acq_rel, std::memory_order_acquire));
    return true;
}

inline bool status_move_byte(uint8_t* byte, uint8_t to) noexcept { return status_move(status_cell(byte), to); }

// One execution is one cache line: a completion touches nothing else of the table.
struct ExecutionRow {
    uint64_t id_high, id_low;  // UUIDv7
    uint32_t generation;       // counts the tenants of this row; a handle that knows an older one is stale
    uint8_t status, lane, intent, reserved;
    uint32_t steps, running, succeeded, failed, skipped;
    int64_t started_ns, ended_ns;
};
static_assert(sizeof(ExecutionRow) == 64, "a row is a cache line");

// Rows never move: other threads keep pointers. One thread at a time acquires and releases.
struct Table {
    ExecutionRow* rows;  // the block; the free stack lies behind the rows
    uint32_t* free_rows;
    uint32_t capacity, high_water, free_count;
};

inline size_t table_bytes(uint32_t capacity) noexcept {
    return static_cast<size_t>(capacity) * (sizeof(ExecutionRow) + sizeof(uint32_t));
}

// NORESERVE and lazily touched: a table for a million executions costs nothing until they come.
inline bool table_open(Table* table, uint32_t capacity) noexcept {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#ifdef MAP_NORESERVE
    flags |= MAP_NORESERVE;
#endif
    void* block = mmap(nullptr, table_bytes(capacity), PROT_READ | PROT_WRITE, flags, -1, 0);
    if (block == MAP_FAILED) return false;
    table->rows = static_cast<ExecutionRow*>(block);
    table->free_rows = reinterpret_cast<uint32_t*>(table->rows + capacity);
    table->capacity = capacity;
    table->high_water = table->free_count = 0;
    return true;
}

inline void table_close(Table* table) noexcept {
    if (table->rows) munmap(table->rows, table_bytes(table->capacity));
    table->rows = nullptr;
}

// Index of a fresh PENDING row, or -1 when the table is full.
inline int64_t table_acquire(Table* table) noexcept {
    uint32_t index;
    if (table->free_count) {
        index = table->free_rows[--table->free_count];
    } else if (table->high_water < table->capacity) {
        index = table->high_water++;
    } else {
        return -1;
    }
    ExecutionRow* row = table->rows + index;
    uint32_t generation = row->generation + 1;
    std::memset(row, 0, sizeof *row);
    row->generation = generation;
    status_store(&row->status, PENDING);
    return index;
}

// The row keeps its generation, everything else becomes zero (status UNKNOWN).
inline void table_release(Table* table, uint32_t index) noexcept {
    ExecutionRow* row = table->rows + index;
    uint32_t generation = row->generation;
    status_store(&row->status, UNKNOWN);
    std::memset(row, 0, sizeof *row);
    row->generation = generation;
    table->free_rows[table->free_count++] = index;
}

// nullptr when all invariants hold, else what is wrong.
inline const char* table_check(const Table* table) noexcept {
    if (table->high_water > table->capacity) return "high-water mark above the capacity";
    if (table->free_count > table->high_water) return "more free rows than rows ever used";
    uint32_t unknown = 0;
    for (uint32_t i = 0; i < table->high_water; ++i) {
        if (status_load(&table->rows[i].status) >= STATUS_COUNT) return "a row has a status that does not exist";
        unknown += status_load(&table->rows[i].status) == UNKNOWN;
    }
    for (uint32_t i = 0; i < table->free_count; ++i) {
        if (table->free_rows[i] >= table->high_water) return "a free row was never used";
        if (status_load(&table->rows[table->free_rows[i]].status) != UNKNOWN) return "a free row has a status";
    }
    return unknown == table->free_count ? nullptr : "a row of status UNKNOWN is not free";
}

}  // namespace flow

// Relaxed atomic counters: writers never wait, readers see values that may be a moment old.
// Lives here: the cell and its operations. Does not live here: names and snapshots (core/counters.pyx).
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace flow {

using Cell = std::atomic<uint64_t>;
static_assert(Cell::is_always_lock_free, "a counter must never take a lock");
static_assert(sizeof(Cell) == sizeof(uint64_t), "cells lie side by side in one block");

inline void counter_init(Cell* cells, size_t count) noexcept {
    for (size_t i = 0; i < count; ++i) cells[i].store(0, std::memory_order_relaxed);
}

// Relaxed: a counter orders nothing, it is only ever read for people and monitors.
inline void counter_add(Cell* cells, size_t i, uint64_t n) noexcept { cells[i].fetch_add(n, std::memory_order_relaxed); }

// For cells that one thread alone writes: a load and a store instead of a locked instruction. Readers may be any.
inline void counter_bump(Cell* cells, size_t i) noexcept {
    cells[i].store(cells[i].load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

inline uint64_t counter_get(const Cell* cells, size_t i) noexcept { return cells[i].load(std::memory_order_relaxed); }

}  // namespace flow

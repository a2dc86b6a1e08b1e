// Many deadlines, one loop timer: an indexed 4-ary heap with handles that can't be mistaken for one another.
// Lives here: the heap and its handles. Does not live here: clocks, what a token means.
// The d-ary heap: D. B. Johnson, "Priority queues with update and finding minimum spanning trees" (1975); 4 children
// share a cache line or two, so a pop touches fewer lines than a binary heap.
#pragma once
#include <cstdint>
#include <limits>
#include <vector>

namespace flow {

constexpr uint32_t NO_TIMER = 0xFFFFFFFFu;

struct TimerEntry {
    double deadline;    // seconds of the caller's clock
    uint64_t sequence;  // equal deadlines fire in the order of insertion
    uint32_t slot;
};

struct TimerSlot {
    uint64_t token;
    uint32_t at;          // place in the heap; the next free slot when not in use
    uint32_t generation;  // odd while in use, so a handle of an earlier tenant never fits
};

struct TimerHeap {
    std::vector<TimerEntry> heap;
    std::vector<TimerSlot> slots;
    uint64_t sequence = 0;
    uint32_t free_slot = NO_TIMER;
};

inline bool timer_less(const TimerEntry& a, const TimerEntry& b) noexcept {
    return a.deadline < b.deadline || (a.deadline == b.deadline && a.sequence < b.sequence);
}

inline void timer_place(TimerHeap* timers, uint32_t at, const TimerEntry& entry) noexcept {
    timers->heap[at] = entry;
    timers->slots[entry.slot].at = at;
}

inline void timer_rise(TimerHeap* timers, uint32_t at) noexcept {
    TimerEntry entry = timers->heap[at];
    while (at) {
        uint32_t parent = (at - 1) / 4;
        if (!timer_less(entry, timers->heap[parent])) break;
        timer_place(timers, at, timers->heap[parent]);
        at = parent;
    }
    timer_place(timers, at, entry);
}

inline void timer_sink(TimerHeap* timers, uint32_t at) noexcept {
    TimerEntry entry = timers->heap[at];
    auto size = static_cast<uint32_t>(timers->heap.size());
    for (;;) {
        uint64_t first = uint64_t{at} * 4 + 1;
        if (first >= size) break;
        auto best = static_cast<uint32_t>(first);
        for (uint32_t child = best + 1; child < size && child < first + 4; ++child) {
            if (timer_less(timers->heap[child], timers->heap[best])) best = child;
        }
        if (!timer_less(timers->heap[best], entry)) break;
        timer_place(timers, at, timers->heap[best]);
        at = best;
    }
    timer_place(timers, at, entry);
}

// 31 bits of generation over 32 of slot: a handle is never negative.
inline int64_t timer_handle(uint32_t slot, uint32_t generation) noexcept {
    return static_cast<int64_t>(uint64_t{generation & 0x7FFFFFFFu} << 32 | slot);
}

// The handle, or -1 when memory was refused (nothing changed then). `deadline` is not NaN.
inline int64_t timer_add(TimerHeap* timers, double deadline, uint64_t token) noexcept {
    try {
        if (timers->free_slot == NO_TIMER) {
            timers->slots.push_back(TimerSlot{0, NO_TIMER, 0});
            timers->free_slot = static_cast<uint32_t>(timers->slots.size() - 1);
        }
        timers->heap.push_back(TimerEntry{deadline, timers->sequence, timers->free_slot});
    } catch (...) {
        return -1;
    }
    ++timers->sequence;
    uint32_t slot = timers->free_slot;
    TimerSlot& entry = timers->slots[slot];
    timers->free_slot = entry.at;
    entry.token = token;
    ++entry.generation;
    timer_rise(timers, static_cast<uint32_t>(timers->heap.size() - 1));
    return timer_handle(slot, entry.generation);
}

inline void timer_remove(TimerHeap* timers, uint32_t at) noexcept {
    uint32_t slot = timers->heap[at].slot;
    TimerEntry last = timers->heap.back();
    timers->heap.pop_back();
    if (at < timers->heap.size()) {
        timer_place(timers, at, last);
        timer_rise(timers, at);
        timer_sink(timers, timers->slots[last.slot].at);
    }
    ++timers->slots[slot].generation;
    timers->slots[slot].at = timers->free_slot;
    timers->free_slot = slot;
}

// False when the timer fired or was cancelled before.
inline bool timer_cancel(TimerHeap* timers, int64_t handle) noexcept {
    if (handle < 0) return false;
    auto slot = static_cast<uint32_t>(handle & 0xFFFFFFFF);
    if (slot >= timers->slots.size()) return false;
    const TimerSlot& entry = timers->slots[slot];
    if (!(entry.generation & 1u) || timer_handle(slot, entry.generation) != handle) return false;
    timer_remove(timers, entry.at);
    return true;
}

inline bool timer_pop(TimerHeap* timers, double now, uint64_t* token) noexcept {
    if (timers->heap.empty() || !(timers->heap[0].deadline <= now)) return false;
    *token = timers->slots[timers->heap[0].slot].token;
    timer_remove(timers, 0);
    return true;
}

inline double timer_next(const TimerHeap* timers) noexcept {
    return timers->heap.empty() ? std::numeric_limits<double>::infinity() : timers->heap[0].deadline;
}

inline uint64_t timer_size(const TimerHeap* timers) noexcept { return timers->heap.size(); }

inline const char* timer_check(const TimerHeap* timers) noexcept {
    for (uint32_t at = 0; at < timers->heap.size(); ++at) {
        const TimerEntry& entry = timers->heap[at];
        if (at && timer_less(entry, timers->heap[(at - 1) / 4])) return "a timer is due before its parent in the heap";
        if (timers->slots[entry.slot].at != at) return "a slot does not know its place in the heap";
        if (!(timers->slots[entry.slot].generation & 1u)) return "a timer in the heap has a free slot";
    }
    uint64_t free_slots = 0;
    for (uint32_t slot = timers->free_slot; slot != NO_TIMER; slot = timers->slots[slot].at) {
        if (timers->slots[slot].generation & 1u) return "a free slot is in use";
        if (++free_slots > timers->slots.size()) return "the free slots are circular";
    }
    return free_slots + timers->heap.size() == timers->slots.size() ? nullptr : "a slot is lost";
}

}  // namespace flow

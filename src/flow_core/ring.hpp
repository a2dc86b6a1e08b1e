// The ready queue: growable FIFO rings served by priority, and a bounded inbox for other threads.
// Lives here: Ring (one thread), Inbox (many producers, one consumer), Ready (lanes over rings).
// Does not live here: what an item means.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>

namespace flow {

using Allocate = void* (*)(size_t);
using Release = void (*)(void*);

constexpr size_t CACHE_LINE = 64;
constexpr uint32_t MAX_LANES = 4;      // two bits of a posted word
constexpr uint32_t FAIR_AFTER = 8;     // pops that may pass a waiting lower lane
constexpr uint32_t LANE_SHIFT = 62;
constexpr uint64_t ITEM_LIMIT = uint64_t{1} << LANE_SHIFT;

// Growable power-of-two FIFO. head and tail count for ever; only their difference and low bits matter.
struct Ring {
    uint64_t* slot;
    uint64_t head, tail, mask;
};

inline uint64_t ring_size(const Ring* ring) noexcept { return ring->tail - ring->head; }

inline bool ring_grow(Ring* ring, Allocate allocate, Release release) noexcept {
    uint64_t capacity = ring->slot ? (ring->mask + 1) * 2 : 64;
    auto* slot = static_cast<uint64_t*>(allocate(capacity * sizeof(uint64_t)));
    if (!slot) return false;
    uint64_t size = ring_size(ring);
    for (uint64_t i = 0; i < size; ++i) slot[i] = ring->slot[(ring->head + i) & ring->mask];
    if (ring->slot) release(ring->slot);
    *ring = Ring{slot, 0, size, capacity - 1};
    return true;
}

inline bool ring_push(Ring* ring, uint64_t item, Allocate allocate, Release release) noexcept {
    if (!ring->slot || ring_size(ring) > ring->mask) {
        if (!ring_grow(ring, allocate, release)) return false;
    }
    ring->slot[ring->tail++ & ring->mask] = item;
    return true;
}

inline uint64_t ring_pop(Ring* ring) noexcept { return ring->slot[ring->head++ & ring->mask]; }

// Bounded MPSC ring: the sequence numbers of D. Vyukov, "Bounded MPMC queue", 1024cores.net (2010), with a single
// consumer, which therefore needs no compare-and-swap.
struct InboxCell {
    std::atomic<uint64_t> sequence;
    uint64_t item;
};

struct Inbox {
    InboxCell* cell;
    uint64_t mask;
    // Producers and the consumer each write one of these all the time: apart, or they share a cache line.
    alignas(CACHE_LINE) std::atomic<uint64_t> tail;
    alignas(CACHE_LINE) uint64_t head;
};

// `cells` holds `capacity` (a power of two) cells.
inline void inbox_init(Inbox* inbox, InboxCell* cells, uint64_t capacity) noexcept {
    inbox->cell = cells;
    inbox->mask = capacity - 1;
    for (uint64_t i = 0; i < capacity; ++i) new (&cells[i].sequence) std::atomic<uint64_t>(i);
    new (&inbox->tail) std::atomic<uint64_t>(0);
    inbox->head = 0;
}

// From any thread; false when full.
inline bool inbox_push(Inbox* inbox, uint64_t item) noexcept {
    uint64_t at = inbox->tail.load(std::memory_order_relaxed);
    for (;;) {
        InboxCell* cell = inbox->cell + (at & inbox->mask);
        uint64_t sequence = cell->sequence.load(std::memory_order_acquire);
        auto lag = static_cast<int64_t>(sequence - at);
        if (lag == 0) {
            if (inbox->tail.compare_exchange_weak(at, at + 1, std::memory_order_relaxed)) {
                cell->item = item;
                cell->sequence.store(at + 1, std::memory_order_release);
                return true;
            }
        } else if (lag < 0) {
            return false;
        } else {
            at = inbox->tail.load(std::memory_order_relaxed);
        }
    }
}

// From the one consumer; false when empty (or when the next producer has not finished writing).
inline bool inbox_pop(Inbox* inbox, uint64_t* item) noexcept {
    InboxCell* cell = inbox->cell + (inbox->head & inbox->mask);
    if (cell->sequence.load(std::memory_order_acquire) != inbox->head + 1) return false;
    *item = cell->item;
    cell->sequence.store(inbox->head + inbox->mask + 1, std::memory_order_release);
    ++inbox->head;
    return true;
}

struct Ready {
    Inbox inbox;
    Ring lane[MAX_LANES];
    uint32_t skipped[MAX_LANES];  // pops of higher lanes since this one waits
    uint32_t lanes;
    uint32_t waiting;  // bit per lane that is not empty
    Allocate allocate;
    Release release;
};

// One block holds the struct and the inbox cells. `allocate` need not align to a cache line, so there is room for it.
inline size_t ready_bytes(uint64_t inbox) noexcept {
    return CACHE_LINE + sizeof(Ready) + static_cast<size_t>(inbox) * sizeof(InboxCell);
}

inline Ready* ready_init(void* block, uint32_t lanes, uint64_t inbox, Allocate allocate, Release release) noexcept {
    auto at = (reinterpret_cast<uintptr_t>(block) + CACHE_LINE - 1) & ~static_cast<uintptr_t>(CACHE_LINE - 1);
    auto* ready = new (reinterpret_cast<void*>(at)) Ready();
    inbox_init(&ready->inbox, reinterpret_cast<InboxCell*>(ready + 1), inbox);
    ready->lanes = lanes;
    ready->allocate = allocate;
    ready->release = release;
    return ready;
}

inline void ready_free_lanes(Ready* ready) noexcept {
    for (Ring& ring : ready->lane) {
        if (ring.slot) ready->release(ring.slot);
        ring.slot = nullptr;
    }
}

inline bool ready_push(Ready* ready, uint64_t item, uint32_t lane) noexcept {
    if (!ring_push(&ready->lane[lane], item, ready->allocate, ready->release)) return false;
    ready->waiting |= 1u << lane;
    return true;
}

inline uint32_t ready_choose(Ready* ready) noexcept {
    uint32_t chosen = static_cast<uint32_t>(__builtin_ctz(ready->waiting));
    uint32_t worst = FAIR_AFTER - 1;
    for (uint32_t lane = chosen + 1; lane < ready->lanes; ++lane) {
        if ((ready->waiting >> lane & 1u) && ready->skipped[lane] > worst) {
            worst = ready->skipped[lane];
            chosen = lane;
        }
    }
    for (uint32_t lane = 0; lane < ready->lanes; ++lane) {
        if (lane > chosen && (ready->waiting >> lane & 1u)) ++ready->skipped[lane];
    }
    return chosen;
}

// Lane 0 first, but after FAIR_AFTER pops that passed a waiting lane, that lane gets one.
inline bool ready_pop(Ready* ready, uint64_t* item) noexcept {
    uint32_t waiting = ready->waiting;
    if (!waiting) return false;
    uint32_t lane = waiting & (waiting - 1) ? ready_choose(ready) : static_cast<uint32_t>(__builtin_ctz(waiting));
    Ring* ring = &ready->lane[lane];
    *item = ring_pop(ring);
    ready->skipped[lane] = 0;
    if (ring_size(ring) == 0) ready->waiting &= ~(1u << lane);
    return true;
}

inline bool ready_empty(const Ready* ready) noexcept { return ready->waiting == 0; }

inline uint64_t ready_size(const Ready* ready) noexcept {
    uint64_t size = 0;
    for (uint32_t lane = 0; lane < ready->lanes; ++lane) size += ring_size(&ready->lane[lane]);
    return size;
}

// From any thread; false when the inbox is full. item < ITEM_LIMIT.
inline bool ready_post(Ready* ready, uint64_t item, uint32_t lane) noexcept {
    return inbox_push(&ready->inbox, item | static_cast<uint64_t>(lane) << LANE_SHIFT);
}

// Moves at most one inbox full into the lanes (producers may be faster than we are). -1: memory refused, the item that
// did not fit stays in the inbox.
inline int64_t ready_drain(Ready* ready) noexcept {
    int64_t moved = 0;
    uint64_t word;
    for (uint64_t i = 0; i <= ready->inbox.mask; ++i, ++moved) {
        Inbox* inbox = &ready->inbox;
        InboxCell* cell = inbox->cell + (inbox->head & inbox->mask);
        if (cell->sequence.load(std::memory_order_acquire) != inbox->head + 1) break;
        if (!ready_push(ready, cell->item & (ITEM_LIMIT - 1), static_cast<uint32_t>(cell->item >> LANE_SHIFT))) return -1;
        inbox_pop(inbox, &word);
    }
    return moved;
}

inline const char* ready_check(const Ready* ready) noexcept {
    for (uint32_t lane = 0; lane < MAX_LANES; ++lane) {
        const Ring* ring = &ready->lane[lane];
        if (lane >= ready->lanes && ring_size(ring)) return "an item in a lane that does not exist";
        if ((ring_size(ring) != 0) != ((ready->waiting >> lane & 1u) != 0)) return "the waiting bits do not match the lanes";
        if (ring->slot && ring_size(ring) > ring->mask + 1) return "a lane holds more than its ring";
        if (ring->slot && (ring->mask & (ring->mask + 1))) return "the size of a ring is no power of two";
        if (ready->skipped[lane] > FAIR_AFTER + MAX_LANES) return "a lane starves";
    }
    return nullptr;
}

}  // namespace flow

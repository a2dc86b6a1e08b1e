"""The queue of what can run now: priority lanes for one thread, and an inbox through which others post."""
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stdint cimport int64_t, uint32_t, uint64_t

__all__ = ["ReadyQueue"]


cdef int as_item(object value, uint64_t* out) except -1:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"an item is an int, not {type(value).__name__}: {value!r:.80}")
    if not 0 <= value < ITEM_LIMIT:
        raise ValueError(f"an item must be within 0 and 2**62-1, not {value}")
    out[0] = value
    return 0


cdef class ReadyQueue:
    """FIFO lanes of integers. Lane 0 is served first; after 8 pops that passed a waiting lane, that lane gets one.

    Args:
        lanes: how many, 1 to 4.
        inbox: how many posts of other threads may wait for `drain`; rounded up to a power of two, at most 2**24.

    Everything but `post` belongs to one thread.
    """

    def __cinit__(self, lanes=4, inbox=1024):
        cdef uint64_t capacity = 2
        for name, value, most in (("lanes", lanes, MAX_LANES), ("inbox", inbox, 1 << 24)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be an int, not {type(value).__name__}: {value!r:.80}")
            if not 1 <= value <= most:
                raise ValueError(f"{name} must be within 1 and {most}, not {value}")
        while capacity < <uint64_t>inbox:
            capacity *= 2
        self.block = PyMem_RawMalloc(ready_bytes(capacity))
        if self.block is NULL:
            raise MemoryError("no memory for the ready queue")
        self.ready = ready_init(self.block, lanes, capacity, <Allocate>PyMem_RawMalloc, <Release>PyMem_RawFree)

    def __dealloc__(self):
        if self.ready is not NULL:
            ready_free_lanes(self.ready)
        PyMem_RawFree(self.block)

    # --- C level

    cdef int push_c(self, uint64_t item, int lane) except -1:
        if not ready_push(self.ready, item, <uint32_t>lane):
            raise MemoryError("no memory for the ready queue")
        return 0

    cdef bint pop_c(self, uint64_t* out) noexcept nogil:
        return ready_pop(self.ready, out)

    cdef bint empty(self) noexcept nogil:
        return ready_empty(self.ready)

    cdef bint post_c(self, uint64_t item, int lane) noexcept nogil:
        return ready_post(self.ready, item, <uint32_t>lane)

    cdef int64_t drain_c(self) except -1:
        cdef int64_t moved = ready_drain(self.ready)
        if moved < 0:
            raise MemoryError("no memory for the ready queue")
        return moved

    # --- Python level

    cdef int check_lane(self, object lane) except -1:
        if isinstance(lane, bool) or not isinstance(lane, int):
            raise TypeError(f"a lane is an int, not {type(lane).__name__}: {lane!r:.80}")
        if not 0 <= lane < self.ready.lanes:
            raise ValueError(f"no lane {lane}; there are {self.ready.lanes}")
        return lane

    def push(self, item, lane=0):
        """Append an item (0 <= item < 2**62) to a lane. Raises TypeError, ValueError, MemoryError."""
        cdef uint64_t word
        as_item(item, &word)
        self.push_c(word, self.check_lane(lane))

    def pop(self):
        """The next item. Raises IndexError when all lanes are empty (the inbox is not looked at, see `drain`)."""
        cdef uint64_t word
        if not ready_pop(self.ready, &word):
            raise IndexError("pop from an empty ready queue")
        return word

    def post(self, item, lane=0):
        """Leave an item in the inbox, from any thread, without a lock. False when the inbox is full.

        Raises TypeError, ValueError like `push`.
        """
        cdef uint64_t word
        as_item(item, &word)
        return bool(self.post_c(word, self.check_lane(lane)))

    def drain(self):
        """Move what was posted into the lanes; how many items that were. Raises MemoryError; nothing is lost then."""
        return self.drain_c()

    def __len__(self):
        """Items in the lanes; posts that were not drained don't count."""
        return ready_size(self.ready)

    def __repr__(self):
        return f"ReadyQueue({len(self)} waiting, lanes={self.ready.lanes})"

    def check(self):
        """Raise AssertionError when an invariant is broken."""
        cdef const char* wrong = ready_check(self.ready)
        if wrong is not NULL:
            raise AssertionError(wrong.decode())

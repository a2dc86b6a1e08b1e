"""The table of executions: one cache line each, readable by other threads and by NumPy while it changes."""
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_FillInfo
from libc.stdint cimport int64_t, uint32_t

__all__ = ["MOVES", "StatusTable"]

cdef tuple NAMES = ("UNKNOWN", "PENDING", "FAILURE", "SUCCESS", "PAUSED", "ABORTED", "STOPPED", "RUNNING", "SKIPPED")

#: The C table of legal moves as Python data, for the test that compares it with ``flow_core.model.status.MOVES``.
MOVES = {
    source: frozenset([to for to in range(STATUS_COUNT) if STATUS_MOVES[source] >> to & 1])
    for source in range(STATUS_COUNT)
}


cdef int as_status(object value) except -1:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"a status is an int, not {type(value).__name__}: {value!r:.80}")
    if not 0 <= value < STATUS_COUNT:
        raise ValueError(f"no status has the number {value}")
    return value


cdef object row_dtype():
    import numpy

    return numpy.dtype(
        [
            ("id_high", "u8"), ("id_low", "u8"), ("generation", "u4"),
            ("status", "u1"), ("lane", "u1"), ("intent", "u1"), ("reserved", "u1"),
            ("steps", "u4"), ("running", "u4"), ("succeeded", "u4"), ("failed", "u4"), ("skipped", "u4"),
            ("started_ns", "i8"), ("ended_ns", "i8"),
        ],
        align=True,
    )


cdef class Window:
    """A read-only buffer over the rows used so far; it keeps the table alive."""

    cdef StatusTable table
    cdef Py_ssize_t size

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        if flags & PyBUF_WRITABLE == PyBUF_WRITABLE:
            raise BufferError("the window of a StatusTable is read-only")
        PyBuffer_FillInfo(buffer, self, self.table.table.rows, self.size, 1, flags)


cdef class StatusTable:
    """Rows of executions that never move. One thread acquires, moves and releases; all may read.

    Args:
        capacity: most executions at once, 1 to 2**32-1. Memory is reserved now and taken when touched (68 bytes a row).

    Raises:
        MemoryError: the system refuses the address space.
    """

    def __cinit__(self, capacity=1 << 20):
        if isinstance(capacity, bool) or not isinstance(capacity, int):
            raise TypeError(f"capacity must be an int, not {type(capacity).__name__}: {capacity!r:.80}")
        if not 1 <= capacity < 2**32:
            raise ValueError(f"capacity must be within 1 and 2**32-1, not {capacity}")
        if not table_open(&self.table, capacity):
            raise MemoryError(f"no address space for a table of capacity={capacity}")

    def __dealloc__(self):
        table_close(&self.table)

    # --- C level

    cdef ExecutionRow* row_ptr(self, uint32_t index) noexcept nogil:
        return self.table.rows + index

    cdef int64_t acquire_c(self) noexcept nogil:
        return table_acquire(&self.table)

    cdef void release_c(self, uint32_t index) noexcept nogil:
        table_release(&self.table, index)

    # --- Python level

    cdef ExecutionRow* row(self, object index) except NULL:
        if isinstance(index, bool) or not isinstance(index, int):
            raise TypeError(f"a row is an int, not {type(index).__name__}: {index!r:.80}")
        if not 0 <= index < self.table.high_water:
            raise IndexError(f"row {index} was never acquired; {self.table.high_water} were")
        return self.table.rows + <uint32_t>index

    @property
    def capacity(self):
        """Most executions at once."""
        return self.table.capacity

    def acquire(self):
        """The index of a fresh row, status PENDING and everything else zero. Raises RuntimeError when full."""
        cdef int64_t index = table_acquire(&self.table)
        if index < 0:
            raise RuntimeError(f"table is full: capacity={self.table.capacity}")
        return index

    def release(self, index):
        """Give a row back; its generation stays. Raises IndexError, or ValueError when the row is free already."""
        if status_load(&self.row(index).status) == UNKNOWN:
            raise ValueError(f"row {index} is free already")
        table_release(&self.table, index)

    def status(self, index):
        """The status of a row, UNKNOWN (0) when it was released. Raises IndexError."""
        return status_load(&self.row(index).status)

    def generation(self, index):
        """How many executions have had this row. Raises IndexError."""
        return self.row(index).generation

    def move(self, index, status):
        """Move a row to another status. Raises IndexError, or ValueError naming both when the move is not legal."""
        cdef ExecutionRow* row = self.row(index)
        cdef int to = as_status(status)
        cdef int source = status_load(&row.status)
        # PENDING follows UNKNOWN in acquire() only: a free row has no execution that could move.
        if source == UNKNOWN:
            raise ValueError(f"row {index} is free: UNKNOWN -> {NAMES[to]} happens in acquire()")
        if not status_move_byte(&row.status, to):
            raise ValueError(f"row {index} can't move {NAMES[source]} -> {NAMES[to]}")

    @staticmethod
    def legal(source, to):
        """Whether the move from one status to another is legal. Raises TypeError, ValueError for no status."""
        return bool(status_legal(as_status(source), as_status(to)))

    def window(self):
        """The rows used so far as a NumPy structured array: read-only, no copy, and it changes as they change.

        It holds as many rows as were ever in use at once at the time of the call; free rows have status 0.
        """
        import numpy

        cdef Window window = Window()
        window.table = self
        window.size = self.table.high_water * <Py_ssize_t>sizeof(ExecutionRow)
        return numpy.ndarray((self.table.high_water,), dtype=row_dtype(), buffer=window)

    def __len__(self):
        return self.table.high_water - self.table.free_count

    def __repr__(self):
        return f"StatusTable({len(self)} of {self.table.capacity})"

    def check(self):
        """Raise AssertionError when an invariant is broken."""
        cdef const char* wrong = table_check(&self.table)
        if wrong is not NULL:
            raise AssertionError(wrong.decode())

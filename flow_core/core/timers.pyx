"""Thousands of deadlines behind one timer of the loop."""
from libc.math cimport isnan
from libc.stdint cimport int64_t, uint64_t

__all__ = ["Timers"]


cdef double as_time(object value, str what) except? -1.0:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{what} must be seconds as a float, not {type(value).__name__}: {value!r:.80}")
    cdef double seconds = value
    if isnan(seconds) or seconds < 0:
        raise ValueError(f"{what} must not be negative or NaN: {value!r}")
    return seconds


cdef class Timers:
    """Deadlines, each with a token; equal deadlines fire in the order in which they were added.

    Deadlines are seconds of whatever clock the caller reads; this class reads none.
    """

    # --- C level

    cdef int64_t add_c(self, double deadline, uint64_t token) noexcept nogil:
        return timer_add(&self.heap, deadline, token)

    cdef bint cancel_c(self, int64_t handle) noexcept nogil:
        return timer_cancel(&self.heap, handle)

    cdef bint pop_c(self, double now, uint64_t* token) noexcept nogil:
        return timer_pop(&self.heap, now, token)

    cdef double next_c(self) noexcept nogil:
        return timer_next(&self.heap)

    # --- Python level

    def add(self, deadline, token):
        """Add a timer; the handle (an int) cancels it.

        Args:
            deadline: seconds, not negative, not NaN.
            token: 0 <= token < 2**64, given back by `pop`.

        Raises:
            TypeError, ValueError: naming the argument.
            MemoryError: nothing was added.
        """
        cdef double at = as_time(deadline, "deadline")
        if isinstance(token, bool) or not isinstance(token, int):
            raise TypeError(f"token must be an int, not {type(token).__name__}: {token!r:.80}")
        if not 0 <= token < 2**64:
            raise ValueError(f"token must be within 0 and 2**64-1, not {token}")
        cdef int64_t handle = timer_add(&self.heap, at, token)
        if handle < 0:
            raise MemoryError("no memory for a timer")
        return handle

    def cancel(self, handle):
        """Whether the timer was still waiting and is now gone; False when it fired or was cancelled before."""
        if isinstance(handle, bool) or not isinstance(handle, int):
            raise TypeError(f"a handle is an int, not {type(handle).__name__}: {handle!r:.80}")
        if not 0 <= handle < 2**63:
            return False
        return bool(timer_cancel(&self.heap, handle))

    def pop(self, now):
        """The token of the earliest timer whose deadline is at most ``now`` (seconds), or None."""
        cdef uint64_t token
        if timer_pop(&self.heap, as_time(now, "now"), &token):
            return token
        return None

    def next_deadline(self):
        """The earliest deadline, seconds; ``inf`` when there is none."""
        return timer_next(&self.heap)

    def __len__(self):
        return timer_size(&self.heap)

    def __repr__(self):
        return f"Timers({len(self)} waiting, next at {timer_next(&self.heap)})"

    def check(self):
        """Raise AssertionError when an invariant is broken."""
        cdef const char* wrong = timer_check(&self.heap)
        if wrong is not NULL:
            raise AssertionError(wrong.decode())

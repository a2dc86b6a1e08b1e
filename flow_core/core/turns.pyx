"""`Turns`: one callback of the loop for a whole batch of work, and one timer for all deadlines.

Work waits in one queue and is taken up in *turns*: callbacks of the loop that go on until nothing is left or the budget
(seconds) is used up, so that a flood of instant steps leaves the loop to others every millisecond. The clock is read
every few dozen steps, as many as fit into a tenth of the budget at the pace seen last.
"""

import time as clocks

cimport cython
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.math cimport INFINITY

# Looking at the clock costs 23 ns; at 64 steps apart that is nothing, and 64 plain steps take some ten microseconds.
cdef enum:
    MOST_STRIDE = 64

# uvloop rounds timers to milliseconds: a timer that rings half a millisecond early has rung.
cdef double EARLY = 0.0005


@cython.final
@cython.no_gc_clear     # see the end of scheduler.pyx
cdef class Turns:
    """Decides when queued work is done and when timers ring, on one event loop.

    Args:
        loop: the event loop.
        take_turn: called by the loop when a turn is due; calls `begin`, takes work from `queue` and calls `end`.
        take_posted: called with an item that a thread posted while the queue's inbox was full.
        ring: called when the earliest timer is due.
        clock: returns loop seconds; None for the machine's monotonic clock.
        wall: returns seconds since the epoch.
        budget: seconds of work in one turn.
    """

    def __cinit__(
        self, object loop not None, object take_turn, object take_posted, object ring, object clock=None,
        object wall=clocks.time, double budget=0.001,
    ):
        self.loop, self.clock, self.wall, self.budget = loop, clock, wall, budget
        self.call_soon, self.take_turn, self.take_posted, self.ring = loop.call_soon, take_turn, take_posted, ring
        self.wall_at = -INFINITY
        self.queue = ReadyQueue(4, 4096)
        self.timers = Timers()
        self.timer_at = INFINITY
        self.stride = 1
        self.credit = 1

    def __dealloc__(self):
        cdef uint64_t word
        if self.queue is not None:
            self.queue.drain_c()                # threads may have posted after the last turn
            while self.queue.pop_c(&word):
                Py_DECREF(<object>(<PyObject*><size_t>(word & ~<uint64_t>1)))

    # --- turns ------------------------------------------------------------------------------------------------------

    cdef int look(self) except -1:
        """Look at the clock."""
        self.now = flow_monotonic() if self.clock is None else self.clock()
        return 0

    cdef int enter(self) except -1:
        """Work comes from outside our own turns: it shares the budget of the last one, while that is not used up.

        So nothing has to be scheduled as long as the loop comes by often enough: an empty turn costs the loop a look at
        all its sockets.
        """
        if self.open:
            return self.tick()
        self.look()
        if self.spent or not self.now < self.until:
            return self.open_next()
        return 0

    cdef int open_next(self) except -1:
        """Begin a budget and see to it that a turn follows, which begins the next one."""
        if self.open:
            return 0
        self.call_soon(self.take_turn)
        self.open = True
        return 0 if self.turning else self.begin_budget()

    cdef int begin_budget(self) except -1:
        self.look()
        self.until = self.now + self.budget
        self.spent = False
        self.credit = self.stride
        return 0

    cdef int tick(self) except -1:
        """One piece of work was done: look at the clock when a stride of them is over."""
        self.credit -= 1
        if self.credit <= 0:
            self.out_of_budget()
        return 0

    cdef uint64_t wall_ms(self) except? 0:
        """Milliseconds since the epoch. The wall clock is asked once a second; in between loop time moves it on."""
        if not self.now - self.wall_at < 1.0:
            self.wall_ahead = <double>self.wall() - self.now
            self.wall_at = self.now
        return <uint64_t>((self.now + self.wall_ahead) * 1000.0)

    cdef bint out_of_budget(self) except -1:
        """Look at the clock after a stride of steps; adapt the stride to the pace."""
        cdef double before = self.now, pace
        cdef int wanted
        self.look()
        if self.now >= self.until:
            self.spent = True
            self.stride = max(1, self.stride // 2)
            return True
        pace = (self.now - before) / self.stride
        wanted = MOST_STRIDE if pace <= 0 else <int>min(<double>MOST_STRIDE, self.budget / 10 / pace)
        self.stride = max(1, min(wanted, self.stride * 2))
        self.credit = self.stride
        return False

    cdef int begin(self) except -1:
        """A turn begins, with a new budget."""
        self.open = False
        self.woken = False
        self.count += 1
        self.turning = True
        return self.begin_budget()

    cdef int end(self) except -1:
        """A turn is over; another one follows when work is left."""
        if not self.queue.empty():
            self.open_next()
        self.turning = False
        return 0

    cdef int enqueue(self, object item, uint64_t tag, int lane) except -1:
        """Queue work for the coming turn."""
        self.open_next()                        # first: without memory for it nothing is queued
        self.queue.push_c(<uint64_t><size_t><PyObject*>item | tag, lane)
        Py_INCREF(item)
        return 0

    cpdef int post(self, object item) except -1:
        """Queue an item (with tag 1) from any thread and wake the loop, once for many.

        Raises:
            RuntimeError: the loop is closed.
        """
        if self.loop.is_closed():
            raise RuntimeError("Event loop is closed")
        if self.queue.post_c(<uint64_t><size_t><PyObject*>item | 1, 0):
            Py_INCREF(item)
        else:
            self.loop.call_soon_threadsafe(self.take_posted, item)
        if not self.woken:
            self.woken = True                   # before: the turn takes it back, and may begin at once
            try:
                self.loop.call_soon_threadsafe(self.take_turn)
            except BaseException:
                self.woken = False
                raise
        return 0

    # --- timers -----------------------------------------------------------------------------------------------------

    @property
    def time(self):
        """Loop time, seconds."""
        self.look()
        return self.now

    @property
    def ahead(self):
        """UTC seconds minus loop seconds, as of now."""
        self.look()
        return <double>self.wall() - self.now

    cdef int arm(self) except -1:
        """Set the loop's timer to the earliest deadline, when that is earlier than what it is set to."""
        cdef double at = self.timers.next_c()
        if at < self.timer_at:
            handle = self.loop.call_at(at, self.ring)
            if self.timer_handle is not None:
                self.timer_handle.cancel()
            self.timer_at, self.timer_handle = at, handle
        return 0

    cdef int begin_ringing(self) except -1:
        """The loop's timer rang: `due` gives what is due, then `arm` has to follow."""
        self.timer_handle, self.timer_at = None, INFINITY
        self.open_next()
        return self.look()

    cdef bint due(self, uint64_t* token) noexcept:
        """The token of the next timer that is due, taken out."""
        return self.timers.pop_c(self.now + EARLY, token)

    cdef int64_t add_timer(self, double delay, uint64_t token) except -1:
        """Set a timer, ``delay`` seconds from the last look at the clock, or none at all when that fails."""
        cdef int64_t handle = self.timers.add_c(self.now + delay, token)
        if handle < 0:
            raise MemoryError("no memory for a timer")
        try:
            self.arm()
        except BaseException:
            self.timers.cancel_c(handle)
            raise
        return handle

    cdef int close(self) except -1:
        """Let go of the loop's timer."""
        if self.timer_handle is not None:
            self.timer_handle.cancel()
            self.timer_handle, self.timer_at = None, INFINITY
        return 0

"""`Ledger`: the executions of one executor: their rows, slots, ids and ends, and who waits for a free slot.

Lives here: making a run with everything it needs or nothing at all, finding it by its id, ending it, remembering it for
a while. Does not live here: its steps (`Driver`), what ids look like as text (floor 2).
"""

import collections

from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.ref cimport Py_DECREF, Py_INCREF

from flow_core.core.counters cimport counter_bump
from flow_core.core.plan cimport Plan
from flow_core.core.status_table cimport ExecutionRow, FAILURE, PENDING, RUNNING, SUCCESS, UNKNOWN, status_move_byte

from flow_core.errors import InternalError, QueueFull

cdef extern from *:
    """
    static PyObject* flow_new(PyObject* type) {
        static PyObject* none = NULL;
        if (!none && !(none = PyTuple_New(0))) return NULL;
        return ((PyTypeObject*)type)->tp_new((PyTypeObject*)type, none, NULL);
    }
    """
    object flow_new(object type)

COUNTED = ("executions_started", "executions_ended", "steps_ended", "steps_suspended", "late_outcomes")


cdef class Ledger(Pacer):
    """See the module and `Driver`."""

    def __cinit__(
        self, object loop, *, StatusTable table not None, object handler, object run_type=Run, Py_ssize_t limit=10_000,
        Py_ssize_t keep=1000, object nonce=0, **_,
    ):
        self.table, self.handler, self.run_type = table, handler, run_type
        self.limit, self.keep, self.nonce = limit, keep, nonce
        self.kept = collections.deque()
        self.counters = Counters(COUNTED)
        self.cells = self.counters.cells
        self.blocked = ReadyQueue(4, 2)

    def __dealloc__(self):
        PyMem_Free(self.runs)

    cdef Run new_run(self, object plan, object request, object options, int lane):
        """A run with its slab, its row and its id; on any error nothing is left behind."""
        cdef Run run = <Run>flow_new(self.run_type)
        cdef int64_t slot
        cdef ExecutionRow* row
        cdef PyObject** runs
        run.prepare(<Plan?>plan, request)
        run.options, run.driver = options, self
        run.context = self.context_of_caller()
        slot = self.table.acquire_c()
        if slot < 0:
            raise QueueFull(f"the executor holds {len(self.table)} executions, as many as its table has rows")
        if <size_t>slot >= self.capacity:
            runs = <PyObject**>PyMem_Realloc(self.runs, 2 * (<size_t>slot + 32) * sizeof(PyObject*))
            if runs is NULL:
                self.table.release_c(<uint32_t>slot)
                raise MemoryError("no memory for another execution")
            self.runs, self.capacity = runs, 2 * (<size_t>slot + 32)
        row = self.table.row_ptr(<uint32_t>slot)
        row.steps, row.lane = run.count, <uint8_t>lane
        # UUIDv7 (RFC 9562): 48 bits of milliseconds, then 74 that are ours: 18 of generation, 24 of slot, 32 of nonce.
        row.id_high = (self.wall_ms() << 16) | 0x7000 | (row.generation & 0xFFF)
        row.id_low = <uint64_t>2 << 62 | <uint64_t>((row.generation >> 12) & 0x3F) << 56
        row.id_low |= <uint64_t>slot << 32 | self.nonce
        run.row, run.slot, run.table = row, slot, <PyObject*>self.table
        Py_INCREF(self.table)
        self.runs[slot] = <PyObject*>run
        Py_INCREF(run)                      # the driver's own reference, until `finish`
        self.live += 1
        counter_bump(self.cells, EXECUTIONS_STARTED)
        return run

    def lookup(self, size_t slot, unsigned int generation):
        """The run in a slot, when it is still the one of that generation; else None."""
        cdef ExecutionRow* row
        if slot >= self.capacity or slot >= <size_t>self.table.table.high_water:
            return None
        row = self.table.row_ptr(<uint32_t>slot)
        if row.status == UNKNOWN or (row.generation & 0x3FFFF) != generation:
            return None
        return <object>self.runs[slot]

    def runs_known(self):
        """All runs that are live, kept, or held by somebody, in no particular order."""
        cdef size_t slot
        found = []
        for slot in range(min(self.capacity, <size_t>self.table.table.high_water)):
            if self.table.row_ptr(<uint32_t>slot).status != UNKNOWN:
                found.append(<object>self.runs[slot])
        return found

    def finish(self, Run run not None, int status, object failure=None):
        """End an execution. Nothing of it may be under way any more; late outcomes are dropped and counted."""
        if run.row.status == PENDING and status in (SUCCESS, FAILURE):
            status_move_byte(&run.row.status, RUNNING)
        if not status_move_byte(&run.row.status, <uint8_t>status):
            raise InternalError(f"an execution can't go from {run.row.status} to {status}")
        self.look()
        run.row.ended_ns = <int64_t>(self.now * 1e9)
        run.failure = failure
        waiters, run.waiters, run.over = run.waiters, None, True
        self.live -= 1
        counter_bump(self.cells, EXECUTIONS_ENDED)
        self.kept.append(run)
        Py_DECREF(run)
        while len(self.kept) > self.keep:
            self.kept.popleft()
        if waiters is not None:
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
        if self.notify or run.watched:
            self.handler.ended(run)

    def waiter(self, Run run not None):
        """A future that is done when the execution is over; None when it is over."""
        if run.over:
            return None
        future = self.loop.create_future()
        if run.waiters is None:
            run.waiters = []
        run.waiters.append(future)
        return future

    def go_on(self, Run run not None):
        """Drive a run again: it was resumed, or a step of it was requeued."""
        if not run.over:
            self.park(run)

    cdef int park(self, Run run) except -1:
        """The run goes on in the coming turn."""
        if not run.parked:
            run.parked = True
            self.enqueue(run, 0, run.row.lane)
        return 0

    cdef int block(self, Run run) except -1:
        """The run goes on when a slot is free."""
        if not run.parked:
            run.parked = True
            self.blocked.push_c(<uint64_t><size_t><PyObject*>run, run.row.lane)
            Py_INCREF(run)
            if self.running < self.limit:
                self.open_turn()
        return 0

    cdef int begin_turn(self) except -1:
        """Give free slots to runs that wait for one, in the order of their lanes."""
        cdef uint64_t word
        cdef Py_ssize_t free = self.limit - self.running
        self.contended = not self.blocked.empty()
        while free > 0 and self.blocked.pop_c(&word):
            free -= 1
            run = <Run><PyObject*><size_t>word
            (<Run>run).parked = False
            self.park(run)
            Py_DECREF(run)
        return 0

    cdef object context_of_caller(self):
        """The contextvars that the steps of a new execution start from."""
        raise NotImplementedError

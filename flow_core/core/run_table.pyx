"""`Ledger`: the executions of one executor: their rows, slots, ids and ends, and who waits for a free slot.

A ``tracer``, when there is one, is asked for the `trace` of each new run, which hears of its steps and of its end:

    run.trace = tracer.begin(run)               in the context of the caller, before the run has an id
    run.trace.enter(index, activity)            in the context of the step, just before it is called
    run.trace.ended()                           the execution is over

Lives here: making a run with everything it needs or nothing at all, finding it by its id, ending it, remembering it for
a while. Does not live here: its steps (`Scheduler`), what ids look like as text (floor 2).
"""

import collections

from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.string cimport memset

from flow_core.core.counters cimport counter_bump
from flow_core.core.plan cimport Plan
from flow_core.core.ready_queue cimport MAX_LANES, Ready
from flow_core.core.status_table cimport ExecutionRow, FAILURE, PENDING, RUNNING, SUCCESS, UNKNOWN, status_move_byte
from flow_core.core.waiter cimport Waiter

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

cdef extern from *:
    """
    #include "flow_core/ring.hpp"
    static int flow_visit(flow::Ready* ready, visitproc visit, void* arg) {
        for (uint32_t k = 0; k < flow::MAX_LANES; k++) {
            flow::Ring* lane = &ready->lane[k];
            for (uint64_t i = lane->head; i != lane->tail; i++) {
                PyObject* item = (PyObject*)(lane->slot[i & lane->mask] & ~(uint64_t)1);
                Py_VISIT(item);
            }
        }
        return 0;
    }
    """
    ctypedef int (*visitproc)(PyObject*, void*) noexcept
    ctypedef int (*traverseproc)(PyObject*, visitproc, void*) noexcept
    ctypedef int (*inquiry)(PyObject*) noexcept
    ctypedef struct PyTypeObject:
        traverseproc tp_traverse
        inquiry tp_clear
    int flow_visit(Ready* ready, visitproc visit, void* arg) noexcept
    Py_ssize_t Py_REFCNT(PyObject* object) noexcept

COUNTED = ("executions_started", "executions_ended", "steps_ended", "steps_suspended", "late_outcomes")


cdef class Ledger(Pacer):
    """See the module and `Scheduler`."""

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
        self.waiters = []
        self.whole = True

    def __dealloc__(self):
        PyMem_Free(self.runs)

    cpdef Run prepare(self, plan, request, object options=None, Py_ssize_t limit=0, int lane=1, int depth=0):
        """An execution that is not driven yet: `launch` does that."""
        if not self.open:
            self.enter_turn()
        cdef Run run = self.new_run(plan, request, options, lane)
        if limit > 0:
            run.limit = <uint32_t>min(limit, 0xFFFFFFFF)
        run.depth = depth
        run.row.started_ns = <int64_t>(self.now * 1e9)
        return run

    cdef Run new_run(self, object plan, object request, object options, int lane):
        """A run with its slab, its row and its id; on any error nothing is left behind."""
        cdef Run run = <Run>flow_new(self.run_type)
        cdef int64_t slot
        cdef ExecutionRow* row
        cdef uint64_t now
        cdef Tenant* runs
        if not 0 <= lane < MAX_LANES:
            raise ValueError(f"no lane {lane}; there are {MAX_LANES}")
        run.prepare(<Plan?>plan, request)
        run.options, run.scheduler = options, self
        run.context = self.context_of_caller()
        if self.tracer is not None:
            run.trace = self.tracer.begin(run)
        now = self.wall_ms()
        slot = self.table.acquire_c()
        if slot < 0:
            raise QueueFull(f"the executor holds {len(self.table)} executions, as many as its table has rows")
        if <size_t>slot >= self.capacity:
            runs = <Tenant*>PyMem_Realloc(self.runs, 2 * (<size_t>slot + 32) * sizeof(Tenant))
            if runs is NULL:
                self.table.release_c(<uint32_t>slot)
                raise MemoryError("no memory for another execution")
            memset(runs + self.capacity, 0, (2 * (<size_t>slot + 32) - self.capacity) * sizeof(Tenant))
            self.runs, self.capacity = runs, 2 * (<size_t>slot + 32)
        row = self.table.row_ptr(<uint32_t>slot)
        row.steps, row.lane = run.count, <uint8_t>lane
        # UUIDv7 (RFC 9562): 48 bits of milliseconds, then 74 that are ours: 18 of generation, 24 of slot, 32 of nonce.
        row.id_high = now << 16 | 0x7000 | (row.generation & 0xFFF)
        row.id_low = <uint64_t>2 << 62 | <uint64_t>((row.generation >> 12) & 0x3F) << 56
        row.id_low |= <uint64_t>slot << 32 | self.nonce
        run.row, run.slot, run.table = row, slot, <PyObject*>self.table
        Py_INCREF(self.table)
        self.runs[slot] = Tenant(<PyObject*>run, row.generation)
        Py_INCREF(run)                      # the scheduler's own reference, until `finish`
        self.live += 1
        counter_bump(self.cells, EXECUTIONS_STARTED)
        return run

    def lookup(self, size_t slot, unsigned int generation):
        """The run in a slot, when it is still the one of that generation; else None."""
        cdef ExecutionRow* row
        cdef PyObject* found
        if slot >= self.capacity or slot >= <size_t>self.table.table.high_water:
            return None
        row = self.table.row_ptr(<uint32_t>slot)
        if row.status == UNKNOWN or (row.generation & 0x3FFFF) != generation:
            return None
        found = self.tenant(slot)
        return None if found is NULL else <object>found

    def runs_known(self):
        """All runs that are live, kept, or held by somebody, in no particular order."""
        cdef size_t slot
        cdef PyObject* run
        found = []
        for slot in range(self.capacity):
            run = self.tenant(slot)
            if run is not NULL:
                found.append(<object>run)
        return found

    cdef PyObject* tenant(self, size_t slot) noexcept:
        """The run in a slot, NULL when it is dead or dying: its last act may be a callback that looks for it."""
        cdef ExecutionRow* row = self.table.row_ptr(<uint32_t>slot)
        cdef Tenant* tenant = self.runs + slot
        if tenant.run is NULL or row.status == UNKNOWN or row.generation != tenant.generation:
            return NULL
        return tenant.run if Py_REFCNT(tenant.run) > 0 else NULL

    cdef int refuse_foreign(self, Run run) except -1:
        if run.scheduler is not self:
            raise ValueError(f"{run!r} was not made by this scheduler")
        return 0

    cdef int drop_tasks(self, Run run) except -1:
        """Go on without what is under way."""
        raise NotImplementedError

    def finish(self, Run run not None, int status, object failure=None):
        """End an execution. Nothing of it may be under way any more; late outcomes are dropped and counted."""
        self.refuse_foreign(run)
        self.look()
        if run.row.status == PENDING and status in (SUCCESS, FAILURE):
            status_move_byte(&run.row.status, RUNNING)
        if not status_move_byte(&run.row.status, <uint8_t>status):
            raise InternalError(f"an execution can't go from {run.row.status} to {status}")
        run.row.ended_ns = <int64_t>(self.now * 1e9)
        run.failure = failure
        waiters, run.waiters, run.over = run.waiters, None, True
        self.live -= 1
        counter_bump(self.cells, EXECUTIONS_ENDED)
        if self.keep > 0:
            self.kept.append(run)
        Py_DECREF(run)
        if run.tasks is not NULL:
            self.drop_tasks(run)
        while len(self.kept) > max(self.keep, 0):
            self.kept.popleft()
        if waiters is not None:
            if self.telling:
                self.waiters.extend(waiters)
            else:
                for waiter in waiters:
                    (<Waiter>waiter).tell_later()
        if run.trace is not None:
            run.trace.ended()
        if self.notify or run.watched:
            self.handler.ended(run)

    def waiter(self, Run run not None):
        """A future that is done when the execution is over; None when it is over."""
        if run.over:
            return None
        waiter = Waiter(self.loop)
        if run.waiters is None:
            run.waiters = [waiter]
        else:
            run.waiters.append(waiter)
        return waiter

    def go_on(self, Run run not None):
        """Drive a run again: it was resumed, or a step of it was requeued."""
        self.refuse_foreign(run)
        if not run.over:
            self.park(run)

    cdef int park(self, Run run) except -1:
        """The run goes on in the coming turn."""
        if not run.parked:
            self.enqueue(run, 0, run.row.lane)
            run.parked = True
        return 0

    cdef int block(self, Run run) except -1:
        """The run goes on when a slot is free."""
        if not run.parked:
            self.blocked.push_c(<uint64_t><size_t><PyObject*>run, run.row.lane)
            Py_INCREF(run)
            run.parked = True
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
            Py_DECREF(run)
            (<Run>run).parked = False
            self.park(run)
        return 0

    cdef object context_of_caller(self):
        """The contextvars that the steps of a new execution start from."""
        raise NotImplementedError


# --- for the garbage collector: queued work and live executions, which Cython's own traversal does not see. With them a
# scheduler that nobody knows any more, and whose loop is closed, is collected with everything that was under way.

cdef traverseproc traverse_rest = (<PyTypeObject*>Ledger).tp_traverse
cdef inquiry clear_rest = (<PyTypeObject*>Ledger).tp_clear


cdef int _traverse(PyObject* me, visitproc visit, void* arg) noexcept:
    cdef size_t slot
    cdef PyObject* run
    cdef int stop = 0
    if not (<Ledger>me).whole:                      # the collector may look while its constructors still run
        return traverse_rest(me, visit, arg)
    if (<Ledger>me).queue is not None:
        stop = flow_visit((<Ledger>me).queue.ready, visit, arg)
    if stop == 0 and (<Ledger>me).blocked is not None:
        stop = flow_visit((<Ledger>me).blocked.ready, visit, arg)
    if (<Ledger>me).table is not None:
        for slot in range((<Ledger>me).capacity):
            run = (<Ledger>me).tenant(slot)
            if stop == 0 and run is not NULL and not (<Run>run).over:
                stop = visit(run, arg)
    return stop or traverse_rest(me, visit, arg)


cdef int _clear(PyObject* me) noexcept:
    cdef uint64_t word
    cdef size_t slot
    cdef PyObject* run
    if not (<Ledger>me).whole:
        return clear_rest(me)
    while (<Ledger>me).queue is not None and (<Ledger>me).queue.pop_c(&word):
        Py_DECREF(<object><PyObject*><size_t>(word & ~<uint64_t>1))
    while (<Ledger>me).blocked is not None and (<Ledger>me).blocked.pop_c(&word):
        Py_DECREF(<object><PyObject*><size_t>word)
    if (<Ledger>me).table is not None:
        for slot in range((<Ledger>me).capacity):
            run = (<Ledger>me).tenant(slot)
            if run is not NULL and not (<Run>run).over:
                (<Run>run).over = True
                Py_DECREF(<object>run)
    return clear_rest(me)


(<PyTypeObject*>Ledger).tp_traverse, (<PyTypeObject*>Ledger).tp_clear = _traverse, _clear

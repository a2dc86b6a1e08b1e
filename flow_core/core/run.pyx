"""`Run`: one execution as a slab of counters, and the moves of its steps.

Lives here: which step is ready, what each step's status, output and times are, what follows when one ends. All of it is
integers in one block; a plain completion (`run_succeed` in the ``.pxd``) touches nothing else. Does not live here: what
to do about a failure (floor 1), calling anything (`Driver`).
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from libc.string cimport memcpy, memset
from libcpp.vector cimport vector

from flow_core.core.plan cimport (
    FLAG_ALLOW_FAIL, FROM_MAPPING, FROM_OUTSIDE, FROM_PREDECESSORS, FROM_REQUEST, JOIN_ALL, JOIN_ANY, StepSpec,
)

from flow_core.core.status_table cimport status_load, status_move_byte, status_store

from flow_core.errors import InternalError, MissingInput

# A step that waits for any of its predecessors and was queued once: no number of ends brings it back to zero.
cdef enum:
    TAKEN = 1 << 30

NAMES = ("UNKNOWN", "PENDING", "FAILURE", "SUCCESS", "PAUSED", "ABORTED", "STOPPED", "RUNNING", "SKIPPED")

cdef extern from *:
    """
    // Outputs live in the slab, where Cython's generated traversal does not see them; these two visit them, so that an
    // output that refers back to its execution is still collected.
    static traverseproc run_base_traverse;
    static inquiry run_base_clear;
    struct RunSlots { PyObject*** results; uint32_t* n; };
    static Py_ssize_t run_results_offset, run_count_offset;
    static int run_traverse(PyObject* self, visitproc visit, void* arg) {
        PyObject** results = *(PyObject***)((char*)self + run_results_offset);
        uint32_t n = results ? *(uint32_t*)((char*)self + run_count_offset) : 0;
        for (uint32_t i = 0; i < n; i++) Py_VISIT(results[i]);
        return run_base_traverse(self, visit, arg);
    }
    static int run_clear(PyObject* self) {
        PyObject** results = *(PyObject***)((char*)self + run_results_offset);
        uint32_t n = results ? *(uint32_t*)((char*)self + run_count_offset) : 0;
        for (uint32_t i = 0; i < n; i++) Py_CLEAR(results[i]);
        return run_base_clear(self);
    }
    static void run_patch_gc(PyTypeObject* type, Py_ssize_t results, Py_ssize_t count) {
        run_results_offset = results;
        run_count_offset = count;
        run_base_traverse = type->tp_traverse;
        run_base_clear = type->tp_clear;
        type->tp_traverse = run_traverse;
        type->tp_clear = run_clear;
    }
    """
    void run_patch_gc(PyTypeObject* type, Py_ssize_t results, Py_ssize_t count)
    ctypedef struct PyTypeObject:
        pass


cdef class Run:
    """One execution of a `Plan`.

    From Python it is a machine to be stepped by hand: `take` a ready step, say how it ended (`succeed`, `fail`, `skip`,
    `retry`), until `finished`. The `Driver` does the same from C.

    Args:
        plan: what to run.
        request: the input of the roots.
    """

    def __cinit__(self, *args, **kwargs):
        self.slot = -1
        self.row = &self.own

    def __init__(self, Plan plan not None, object request=None):
        self.prepare(plan, request)

    def __dealloc__(self):
        cdef uint32_t i
        if self.results is not NULL:
            for i in range(self.count):
                if self.results[i] is not NULL:
                    Py_DECREF(<object>self.results[i])
                    self.results[i] = NULL
        PyMem_Free(self.slab)
        PyMem_Free(self.attempts)
        if self.slot >= 0:
            (<StatusTable>self.table).release_c(<uint32_t>self.slot)
            Py_DECREF(<object>self.table)

    cdef int prepare(self, Plan plan, object request) except -1:
        """Take the slab and fill it. On MemoryError the run is empty and safe to drop."""
        cdef size_t n = plan.n
        cdef char* at
        if self.slab is not NULL:
            raise ValueError("this run is prepared already")
        at = <char*>PyMem_Malloc(n * (2 * sizeof(double) + sizeof(PyObject*) + 2 * 4 + 1) + 1)
        if at is NULL:
            raise MemoryError(f"no memory for an execution of {n} steps")
        self.slab = at
        self.results = <PyObject**>at
        self.started = <double*>(self.results + n)
        self.ended = self.started + n
        self.waiting = <int32_t*>(self.ended + n)
        self.ready = <uint32_t*>(self.waiting + n)
        self.status = <uint8_t*>(self.ready + n)
        memset(self.results, 0, n * (sizeof(PyObject*) + 2 * sizeof(double)))  # results, started, ended
        memcpy(self.waiting, plan.indegree, n * sizeof(int32_t))
        memcpy(self.ready, plan.roots, plan.n_roots * sizeof(uint32_t))
        memset(self.status, PENDING, n)
        self.plan, self.request = plan, request
        self.count = <uint32_t>n
        self.left = <uint32_t>n
        self.queued = plan.n_roots
        self.limit = 0xFFFFFFFF
        self.row.steps = <uint32_t>n
        self.row.status = PENDING
        return 0

    # --- what follows when a step has ended -------------------------------------------------------------------------

    cdef int settle(self, uint32_t v, bint ok) except -1:
        """Tell the successors of ``v`` that it ended; those that can never run are skipped, and theirs told in turn."""
        cdef vector[uint32_t] skipped
        cdef Graph g = self.plan.graph
        cdef uint32_t k, s, join
        while True:
            for k in range(g.succ_ptr[v], g.succ_ptr[v + 1]):
                s = g.succ[k]
                self.waiting[s] -= 1
                if self.status[s] != PENDING:
                    continue
                join = self.plan.specs[s].join
                if join == JOIN_ALL:
                    if not ok:
                        self.mark_skipped(s, &skipped)
                    elif self.waiting[s] == 0:
                        run_push(self, s)
                elif join == JOIN_ANY:
                    if ok and self.waiting[s] < TAKEN - <int32_t>self.count:
                        self.waiting[s] += TAKEN
                        run_push(self, s)
                    elif self.waiting[s] == 0:
                        self.mark_skipped(s, &skipped)
                elif self.waiting[s] == 0:
                    run_push(self, s)
            if skipped.empty():
                return 0
            v, ok = skipped.back(), False
            skipped.pop_back()

    cdef void mark_skipped(self, uint32_t v, vector[uint32_t]* skipped):
        self.status[v] = SKIPPED
        self.ended[v] = self.now
        self.row.skipped += 1
        self.left -= 1
        skipped.push_back(v)

    cdef int end(self, uint32_t v, uint8_t status) except -1:
        """Move a step that is running or pending to an end that is not SUCCESS, and tell its successors."""
        cdef uint8_t was = self.status[v]
        if was == RUNNING:
            self.row.running -= 1
        elif was != PENDING:
            raise InternalError(f"step {v} can't end as {NAMES[status]}: it is {NAMES[was]}")
        self.status[v] = status
        self.ended[v] = self.now
        self.left -= 1
        if status == FAILURE:
            self.row.failed += 1
        elif status == SKIPPED:
            self.row.skipped += 1
        return self.settle(v, status == FAILURE and self.plan.specs[v].flags & FLAG_ALLOW_FAIL)

    cdef uint32_t index_of(self, object index, int status) except? 0xFFFFFFFF:
        cdef long long i = index
        if not 0 <= i < self.count:
            raise IndexError(f"no step {index} in a run of {self.count}")
        if status >= 0 and self.status[i] != status:
            raise ValueError(f"step {index} is {NAMES[self.status[i]]}, not {NAMES[status]}")
        return <uint32_t>i

    # --- stepped by hand --------------------------------------------------------------------------------------------

    def take(self):
        """Index of a ready step, now RUNNING; None when none is ready."""
        cdef uint32_t v
        while self.queued:
            v = run_pop(self)
            if self.status[v] == PENDING:
                self.status[v] = RUNNING
                self.row.running += 1
                return v
        return None

    def succeed(self, index, object value=None):
        """A running step gave ``value``. Raises ValueError when it is not running."""
        cdef uint32_t v = self.index_of(index, RUNNING)
        Py_INCREF(value)
        run_succeed(self, v, <PyObject*>value)

    def fail(self, index):
        """A running step failed for good."""
        self.end(self.index_of(index, RUNNING), FAILURE)

    def skip(self, index):
        """A step will not run: a condition said no."""
        self.end(self.index_of(index, -1), SKIPPED)

    def abandon(self, index, int status):
        """A running or pending step ends as ABORTED or STOPPED."""
        if status not in (ABORTED, STOPPED):
            raise ValueError(f"a step is abandoned as ABORTED or STOPPED, not {NAMES[status]}")
        self.end(self.index_of(index, -1), <uint8_t>status)

    def retry(self, index):
        """An attempt of a running step failed and another follows: PENDING again, not queued until `requeue`."""
        cdef uint32_t v = self.index_of(index, RUNNING)
        if self.attempts is NULL:
            self.attempts = <uint16_t*>PyMem_Calloc(self.count, sizeof(uint16_t))
            if self.attempts is NULL:
                raise MemoryError(f"no memory for the attempts of {self.count} steps")
        if self.attempts[v] < 0xFFFF - 1:
            self.attempts[v] += 1
        self.status[v] = PENDING
        self.row.running -= 1

    def requeue(self, index):
        """A pending step that waited for its retry, a resource or a name is ready again."""
        cdef uint32_t v = self.index_of(index, PENDING)
        if self.queued >= self.count:
            raise InternalError(f"step {index} was queued twice")
        run_push(self, v)

    def begin(self, index):
        """A pending step that is not queued runs now (its fate is decided without calling it)."""
        cdef uint32_t v = self.index_of(index, PENDING)
        self.status[v] = RUNNING
        self.row.running += 1

    def abandon_all(self, int status):
        """Every step that has not ended does so now, as ABORTED or STOPPED. Outcomes that still come are late."""
        cdef uint32_t v, k
        cdef Graph g = self.plan.graph
        if status not in (ABORTED, STOPPED):
            raise ValueError(f"steps are abandoned as ABORTED or STOPPED, not {NAMES[status]}")
        for v in range(self.count):
            if self.status[v] == PENDING or self.status[v] == RUNNING:
                self.status[v] = <uint8_t>status
                self.ended[v] = self.now
                for k in range(g.succ_ptr[v], g.succ_ptr[v + 1]):
                    self.waiting[g.succ[k]] -= 1
        self.left = self.row.running = self.queued = 0

    def doom(self):
        """A step failed for good: what has not started is skipped, except ``join="done"`` steps (clean-ups)."""
        cdef uint32_t v
        self.doomed = True
        for v in range(self.count):
            if self.status[v] == PENDING and self.plan.specs[v].join <= JOIN_ANY and self.attempt_of(v) == 1:
                self.end(v, SKIPPED)

    cdef uint32_t attempt_of(self, uint32_t v) noexcept:
        return 1 if self.attempts is NULL else 1 + self.attempts[v]

    # --- read ------------------------------------------------------------------------------------------------------

    @property
    def finished(self):
        """Whether every step has ended."""
        return self.left == 0

    def attempt(self, index):
        """Number of the step's current or last attempt, from 1."""
        return self.attempt_of(self.index_of(index, -1))

    def step_status(self, index):
        """Status number of a step."""
        return self.status[self.index_of(index, -1)]

    def statuses(self):
        """Status numbers of all steps, as bytes (a copy)."""
        return bytes(<uint8_t[:self.count]>self.status) if self.count else b""

    def times(self, index):
        """When a step last started and when it ended, loop seconds; None for what has not happened."""
        cdef uint32_t v = self.index_of(index, -1)
        cdef uint8_t s = self.status[v]
        began = self.started[v] if self.started[v] != 0 else None
        return began, self.ended[v] if s != PENDING and s != RUNNING else None

    def output(self, index):
        """Output value of a step; None when it has none (yet)."""
        cdef uint32_t v = self.index_of(index, -1)
        return <object>self.results[v] if self.results[v] is not NULL else None

    def has_output(self, index):
        """Whether a step has an output, which may be None."""
        return self.results[self.index_of(index, -1)] is not NULL

    def recall(self, index, object value):
        """A step that has not run counts as succeeded with ``value``: its outcome is known from before."""
        cdef uint32_t v = self.index_of(index, PENDING)
        Py_INCREF(value)
        run_output(self, v, <PyObject*>value)
        self.status[v] = SUCCESS
        self.row.succeeded += 1
        self.left -= 1
        self.started[v] = self.ended[v] = <double>self.row.started_ns * 1e-9
        self.settle(v, True)

    def ask(self, int intent):
        """Set what is asked of the execution; the driver reads it before each start. From any thread, without a lock."""
        status_store(&self.row.intent, <uint8_t>intent)

    def move(self, int status):
        """Move the execution's own status. Raises ValueError when that is no legal move."""
        if not status_move_byte(&self.row.status, <uint8_t>status):
            raise ValueError(f"an execution can't go from {NAMES[self.row.status]} to {NAMES[status]}")

    @property
    def intent(self):
        """What was asked for: an `Intent` number."""
        return self.row.intent

    @property
    def status_number(self):
        """Status number of the execution; from any thread."""
        return status_load(&self.row.status)

    @property
    def id_words(self):
        """The generated id as two 64-bit numbers."""
        return self.row.id_high, self.row.id_low

    @property
    def span(self):
        """(started, ended) of the execution, loop seconds; 0 for what has not happened."""
        return self.row.started_ns * 1e-9, self.row.ended_ns * 1e-9

    @property
    def busy(self):
        """Whether a coroutine or thread of it is under way."""
        return self.tasks is not NULL

    def watch(self, bint on=True):
        """Whether the driver's handler hears when the run went on."""
        self.watched = on

    @property
    def ready_steps(self):
        """Indexes of the steps that wait in the queue for a slot or a turn."""
        n = self.plan.n
        return [i for i in (self.ready[(self.head + k) % n] for k in range(self.queued)) if self.status[i] == PENDING]

    @property
    def counts(self):
        """(steps, running, succeeded, failed, skipped), a moment old."""
        cdef ExecutionRow* row = self.row
        return row.steps, row.running, row.succeeded, row.failed, row.skipped

    def input(self, index):
        """The input value of a step, as its source says. Raises `MissingInput`."""
        return self.input_of(self.index_of(index, -1))

    cdef object input_of(self, uint32_t v):
        cdef int32_t source = self.plan.specs[v].source
        if source >= 0:
            return <object>self.results[source] if self.results[source] is not NULL else None
        if source == FROM_REQUEST:
            return self.request
        if source == FROM_PREDECESSORS:
            return self.plan.predecessors_input(v, self.results)
        if source == FROM_OUTSIDE:
            return self.outside(v, self.plan.mappings[v])
        return {name: self.value_from(v, wanted) for name, wanted in self.plan.mappings[v]}

    cdef object value_from(self, uint32_t v, object wanted):
        cdef long source
        if isinstance(wanted, str):
            return self.outside(v, wanted)
        source = wanted
        if source < 0:
            return self.request
        return <object>self.results[source] if self.results[source] is not NULL else None

    cdef object outside(self, uint32_t v, str name):
        inputs = None if self.options is None else self.options.inputs
        if inputs is None or name not in inputs:
            step = self.plan.items[v].id
            raise MissingInput(
                f"step {step!r} of flow {self.plan.flow!r} needs the output {name!r}, which this execution does not make",
                fix=f"pass inputs={{{name!r}: ...}}", flow=self.plan.flow, step=step,
            )
        return inputs[name]

    # --- invariants -------------------------------------------------------------------------------------------------

    def check(self):
        """Verify every invariant; raises AssertionError naming the broken one. For tests: O(steps + orders)."""
        cdef uint32_t v, k, left = 0, running = 0, succeeded = 0, failed = 0, skipped = 0, waits
        cdef Graph g = self.plan.graph
        for v in range(self.count):
            s = self.status[v]
            left += s == PENDING or s == RUNNING
            running += s == RUNNING
            succeeded += s == SUCCESS
            failed += s == FAILURE
            skipped += s == SKIPPED
            waits = 0
            for k in range(g.pred_ptr[v], g.pred_ptr[v + 1]):
                waits += self.status[g.pred[k]] in (PENDING, RUNNING)
            taken = TAKEN if self.waiting[v] >= TAKEN - <int32_t>self.count else 0
            assert self.waiting[v] - taken == <int32_t>waits, f"step {v} waits for {self.waiting[v]}, not {waits}"
            if s in (RUNNING, SUCCESS) and self.plan.specs[v].join == JOIN_ALL:
                assert waits == 0, f"step {v} is {NAMES[s]} before {waits} of its predecessors ended"
            assert s != SUCCESS or self.results[v] is not NULL, f"step {v} succeeded without an output"
        row = self.row
        assert left == self.left, f"left is {self.left}, but {left} steps have not ended"
        assert running == row.running, f"running is {row.running}, but {running} steps run"
        assert succeeded == row.succeeded, f"succeeded is {row.succeeded}, not {succeeded}"
        assert failed == row.failed, f"failed is {row.failed}, not {failed}"
        assert skipped == row.skipped, f"skipped is {row.skipped}, not {skipped}"
        assert self.queued <= self.count, f"{self.queued} steps are queued in a run of {self.count}"


cdef Run _layout = Run.__new__(Run)
run_patch_gc(
    <PyTypeObject*>Run,
    <Py_ssize_t>(<char*>&_layout.results - <char*><void*>_layout),
    <Py_ssize_t>(<char*>&_layout.count - <char*><void*>_layout),
)

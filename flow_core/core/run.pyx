"""`Run`: one execution as integers in one block, and what follows when one of its steps ends.

`run_succeed` in the ``.pxd`` is the short way of plain success, `Run.settle` the general one.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.ref cimport Py_DECREF
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from libcpp.vector cimport vector

from flow_core.core.graph cimport Graph
from flow_core.core.plan cimport (
    FLAG_ALLOW_FAIL, FROM_OUTSIDE, FROM_PREDECESSORS, FROM_REQUEST, JOIN_ALL, JOIN_ANY, Plan,
)
from flow_core.core.status_table cimport (
    ExecutionRow, FAILURE, PENDING, RUNNING, SKIPPED, SUCCESS, StatusTable, status_load,
)

from flow_core.errors import InternalError, MissingInput

# A step that waits for any of its predecessors and was queued once: no number of ends brings it back to zero.
cdef enum:
    TAKEN = 1 << 30

NAMES = ("UNKNOWN", "PENDING", "FAILURE", "SUCCESS", "PAUSED", "ABORTED", "STOPPED", "RUNNING", "SKIPPED")

cdef extern from "Python.h":
    str PyUnicode_FromStringAndSize(const char* text, Py_ssize_t size)
    ctypedef int (*visitproc)(PyObject*, void*) noexcept
    ctypedef int (*traverseproc)(PyObject*, visitproc, void*) noexcept
    ctypedef int (*inquiry)(PyObject*) noexcept
    ctypedef struct PyTypeObject:
        traverseproc tp_traverse
        inquiry tp_clear

cdef const char* HEX = "0123456789abcdef"


cdef str uuid_text(uint64_t high, uint64_t low):
    """The canonical text of a UUID given as two 64-bit numbers."""
    cdef char text[36]
    cdef int at = 36, _digit
    for _digit in range(32):
        at -= 1
        if at == 23 or at == 18 or at == 13 or at == 8:
            text[at] = c"-"
            at -= 1
        text[at] = HEX[low & 15]
        low = low >> 4 | high << 60
        high >>= 4
    return PyUnicode_FromStringAndSize(text, 36)


cdef class Run:
    """One execution of a `Plan`, under way or over.

    The `Scheduler` takes its steps from C. From Python a `Stepper` can: it steps a run by hand.

    Args:
        plan: what to run.
        request: the input of the roots.
    """

    def __cinit__(self, *args, **kwargs):
        self.row = &self.own
        self.slot = -1
        self.limit = 0xFFFFFFFF

    def __init__(self, Plan plan not None, object request=None):
        self.prepare(plan, request)

    def __dealloc__(self):
        cdef uint32_t i
        if self.steps is not NULL:
            for i in range(self.count):
                if self.steps[i].output is not NULL:
                    Py_DECREF(<object>self.steps[i].output)
                    self.steps[i].output = NULL
        PyMem_Free(self.steps)
        if self.slot >= 0:
            (<StatusTable>self.table).release_c(<uint32_t>self.slot)
            Py_DECREF(<object>self.table)

    cdef int prepare(self, Plan plan, object request) except -1:
        """Take the block and fill it. On MemoryError the run is empty and safe to drop."""
        cdef size_t n = plan.n
        cdef char* at
        if self.steps is not NULL:
            raise ValueError("this run is prepared already")
        at = <char*>PyMem_Calloc(n or 1, sizeof(StepState) + sizeof(uint32_t))
        if at is NULL:
            raise MemoryError(f"no memory for an execution of {n} steps")
        self.steps = <StepState*>at
        self.ready = <uint32_t*>(self.steps + n)
        memcpy(self.ready, plan.roots, plan.n_roots * sizeof(uint32_t))
        self.succ = plan.graph.succ
        self.plan, self.request = plan, request
        self.count = <uint32_t>n
        self.left = <uint32_t>n
        self.queued = plan.n_roots
        self.row.steps = <uint32_t>n
        self.row.status = PENDING
        self.fill(FILL)
        return 0

    cdef int fill(self, uint32_t more) noexcept:
        """Fill further rows. A large execution is filled over several turns: touching its memory takes a while."""
        cdef uint32_t v, end = min(self.count - self.filled, more) + self.filled
        for v in range(self.filled, end):
            self.steps[v].waiting = self.plan.specs[v].indegree
            self.steps[v].status = PENDING
            self.steps[v].started = -1  # not yet; 0 is a time, too
        self.filled = end
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
                self.steps[s].waiting -= 1
                if self.steps[s].status != PENDING:
                    continue
                join = self.plan.specs[s].join
                if join == JOIN_ALL:
                    if not ok:
                        self.mark_skipped(s, &skipped)
                    elif self.steps[s].waiting == 0:
                        run_push(self, s)
                elif join == JOIN_ANY:
                    if self.steps[v].status == SUCCESS and self.steps[s].waiting < TAKEN - <int32_t>self.count:
                        self.steps[s].waiting += TAKEN
                        run_push(self, s)
                    elif self.steps[s].waiting == 0:
                        self.mark_skipped(s, &skipped)
                elif self.steps[s].waiting == 0:
                    run_push(self, s)
            if skipped.empty():
                return 0
            v, ok = skipped.back(), False
            skipped.pop_back()

    cdef void mark_skipped(self, uint32_t v, vector[uint32_t]* skipped):
        self.steps[v].status = SKIPPED
        self.steps[v].ended = self.now
        self.row.skipped += 1
        self.left -= 1
        skipped.push_back(v)

    cdef int end(self, uint32_t v, uint8_t status) except -1:
        """Move a step that is running or pending to an end that is not SUCCESS, and tell its successors."""
        cdef uint8_t was = self.steps[v].status
        if was == RUNNING:
            self.row.running -= 1
        elif was != PENDING:
            raise InternalError(f"step {v} can't end as {NAMES[status]}: it is {NAMES[was]}")
        self.steps[v].status = status
        self.steps[v].ended = self.now
        self.left -= 1
        if status == FAILURE:
            self.row.failed += 1
        elif status == SKIPPED:
            self.row.skipped += 1
        return self.settle(v, status == FAILURE and self.plan.specs[v].flags & FLAG_ALLOW_FAIL)

    cdef uint32_t index_of(self, object index, int status) except? 0xFFFFFFFF:
        cdef long long i = index
        if self.filled < self.count:
            self.fill(self.count)
        if not 0 <= i < self.count:
            raise IndexError(f"no step {index} in a run of {self.count}")
        if status >= 0 and self.steps[i].status != status:
            raise ValueError(f"step {index} is {NAMES[self.steps[i].status]}, not {NAMES[status]}")
        return <uint32_t>i

    # --- what the scheduler needs, too ------------------------------------------------------------------------------

    cdef int abandon_rest(self, uint8_t status) except -1:
        """Every step that has not ended does so now. Outcomes that still come are late."""
        cdef uint32_t v, k
        if self.plan is None:
            return 0
        cdef Graph g = self.plan.graph
        try:
            if self.scheduler is not None:
                self.now = self.scheduler.time         # they end now, not when the scheduler last went on with it
        except MemoryError:
            pass                                    # and they do end
        self.fill(self.count)
        for v in range(self.count):
            if self.steps[v].parked_for == HELD:    # it has its outcome, which counts
                continue
            if self.steps[v].status == PENDING or self.steps[v].status == RUNNING:
                self.steps[v].status = status
                self.steps[v].ended = self.now
                for k in range(g.succ_ptr[v], g.succ_ptr[v + 1]):
                    self.steps[g.succ[k]].waiting -= 1
        self.left = self.row.running = self.held
        self.queued = 0
        return 0

    cdef object input_of(self, uint32_t v):
        cdef int32_t source = self.plan.specs[v].source
        if source >= 0:
            return <object>self.steps[source].output if self.steps[source].output is not NULL else None
        if source == FROM_REQUEST:
            return self.request
        if source == FROM_PREDECESSORS:
            return self.plan.predecessors_input(v, self.steps)
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
        return <object>self.steps[source].output if self.steps[source].output is not NULL else None

    cdef object outside(self, uint32_t v, str name):
        inputs = None if self.options is None else self.options.inputs
        if inputs is None or name not in inputs:
            step = self.plan.items[v].id
            raise MissingInput(
                f"step {step!r} of flow {self.plan.flow!r} needs the output {name!r}, "
                "which this execution does not make",
                fix=f"pass inputs={{{name!r}: ...}}", flow=self.plan.flow, step=step,
            )
        return inputs[name]

    # --- read -------------------------------------------------------------------------------------------------------

    @property
    def id(self):
        """Id given to ``execute``, else the generated one, a UUIDv7: see `RunTable.add`."""
        return self.name if self.name is not None else uuid_text(self.row.id_high, self.row.id_low)

    @property
    def counts(self):
        """How many steps there are, run, succeeded, failed and were skipped, a moment ago. From any thread."""
        cdef ExecutionRow* row = self.row
        return row.steps, row.running, row.succeeded, row.failed, row.skipped

    @property
    def error(self):
        """The exception that decided the end; None while it runs, or when it succeeded."""
        return self.failure

    @property
    def _scheduler(self):
        return self.scheduler

    @property
    def _status_number(self):
        return status_load(&self.row.status)

    def _output(self, index):
        return self.output_of(self.index_of(index, -1))

    def _has_output(self, index):
        cdef uint32_t v = self.index_of(index, -1)
        return self.steps[v].output is not NULL and self.steps[v].parked_for != HELD

    cdef object output_of(self, uint32_t v):
        """The output of a step, None when it has none (yet)."""
        if self.steps[v].output is NULL or self.steps[v].parked_for == HELD:
            return None
        return <object>self.steps[v].output

    # --- invariants -------------------------------------------------------------------------------------------------

    cdef int check_all(self) except -1:
        """Verify every invariant; raises AssertionError naming the broken one. For tests: O(steps + orders)."""
        cdef uint32_t v, k, left = 0, running = 0, succeeded = 0, failed = 0, skipped = 0, waits
        if self.plan is None:
            return 0
        cdef Graph g = self.plan.graph
        self.fill(self.count)
        for v in range(self.count):
            s = self.steps[v].status
            left += s == PENDING or s == RUNNING
            running += s == RUNNING
            succeeded += s == SUCCESS
            failed += s == FAILURE
            skipped += s == SKIPPED
            waits = 0
            for k in range(g.pred_ptr[v], g.pred_ptr[v + 1]):
                waits += self.steps[g.pred[k]].status in (PENDING, RUNNING)
            taken = TAKEN if self.steps[v].waiting >= TAKEN - <int32_t>self.count else 0
            counted = self.steps[v].waiting
            assert counted - taken == <int32_t>waits, f"step {v} waits for {counted}, not {waits}"
            if s in (RUNNING, SUCCESS) and self.plan.specs[v].join == JOIN_ALL:
                assert waits == 0, f"step {v} is {NAMES[s]} before {waits} of its predecessors ended"
            assert s != SUCCESS or self.steps[v].output is not NULL, f"step {v} succeeded without an output"
        row = self.row
        assert left == self.left, f"left is {self.left}, but {left} steps have not ended"
        assert running == row.running, f"running is {row.running}, but {running} steps run"
        assert succeeded == row.succeeded, f"succeeded is {row.succeeded}, not {succeeded}"
        assert failed == row.failed, f"failed is {row.failed}, not {failed}"
        assert skipped == row.skipped, f"skipped is {row.skipped}, not {skipped}"
        assert self.queued <= self.count, f"{self.queued} steps are queued in a run of {self.count}"
        return 0


# --- for the garbage collector: outputs are in the block, where Cython's own traversal does not see them. With these an
# output that refers back to its execution is still collected. Subclasses inherit the slots, which are set before any is
# made; task_list.pyx adds the tasks.

cdef traverseproc traverse_rest = (<PyTypeObject*>Run).tp_traverse
cdef inquiry clear_rest = (<PyTypeObject*>Run).tp_clear


cdef int _traverse(PyObject* me, visitproc visit, void* arg) noexcept:
    cdef uint32_t v
    cdef int stop = 0
    if (<Run>me).steps is not NULL:
        for v in range((<Run>me).count):
            if stop == 0 and (<Run>me).steps[v].output is not NULL:
                stop = visit((<Run>me).steps[v].output, arg)
    return stop or traverse_rest(me, visit, arg)


cdef int _clear(PyObject* me) noexcept:
    cdef uint32_t v
    if (<Run>me).steps is not NULL:
        for v in range((<Run>me).count):
            run_output(<Run>me, v, NULL)
    return clear_rest(me)


(<PyTypeObject*>Run).tp_traverse, (<PyTypeObject*>Run).tp_clear = _traverse, _clear


# --- what a handle shows: attributes of an extension type have no other way to a docstring

cdef extern from *:
    """
    static void flow_document(PyObject* attribute, const char* text) {
        ((PyGetSetDescrObject*)attribute)->d_getset->doc = text;
    }
    """
    void flow_document(object attribute, const char* text)

flow_document(Run.plan, "The compiled revision of the flow that it runs.")
flow_document(Run.request, "The value that it was started with.")
flow_document(Run.options, "The `ExecuteOptions` that it was started with, None when there were none.")
flow_document(Run.parent, "The execution whose step started it, None when no step did.")
flow_document(Run.over, "Whether it has ended, however.")

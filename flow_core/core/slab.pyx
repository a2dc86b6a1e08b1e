"""`Slab`: one execution as integers in one block, and what follows when one of its steps ends.

Lives here: the block's life, the successors of an ended step (`run_succeed` in the ``.pxd`` is the short way of plain
success, `Slab.settle` the general one), and the check of all invariants. Does not live here: the face for Python and
for the scheduler (`Run`).
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.string cimport memcpy
from libcpp.vector cimport vector

from flow_core.core.graph cimport Graph
from flow_core.core.plan cimport FLAG_ALLOW_FAIL, JOIN_ALL, JOIN_ANY

from flow_core.errors import InternalError

# A step that waits for any of its predecessors and was queued once: no number of ends brings it back to zero.
cdef enum:
    TAKEN = 1 << 30

NAMES = ("UNKNOWN", "PENDING", "FAILURE", "SUCCESS", "PAUSED", "ABORTED", "STOPPED", "RUNNING", "SKIPPED")

cdef extern from *:
    """
    #include "flow_core/slab.hpp"
    // Outputs live in the slab, where Cython's generated traversal does not see them; these two visit them, so that an
    // output that refers back to its execution is still collected.
    static traverseproc slab_base_traverse;
    static inquiry slab_base_clear;
    static Py_ssize_t slab_steps_offset, slab_count_offset;
    static inline flow::StepState* slab_steps(PyObject* self, uint32_t* n) {
        flow::StepState* steps = *(flow::StepState**)((char*)self + slab_steps_offset);
        *n = steps ? *(uint32_t*)((char*)self + slab_count_offset) : 0;
        return steps;
    }
    static int slab_traverse(PyObject* self, visitproc visit, void* arg) {
        uint32_t n;
        flow::StepState* steps = slab_steps(self, &n);
        for (uint32_t i = 0; i < n; i++) Py_VISIT(steps[i].output);
        return slab_base_traverse(self, visit, arg);
    }
    static int slab_clear(PyObject* self) {
        uint32_t n;
        flow::StepState* steps = slab_steps(self, &n);
        for (uint32_t i = 0; i < n; i++) Py_CLEAR(steps[i].output);
        return slab_base_clear(self);
    }
    static void slab_patch_gc(PyTypeObject* type, Py_ssize_t steps, Py_ssize_t count) {
        slab_steps_offset = steps;
        slab_count_offset = count;
        slab_base_traverse = type->tp_traverse;
        slab_base_clear = type->tp_clear;
        type->tp_traverse = slab_traverse;
        type->tp_clear = slab_clear;
    }
    """
    ctypedef struct PyTypeObject:
        pass
    void slab_patch_gc(PyTypeObject* type, Py_ssize_t steps, Py_ssize_t count)


cdef class Slab:
    """The state of one execution of a `Plan`; see `Run`."""

    def __cinit__(self, *args, **kwargs):
        self.row = &self.own

    def __dealloc__(self):
        cdef uint32_t i
        if self.steps is not NULL:
            for i in range(self.count):
                if self.steps[i].output is not NULL:
                    Py_DECREF(<object>self.steps[i].output)
                    self.steps[i].output = NULL
        PyMem_Free(self.steps)

    cdef int prepare(self, Plan plan, object request) except -1:
        """Take the slab and fill it. On MemoryError the run is empty and safe to drop."""
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

    # --- invariants -------------------------------------------------------------------------------------------------

    def check(self):
        """Verify every invariant; raises AssertionError naming the broken one. For tests: O(steps + orders)."""
        cdef uint32_t v, k, left = 0, running = 0, succeeded = 0, failed = 0, skipped = 0, waits
        if self.plan is None:
            return
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


# Subclasses inherit the patched slots, so this has to happen before any is made.
cdef Slab _layout = Slab.__new__(Slab)
slab_patch_gc(
    <PyTypeObject*>Slab,
    <Py_ssize_t>(<char*>&_layout.steps - <char*><void*>_layout),
    <Py_ssize_t>(<char*>&_layout.count - <char*><void*>_layout),
)

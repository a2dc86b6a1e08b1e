"""`Plan`: a revision compiled for running, shared by any number of executions.

Rows of plain steps (a local callable, default or direct input) are filled in C, the others one by one by `configure`.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport int64_t
from libc.string cimport memset

from flow_core.errors import UnknownStep, did_you_mean
from flow_core.model.operation import LocalOperation
from flow_core.model.options import DEFAULT_OPERATION_OPTIONS
from flow_core.model.step import REQUEST

cdef extern from *:
    """
    #ifdef __GLIBC__
    #include <malloc.h>
    static void flow_give_back(void) { malloc_trim(0); }
    #else
    static void flow_give_back(void) {}
    #endif
    """
    void flow_give_back() noexcept

# From this size on, what registering and compiling needed for a moment is worth returning to the system.
cdef enum:
    LARGE = 1 << 17

cdef object LOCAL = LocalOperation
cdef object PLAIN_OPTIONS = DEFAULT_OPERATION_OPTIONS
cdef object NAME_OF_REQUEST = REQUEST


cdef class Plan:
    """A graph and, for each of its steps, what to call with which input.

    Args:
        graph: the order of the steps.
        items: their `Step` objects, by index.
        flow: name of the flow, for errors.
        revision: of the flow.

    Raises:
        ValueError: as many items as the graph has nodes are needed.
        MemoryError: no room for the table.

    Attributes:
        special: indexes that `configure` must still describe; the caller takes the list and empties it.
    """

    def __cinit__(self, Graph graph not None, tuple items not None, str flow="", long revision=0):
        cdef size_t n = graph.n
        if <size_t>len(items) != n:
            raise ValueError(f"the graph has {n} nodes, but {len(items)} items were given")
        self.graph, self.items, self.flow, self.revision = graph, items, flow, revision
        self.n = <uint32_t>n
        self.calls, self.mappings, self.policies = [], {}, {}
        self.uniform = True
        self.specs = <StepSpec*>PyMem_Calloc(n or 1, sizeof(StepSpec) + sizeof(PyObject*) + sizeof(uint32_t))
        if self.specs is NULL:
            raise MemoryError(f"no memory for a plan of {n} steps")
        self.names_of = <PyObject**>(self.specs + n)
        self.roots = <uint32_t*>(self.names_of + n)
        self.read_graph()

    def __dealloc__(self):
        PyMem_Free(self.specs)

    def __len__(self):
        return self.n

    cdef int read_graph(self) except -1:
        cdef uint32_t v
        cdef Graph g = self.graph
        cdef list sinks = []
        for v in range(self.n):
            self.specs[v].indegree = <int32_t>(g.pred_ptr[v + 1] - g.pred_ptr[v])
            self.specs[v].successors, self.specs[v].successors_end = g.succ_ptr[v], g.succ_ptr[v + 1]
            if self.specs[v].indegree == 0:
                self.roots[self.n_roots] = v
                self.n_roots += 1
            if g.succ_ptr[v + 1] == g.succ_ptr[v]:
                sinks.append(v)
        self.sinks = tuple(sinks)
        return 0

    def compile(self):
        """Fill the rows of plain steps; returns the indexes of the others, for `configure`."""
        cdef uint32_t v
        cdef StepSpec row
        cdef StepSpec* mine
        cdef list special = []
        cdef object step, operation, last = None
        memset(&row, 0, sizeof(row))
        for v in range(self.n):
            step = self.items[v]
            output = step.output
            if output is not None:
                self.names_of[v] = <PyObject*>output
                special.append(v)
                continue
            self.names_of[v] = <PyObject*>step.id   # borrowed: steps are frozen, and self.items holds them
            if not step.plain:
                special.append(v)
                continue
            operation = step.operation
            if operation is not last:       # flows made by a loop share one operation: look at it once
                if not self.plain_row(operation, &row):
                    special.append(v)
                    continue
                last = operation
            mine = self.specs + v
            if not self.direct_source(v, step.input, &mine.source):
                special.append(v)
                continue
            mine.call, mine.kind, mine.arity = row.call, row.kind, row.arity
        if self.n >= LARGE:
            flow_give_back()
        return special

    cdef bint plain_row(self, object operation, StepSpec* row) except -1:
        if <object>type(operation) is not LOCAL or operation._options is not PLAIN_OPTIONS:
            return False
        cdef object function = operation.function
        if function is None:
            return False
        self.calls.append(function)
        row.call = <PyObject*>function
        row.kind = KIND_COROUTINE if operation.is_async else KIND_THREAD
        row.arity = <uint8_t>operation.arity
        return True

    cdef bint direct_source(self, uint32_t v, object wanted, int32_t* source) except -1:
        """The source of a default input, of the request, or of a direct predecessor's default output."""
        cdef Graph g = self.graph
        cdef uint32_t k
        if wanted is None:
            source[0] = (
                FROM_REQUEST if self.specs[v].indegree == 0
                else <int32_t>g.pred[g.pred_ptr[v]] if self.specs[v].indegree == 1
                else FROM_PREDECESSORS
            )
            return True
        if type(wanted) is not str:
            return False
        if wanted == NAME_OF_REQUEST:
            source[0] = FROM_REQUEST
            return True
        for k in range(g.pred_ptr[v], g.pred_ptr[v + 1]):
            step = self.items[g.pred[k]]
            if step.id == wanted and step.output is None:
                source[0] = <int32_t>g.pred[k]
                return True
        return False

    def configure(
        self, uint32_t index, *, object call, int kind, int arity=1, int source=FROM_REQUEST, object mapping=None,
        int flags=0, int join=JOIN_ALL, object policy=None,
    ):
        """Describe one step that `compile` left out.

        Args:
            index: of the step.
            call: the callable behind it; None for an unbound one.
            kind, arity, source, flags, join: see ``plan.pxd``.
            mapping: ``((parameter, source), ...)`` for FROM_MAPPING, a name for FROM_OUTSIDE.
            policy: any object; `Plan.policies` hands it back.
        """
        if index >= self.n:
            raise IndexError(f"no step {index} in a plan of {self.n}")
        if not (0 <= arity <= 2 and JOIN_ALL <= join <= JOIN_DONE and FROM_OUTSIDE <= source < <int64_t>self.n):
            raise ValueError(f"step {index}: arity {arity}, join {join} or source {source} is none")
        cdef StepSpec* row = self.specs + index
        if call is not None:
            self.calls.append(call)
        row.call = <PyObject*>call if call is not None else NULL
        row.kind = <uint8_t>kind if call is not None else KIND_UNBOUND
        row.arity, row.source = <uint8_t>arity, source
        row.flags, row.join = <uint16_t>flags, <uint8_t>join
        if mapping is not None:
            self.mappings[index] = mapping
        if policy is not None:
            self.policies[index] = policy
        if join != JOIN_ALL or flags & FLAG_ALLOW_FAIL:
            self.uniform = False

    def source(self, uint32_t index):
        """Where the input of a step comes from: the index of a step, or one of the negative ``FROM_`` numbers."""
        if index >= self.n:
            raise IndexError(f"no step {index} in a plan of {self.n}")
        return self.specs[index].source

    def index(self, str name not None):
        """Index of a step by its id. Raises `UnknownStep`."""
        cdef Py_ssize_t at
        if self.names is None:
            if not self.asked:              # one look-up is no reason to index a million names
                self.asked = True
                at = self.scan(name)
                if at >= 0:
                    return at
            self.names = {step.id: i for i, step in enumerate(self.items)}
        found = self.names.get(name)
        if found is None:
            raise UnknownStep(
                f"flow {self.flow!r} has no step {name!r}",
                fix=did_you_mean(name, self.names), flow=self.flow, step=name,
            )
        return found

    cdef Py_ssize_t scan(self, str name) except -2:
        """Index of a step whose default output tells its id, by looking at all of them; -1 when none does."""
        cdef uint32_t v
        for v in range(self.n):
            if self.names_of[v] is not NULL and <str>self.names_of[v] == name and self.items[v].id == name:
                return v
        return -1

    def writers(self, str output not None):
        """Indexes of the steps that write an output, in topological order; empty when none does."""
        if self.outputs is None:
            made = {}
            for i in self.graph.order():
                made.setdefault(self.items[i].output_name, []).append(int(i))
            self.outputs = {name: tuple(indexes) for name, indexes in made.items()}
        return self.outputs.get(output, ())

    cdef object predecessors_input(self, uint32_t v, StepState* steps):
        """All predecessors' outputs by their names; a predecessor without one (it failed, was skipped) is left out."""
        cdef Graph g = self.graph
        cdef uint32_t k, p
        cdef Py_ssize_t found = 0
        cdef dict values = {}
        for k in range(g.pred_ptr[v], g.pred_ptr[v + 1]):
            p = g.pred[k]
            if steps[p].output is not NULL and self.names_of[p] is not NULL:
                values[<object>self.names_of[p]] = <object>steps[p].output
                found += 1
        if len(values) < found:
            self.keep_last(values, {g.pred[k] for k in range(g.pred_ptr[v], g.pred_ptr[v + 1])}, steps)
        return values

    cdef int keep_last(self, dict values, set predecessors, StepState* steps) except -1:
        """Two predecessors wrote the same output: what the later one of them wrote counts."""
        cdef uint32_t p
        for name in values:
            for writer in self.writers(name):
                p = writer
                if writer in predecessors and steps[p].output is not NULL:
                    values[name] = <object>steps[p].output
        return 0
